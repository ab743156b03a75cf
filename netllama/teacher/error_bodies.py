"""What a server says about an error, out of the many shapes that OpenAI-compatible servers give it.

OpenAI: {"error": {"message", "type", "param", "code"}}. Others: {"error": "text"}, {"detail": "text"}, FastAPI's
{"detail": [{"loc", "msg"}]}, {"message": ...}, {"object": "error", ...}, Google's [{"error": {"status", ...}}], plain
text, or a web page. The words are for people. What to do about an error is decided in error_verdicts.py, by status and
code, and by words only where servers differ in everything else: which parameter they refuse.
"""

import re
from dataclasses import dataclass
from typing import Any

from netllama.core.credentials import mask_api_key

LONGEST_QUOTE = 400
"""Characters of a server's words in one of our messages."""
DEEPEST_WORDS = 12
"""Levels of errors that wrap other errors in which words are looked for."""
_WORDS = ("message", "msg", "error_description", "description", "title", "detail", "error", "errors", "reason")
_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "too_many_requests": 429,
    "insufficient_quota": 429,
    "resource_exhausted": 429,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "internal": 500,
    "api_error": 500,
    "unavailable": 503,
    "overloaded": 503,
    "overloaded_error": 529,
    "deadline_exceeded": 504,
    "timeout": 504,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "not_found": 404,
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "badrequesterror": 400,
    "bad_request": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "invalid_prompt": 400,
}
"""HTTP statuses of the codes and types of errors that come inside a 200, in lower case."""


@dataclass(frozen=True)
class ServerError:
    """An error in a server's own words."""

    message: str = ""
    """Made fit to be shown: one line, without the API key."""
    code: str = ""
    type: str = ""
    param: str = ""
    """The parameter that the error is about, if the server names one."""

    @property
    def status(self) -> int | None:
        """The HTTP status that the error would have had outside the body of a 200; None if it is not known."""
        for name in (self.code, self.type):
            if len(name) == 3 and name.isdecimal() and 400 <= int(name) <= 599:
                return int(name)
            if name.lower() in _STATUS_OF_CODE:
                return _STATUS_OF_CODE[name.lower()]
        return None

    @property
    def quote(self) -> str:
        """`: words`, to follow our own description; empty if the server has none."""
        return f": {self.message}" if self.message else ""


def read_server_error(body: Any) -> ServerError:
    """The error in the body of an answer, whatever its shape."""
    if isinstance(body, list) and len(body) == 1 and isinstance(body[0], dict) and "error" in body[0]:
        body = body[0]
    inner = body.get("error") if isinstance(body, dict) else None
    record: dict[str, Any] = inner if isinstance(inner, dict) else body if isinstance(body, dict) else {}
    detail = record.get("detail")
    place = detail[0].get("loc") if isinstance(detail, list) and detail and isinstance(detail[0], dict) else None
    param = record.get("param") or (place[-1] if isinstance(place, list) and place else None)
    return ServerError(
        message=redact_text(_find_words(inner or body)),
        code=_read_name(record.get("code")),
        type=_read_name(record.get("type") or record.get("status")),
        param=_read_name(param),
    )


def redact_text(text: str) -> str:
    """A provider's text made fit for an error message: one line of at most 400 characters, without the API key."""
    # Masked before it is cut: of a key that the cut goes through, a part would stay.
    return " ".join(mask_api_key(text)[: 10 * LONGEST_QUOTE].split())[:LONGEST_QUOTE]


def _find_words(body: Any, levels: int = DEEPEST_WORDS) -> str:
    """The words in any of the known places, those of an error that wraps another one together with the inner ones."""
    if not levels:
        return ""
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str):
        return _read_page(body)
    if isinstance(body, list):
        return "; ".join(filter(None, (_find_words(item, levels - 1) for item in body[:5])))
    if not isinstance(body, dict):
        return ""
    words = next((found for name in _WORDS if (found := _find_words(body.get(name), levels - 1))), "")
    place = body.get("loc")
    if isinstance(place, list) and words:
        words = f"{'.'.join(map(str, place))}: {words}"
    metadata = body.get("metadata")  # OpenRouter: what the provider behind it said
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"{words} ({raw})" if isinstance(raw, str) and raw else words


def _read_page(text: str) -> str:
    """A text as it is; of a web page, its title."""
    start = mask_api_key(text)[: 10 * LONGEST_QUOTE]
    if not start.lstrip().startswith("<"):
        return start
    title = re.search(r"<title[^>]{0,200}>([^<]{1,400})", start, re.IGNORECASE)
    return f"a web page, {title[1].strip()!r}" if title else "a web page"


def _read_name(value: object) -> str:
    return mask_api_key(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""
