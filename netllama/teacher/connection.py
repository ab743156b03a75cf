"""The way to a teacher: an OpenAI client on any compatible server, or on the embedded one, started here.

`async with connect(base_url, timeout) as client` opens it; leaving closes the client and stops the embedded
server. The SDK's own retries are off: every attempt is counted, paced and paid for by the caller.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from netllama.core.credentials import find_secret
from netllama.core.errors import StageError
from netllama.core.files import ensure_scratch_folder
from netllama.models import bundled
from netllama.models.model_reference import find_cache_folder
from netllama.teacher.embedded import serve
from netllama.teacher.store import EMBEDDED

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
CONNECT_TIMEOUT = 20.0
"""Seconds: a host that does not even take the connection is not one that thinks."""


@contextlib.asynccontextmanager
async def connect(base_url: str, timeout: float) -> AsyncIterator["AsyncOpenAI"]:
    """The teacher at `base_url`, or the embedded one when that is empty. `timeout`: seconds of silence."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

    silence = Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT))
    with contextlib.ExitStack() as server:
        if base_url:
            key = api_key(base_url)
        else:
            key = EMBEDDED
            log = ensure_scratch_folder("teacher") / "server.log"
            base_url = server.enter_context(serve(bundled.ensure(find_cache_folder()), log))
        # A proxy of the environment can't reach our loopback.
        http = DefaultAsyncHttpxClient(trust_env=not on_loopback(base_url))
        async with AsyncOpenAI(
            base_url=base_url, api_key=key, max_retries=0, timeout=silence, http_client=http
        ) as client:
            yield client


async def post(client: "AsyncOpenAI", path: str, body: dict[str, Any]) -> Any:
    """The server's JSON as it came, past the SDK's models, which guess at what is missing.

    A body that is no JSON by its Content-Type is a string. Raises ValueError when the JSON is cut, else what
    `retries.classify_error` takes.
    """
    return await client.post(path, cast_to=object, body=body)


def api_key(base_url: str) -> str:
    """OPENAI_API_KEY; a server on this machine needs none."""
    key = (find_secret("OPENAI_API_KEY") or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise StageError("OPENAI_API_KEY holds a character that no key has (a typographic dash?); set it anew")
    if key:
        return key
    if on_loopback(base_url):
        return "none"
    raise StageError(
        f"teacher.base_url {base_url}: no API key; set OPENAI_API_KEY in the environment or in .env, "
        "or leave base_url empty for the embedded teacher"
    )


def on_loopback(base_url: str) -> bool:
    return urlsplit(base_url).hostname in LOOPBACK
