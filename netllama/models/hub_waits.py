"""How long the Hub may be silent: huggingface_hub's own client waits for ever for an answer to what it sends."""

from functools import lru_cache
from typing import Any

SECONDS = 120.0
"""Without a byte, of any request; the Hub takes a minute for the commit of a large model. Files have their own 10."""
_BROKEN = ("CloseError", "ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError", "WriteTimeout")


@lru_cache
def limit_waits() -> None:
    """Once a process: a request of huggingface_hub ends after `SECONDS` of silence."""
    from huggingface_hub import set_client_factory

    set_client_factory(_make_client)


def _make_client() -> Any:
    """A client of httpx2, which huggingface_hub brings along."""
    from huggingface_hub.utils._http import default_client_factory

    client = default_client_factory()
    client.timeout = SECONDS
    return client


def is_broken(error: BaseException) -> bool:
    """Whether a connection was made and then broke, or fell silent."""
    return type(error).__name__ in _BROKEN
