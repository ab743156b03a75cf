"""Which failed requests are retried, and when: decided by the error's type, the HTTP status and the error code alone.

`classify_error` turns an exception of `connection.post` (or of any call of the client) into what to do about it: wait
and try again (`Retryable`), end the run (`StageError`), treat the prompt as filtered (`PromptFiltered`), or use the
newer name of the answer's limit (`LimitRenamed`). The provider's message is shown, with the key blanked out, but it
decides nothing, because providers reword their messages. The exception itself is never shown: it holds the
Authorization header.
"""

import email.utils
import json
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from netllama.core.credentials import find_secret
from netllama.core.errors import StageError
from netllama.teacher.api_format import CONTENT_CODES, MAX_TOKENS, NotAnAnswer

if TYPE_CHECKING:
    from openai import APIStatusError

NOT_OPENAI_API = "{}: does not answer like an OpenAI API; check that teacher.base_url ends in /v1"
QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached"}
"""Codes of a 429 that retrying cannot fix: the quota is exhausted."""
LONGEST_WAIT = 900.0
"""Seconds. If a server asks for a longer wait (a daily limit does), the run ends and says how long to wait."""
RESUME = "the answers so far are stored; run again to continue"
_UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
"""httpx's errors of requests that were never sent, by name: the SDK comes with one of two httpx packages."""
_UNSENDABLE = {"UnsupportedProtocol", "LocalProtocolError"}

FIRST_WAIT = 0.5
LONGEST_BACKOFF = 60.0
"""Seconds before the first retry; the wait doubles with each further retry, up to the longest."""


@dataclass(frozen=True)
class Retryable:
    """A failure that may pass: wait and try again."""

    message: str
    """The error that ends the run when no retries are left."""
    retry_after: float | None = None
    """Seconds that the server asked us to wait."""
    rate_limited: bool = False
    maybe_billed: bool = False
    """The server may have sent an answer that was lost on the way."""


class PromptFiltered:
    """The provider's content filter rejected this one prompt: `api_format.make_filtered_answer` is its answer."""


@dataclass(frozen=True)
class LimitRenamed:
    """The model rejects `max_tokens`: newer models call the limit of the answer `max_completion_tokens`."""

    message: str
    """The error that ends the run when the other name does not help."""


Verdict = Retryable | StageError | PromptFiltered | LimitRenamed


class Backoff:
    """The waits between the attempts of one request: jittered and doubling, for at most `max_retries` retries."""

    def __init__(self, max_retries: int) -> None:
        self.max_retries = max_retries
        self.failures = 0
        self._answers_at_limit: int | None = None

    def next_wait(self, failure: Retryable, answers: int = 0) -> float | None:
        """Seconds until the next attempt, or None to give up. `answers`: how many this run has received so far.

        A 429 does not count as a failure if the run has received an answer since this request's last 429: requests that
        share a rate limit make progress together, however often each of them is refused.
        """
        progressed = failure.rate_limited and self._answers_at_limit not in (None, answers)
        if failure.rate_limited:
            self._answers_at_limit = answers
        self.failures += not progressed
        if self.failures > self.max_retries:
            return None
        if failure.retry_after is not None:
            return failure.retry_after * random.uniform(1.0, 1.1)
        return min(FIRST_WAIT * 2.0 ** min(self.failures - 1, 30), LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


def classify_error(error: Exception, teacher: str, model: str) -> Verdict:
    """What to do about `error`. One that comes from neither the server nor the network is raised again."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _classify_status(error, teacher, model)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        sent = type(error.__cause__).__name__ not in _UNSENT
        return Retryable(f"{teacher}: no answer within teacher.request_timeout; {RESUME}", maybe_billed=sent)
    if isinstance(error, openai.APIConnectionError):
        cause = type(error.__cause__).__name__
        if cause in _UNSENDABLE:
            return StageError(f"{teacher}: cannot send requests there; check teacher.base_url and OPENAI_API_KEY")
        return Retryable(f"{teacher}: cannot be reached; {RESUME}", maybe_billed=cause not in _UNSENT)
    if isinstance(error, NotAnAnswer):
        return StageError(NOT_OPENAI_API.format(teacher))
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):  # cut off, or HTML with the content type of JSON
        if str(getattr(error, "doc", "")).lstrip().startswith("<"):
            return StageError(NOT_OPENAI_API.format(teacher))
        return Retryable(f"{teacher}: its answers are cut off (incomplete JSON); {RESUME}", maybe_billed=True)
    raise error


def _classify_status(error: "APIStatusError", teacher: str, model: str) -> Verdict:
    status, code = error.status_code, error.code
    match status:
        case 401:
            return StageError(f"{teacher}: rejects the key in OPENAI_API_KEY (401)")
        case 403:
            return StageError(f"{teacher}: this key may not use {model} (403)")
        case 404:
            return StageError(f"{teacher}: has no model {model} (404); check teacher.model_name and teacher.base_url")
        case 400 if code in CONTENT_CODES:
            return PromptFiltered()
        case 400 if code == "unsupported_parameter" and error.param == MAX_TOKENS:
            return LimitRenamed(_describe_refusal(teacher, error))
        case 429 if QUOTA_CODES & {code, error.type}:
            return StageError(f"{teacher}: your quota is exhausted (429); {RESUME}")
    if status not in (408, 409, 429) and status < 500:
        return StageError(_describe_refusal(teacher, error))
    wait = parse_retry_after(error.response.headers)
    if wait is not None and wait > LONGEST_WAIT:
        return StageError(f"{teacher}: answered {status} and asks to wait {_format_duration(wait)}; {RESUME} then")
    if status == 429:
        return Retryable(f"{teacher}: still rate-limited after all retries (429); {RESUME}", wait, rate_limited=True)
    return Retryable(f"{teacher}: answered {status}{_quote_reason(error)}; {RESUME}", wait)


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds in Retry-After-Ms (OpenAI's own), or in Retry-After as a number or an HTTP date (RFC 9110, 10.2.3)."""
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
    # A date with the zone -0000 is parsed without a zone; HTTP dates are GMT.
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    return seconds if seconds > 0 else None


def _format_duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{math.ceil(seconds / 60)} minutes"


def _describe_refusal(teacher: str, error: "APIStatusError") -> str:
    return f"{teacher}: answered {error.status_code}{_quote_reason(error)}; the answers so far are stored"


def _quote_reason(error: "APIStatusError") -> str:
    """The server's own words in brackets, such as that max_tokens is too large for the model; empty if it has none."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return f" ({redact_text(str(message))})" if message else ""


def redact_text(text: str) -> str:
    """A provider's text made fit for an error message: one line of at most 400 characters, without the API key."""
    key = (find_secret("OPENAI_API_KEY") or "").strip() or "\0"
    return " ".join(text.replace(key, "[key]").split())[:400]
