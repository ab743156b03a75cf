"""What went wrong with one attempt, decided by the error's type, the HTTP status and the error code alone.

`judge` turns an exception of `connection.post` (or of any call of the client) into what to do about it:
wait and try again (`Passing`), end the run (`StageError`), take the slot as withheld (`Withheld`), or name
the answer's limit as newer models do (`LimitRenamed`). Message texts are shown, with the key blanked, and
never decided on: providers reword them. The error itself is never shown: it holds the Authorization header.
"""

import email.utils
import json
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from netllama.core.credentials import secret
from netllama.core.errors import StageError
from netllama.teacher.api_format import CONTENT_CODES, NotAnAnswer

NO_OPENAI_API = "{}: not an answer of the OpenAI API; does teacher.base_url end in /v1?"
QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached"}
"""A 429 that no waiting mends."""
LONGEST_WAIT = 900.0
"""Seconds: a server that asks for more (a daily limit does) ends the run, with a line that says for how long."""
KEPT = "what was answered is stored, run again to go on"
_UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
"""httpx's errors of a request that never left, by name: the SDK comes with one of two httpx packages."""
_UNSENDABLE = {"UnsupportedProtocol", "LocalProtocolError"}


FIRST_WAIT = 0.5
LONGEST_BACKOFF = 60.0
"""Seconds before the first retry; doubled for each further one, up to the longest."""


@dataclass(frozen=True)
class Passing:
    """It may go by itself: wait and try again."""

    line: str
    """The end of the run in one line, for when it does not go."""
    retry_after: float | None = None
    """Seconds that the server asked for."""
    rate_limited: bool = False
    maybe_billed: bool = False
    """The server may have answered, and its answer was lost on the way."""


class Withheld:
    """The provider's content filter refused this one prompt: `wire.withheld` is its answer."""


@dataclass(frozen=True)
class LimitRenamed:
    """A newer model: the limit of its answer is named `max_completion_tokens`, and `max_tokens` is refused."""

    line: str
    """The end of the run in one line, for where the other name does not help."""


class Patience:
    """How long one request goes on trying: jittered, doubling waits, and at most `max_retries` failures."""

    def __init__(self, max_retries: int) -> None:
        self.max_retries = max_retries
        self.failures = 0
        self._answers_at_limit: int | None = None

    def wait(self, fault: Passing, answers: int = 0) -> float | None:
        """Seconds until the next attempt; None: give up. `answers`: how many the run has had so far.

        A 429 is no failure when somebody was answered since this request's last 429: many requests behind one
        limit get on together, however often each of them is sent back.
        """
        moved = fault.rate_limited and self._answers_at_limit not in (None, answers)
        if fault.rate_limited:
            self._answers_at_limit = answers
        self.failures += not moved
        if self.failures > self.max_retries:
            return None
        if fault.retry_after is not None:
            return fault.retry_after * random.uniform(1.0, 1.1)
        return min(FIRST_WAIT * 2.0 ** min(self.failures - 1, 30), LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


def judge(error: Exception, teacher: str, model: str) -> Passing | StageError | Withheld | LimitRenamed:
    """What to do about `error`; one that is neither the server's nor the network's is raised again."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _judge_status(error, teacher, model)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        sent = type(error.__cause__).__name__ not in _UNSENT
        return Passing(f"{teacher}: no answer in time (teacher.request_timeout); {KEPT}", maybe_billed=sent)
    if isinstance(error, openai.APIConnectionError):
        cause = type(error.__cause__).__name__
        if cause in _UNSENDABLE:
            return StageError(f"{teacher}: nothing can be sent there; check teacher.base_url and OPENAI_API_KEY")
        return Passing(f"{teacher}: can't be reached; {KEPT}", maybe_billed=cause not in _UNSENT)
    if isinstance(error, NotAnAnswer):
        return StageError(NO_OPENAI_API.format(teacher))
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):  # cut, or a page that calls itself JSON
        if str(getattr(error, "doc", "")).lstrip().startswith("<"):
            return StageError(NO_OPENAI_API.format(teacher))
        return Passing(f"{teacher}: its answers are cut off (JSON without an end); {KEPT}", maybe_billed=True)
    raise error


def _judge_status(error: Any, teacher: str, model: str) -> Passing | StageError | Withheld | LimitRenamed:
    """`error`: an `openai.APIStatusError`."""
    status, code = error.status_code, error.code
    match status:
        case 401:
            return StageError(f"{teacher}: the key in OPENAI_API_KEY was refused (401)")
        case 403:
            return StageError(f"{teacher}: this key may not use {model} (403)")
        case 404:
            return StageError(f"{teacher}: no model {model} there (404); check teacher.model_name and base_url")
        case 400 if code in CONTENT_CODES:
            return Withheld()
        case 400 if code == "unsupported_parameter" and error.param == "max_tokens":
            return LimitRenamed(_refused(teacher, error))
        case 429 if QUOTA_CODES & {code, error.type}:
            return StageError(f"{teacher}: the quota is used up (429); {KEPT}")
    if status not in (408, 409, 429) and status < 500:
        return StageError(_refused(teacher, error))
    wait = retry_after(error.response.headers)
    if wait is not None and wait > LONGEST_WAIT:
        return StageError(f"{teacher}: answered {status}, and not to ask again for {_in_words(wait)}; {KEPT} then")
    if status == 429:
        return Passing(f"{teacher}: still rate-limited after retries (429); {KEPT}", wait, rate_limited=True)
    return Passing(f"{teacher}: answered {status}{_reason(error)}; {KEPT}", wait)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After-Ms (OpenAI's own), or of Retry-After as a number or an HTTP date (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        return seconds if math.isfinite(seconds) and seconds > 0 else None
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    # A date with the zone -0000 comes without one; HTTP dates are GMT.
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    return seconds if seconds > 0 else None


def _in_words(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{math.ceil(seconds / 60)} minutes"


def _refused(teacher: str, error: Any) -> str:
    return f"{teacher}: answered {error.status_code}{_reason(error)}; what was answered is stored"


def _reason(error: Any) -> str:
    """What the server says is wrong, such as a max_tokens that the model can't take."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return f" ({shown(str(message))})" if message else ""


def shown(text: str) -> str:
    """A provider's text for an error: one line, without the key."""
    key = (secret("OPENAI_API_KEY") or "").strip() or "\0"
    return " ".join(text.replace(key, "[key]").split())[:400]
