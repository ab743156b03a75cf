"""Connects to a teacher: an OpenAI client for any compatible server, or for the embedded one, which is started here.

`async with connect(base_url, timeout) as client` opens the connection; leaving it closes the client and stops the
embedded server. The SDK's own retries are off, because the caller counts, paces and pays for every attempt.
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
from netllama.teacher.embedded import serve_model
from netllama.teacher.store import EMBEDDED

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
CONNECT_TIMEOUT = 20.0
"""Seconds. A host that does not accept the connection is down; it is not a slow teacher."""


@contextlib.asynccontextmanager
async def connect(base_url: str, timeout: float) -> AsyncIterator["AsyncOpenAI"]:
    """The teacher at `base_url`, or the embedded one if that is empty. `timeout`: seconds of silence."""
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

    silence = Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT))
    with contextlib.ExitStack() as server:
        if base_url:
            key = find_api_key(base_url)
        else:
            key = EMBEDDED
            log = ensure_scratch_folder("teacher") / "server.log"
            base_url = server.enter_context(serve_model(bundled.ensure(find_cache_folder()), log))
        # A proxy from the environment cannot reach our loopback.
        http = DefaultAsyncHttpxClient(trust_env=not is_on_loopback(base_url))
        async with AsyncOpenAI(
            base_url=base_url, api_key=key, max_retries=0, timeout=silence, http_client=http
        ) as client:
            yield client


async def post(client: "AsyncOpenAI", path: str, body: dict[str, Any]) -> Any:
    """The server's JSON as it came, because the SDK's models guess at missing fields.

    The result is a string if the Content-Type is not JSON. Raises ValueError for incomplete JSON, and otherwise the
    errors that `retries.classify_error` accepts.
    """
    return await client.post(path, cast_to=object, body=body)


def find_api_key(base_url: str) -> str:
    """OPENAI_API_KEY, or "none" for a server on this machine, which needs no key."""
    key = (find_secret("OPENAI_API_KEY") or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise StageError("OPENAI_API_KEY contains a character that no key has (a typographic dash?); set it again")
    if key:
        return key
    if is_on_loopback(base_url):
        return "none"
    raise StageError(
        f"teacher.base_url {base_url}: no API key; set OPENAI_API_KEY in the environment or in .env, "
        "or leave base_url empty for the embedded teacher"
    )


def is_on_loopback(base_url: str) -> bool:
    return urlsplit(base_url).hostname in LOOPBACK
