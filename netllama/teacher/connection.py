"""Connects to a teacher: an OpenAI client for any compatible server, or for the embedded one, which is started here.

`async with connect(base_url, timeout) as client` opens the connection; leaving it closes the client and stops the
embedded server. The SDK's own retries are off, because the caller counts, paces and pays for every attempt.
"""

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from netllama.core.credentials import find_secret, is_placeholder
from netllama.core.errors import StageError
from netllama.core.files import ensure_scratch_folder
from netllama.models import bundled
from netllama.models.model_reference import find_cache_folder
from netllama.teacher.api_answer import EndlessBody
from netllama.teacher.embedded import serve_model
from netllama.teacher.store import EMBEDDED

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CONNECT_TIMEOUT = 20.0
"""Seconds. A host that does not accept the connection is down; it is not a slow teacher."""


LONGEST_ANSWER = 64 * 2**20
LONGEST_FILE = 4 * 2**30
"""Bytes of a body that are read, unpacked: of an answer, and of a file of the Batch API."""


@contextlib.asynccontextmanager
async def connect(base_url: str, timeout: float, longest: int | None = None) -> AsyncIterator["AsyncOpenAI"]:
    """The teacher at `base_url`, or the embedded one if that is empty.

    `timeout`: seconds of silence; `longest`: bytes of a body that are read, `LONGEST_ANSWER` if None.
    """
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
        bound = {"response": [_bound_body(longest or LONGEST_ANSWER)]}
        http = DefaultAsyncHttpxClient(trust_env=not is_on_loopback(base_url), event_hooks=bound)
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
    plain = urlsplit(base_url).scheme == "http" and not is_on_loopback(base_url)
    if plain and not is_placeholder(key):
        raise StageError(
            f"teacher.base_url {base_url} would send OPENAI_API_KEY in plain text over the network; use https, or a "
            "tunnel to that machine (ssh -L) and http://localhost, or set OPENAI_API_KEY=none if it needs no key"
        )
    if key:
        return key
    if plain or is_on_loopback(base_url):
        return "none"
    raise StageError(
        f"teacher.base_url {base_url}: no API key; set OPENAI_API_KEY in the environment or in .env, "
        "or leave base_url empty for the embedded teacher"
    )


def is_on_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound_body(most: int) -> Callable[[Any], Awaitable[None]]:
    """A hook that lets nobody read more than `most` bytes of a response, counted as they are when unpacked."""

    async def bound(response: Any) -> None:
        read = response.aiter_bytes

        async def read_bounded(chunk_size: int | None = None) -> AsyncIterator[bytes]:
            size = 0
            async for part in read(chunk_size):
                size += len(part)
                if size > most:
                    raise EndlessBody
                yield part

        response.aiter_bytes = read_bounded

    return bound
