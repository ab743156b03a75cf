"""What a failed request means for the run: try again, leave a parameter out, go on without this answer, or stop.

`classify_error` decides by the error's type, the HTTP status and the error code, and by the words only which parameter
is refused. The server's own words are always shown, beside our hint and never in its place, with the key blanked out.
The exception itself is never shown: it holds the Authorization header.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.teacher.api_answer import EndlessBody, ErrorInAnswer, NotAnAnswer
from netllama.teacher.api_format import MAX_COMPLETION_TOKENS, MAX_TOKENS
from netllama.teacher.error_bodies import ServerError, read_server_error, redact_text
from netllama.teacher.retries import Retryable, parse_retry_after

if TYPE_CHECKING:
    from openai import APIStatusError

RESUME = "the answers so far are stored; run again to continue"
STORED = "the answers so far are stored"
CONTENT_CODES = {"content_filter", "content_policy_violation", "invalid_prompt", "moderation"}
"""Codes of an error that concerns this one prompt."""
QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached"}
"""Codes of a 429 that retrying cannot fix: the quota is exhausted."""
LONGEST_WAIT = 900.0
"""Seconds. If a server asks for a longer wait (a daily limit does), the run ends and says how long to wait."""
_PERHAPS_ABOUT_THE_PROMPT = {400, 403, 413, 422, 451}
_UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
"""httpx's errors of requests that were never sent, by name: the SDK comes with one of two httpx packages."""
_UNSENDABLE = {"UnsupportedProtocol", "LocalProtocolError"}
_REFUSAL = re.compile(
    r"unsupported|not support|n't support|unrecogni[sz]ed|unknown|unexpected"
    r"|not (?:allowed|permitted|available|accepted)|extra (?:inputs|fields|properties)|deprecated|no longer|removed"
    r"|cannot (?:both )?(?:be|find)|only the default"
    r"|incompatible|additional properties|invalid (?:parameter|argument|field|name)",
    re.IGNORECASE,
)
_SIZE = re.compile(
    r"too (?:large|many|high|big|long)|exceed|at most|maximum|less than|greater than|range", re.IGNORECASE
)
_ABOUT_THE_KEY = re.compile(r"\bapi[ _-]?key\b", re.IGNORECASE)
_VALUE = re.compile(r"unsupported[_ ]value|invalid[_ ]value|must be one of|supported values", re.IGNORECASE)


@dataclass(frozen=True)
class PromptWithheld:
    """The provider did not let the model answer this one prompt: `api_answer.make_withheld_answer` is its answer."""

    refusal: str
    """What the server said."""
    certain: bool
    """The error's code says that it is about the prompt. If not, other prompts that are answered show it."""


@dataclass(frozen=True)
class ParameterRefused:
    """The model does not take this parameter of the body: leave it out (`api_format.Dialect`)."""

    name: str
    refusal: str
    """What the server said."""


Verdict = Retryable | StageError | PromptWithheld | ParameterRefused


def classify_error(error: Exception, teacher: str, model: str, body: Mapping[str, object] | None = None) -> Verdict:
    """What to do about `error`, which the request with this `body` met.

    An error that comes from neither the server nor the network is raised again.
    """
    import openai

    if isinstance(error, openai.APIStatusError):
        wait = parse_retry_after(error.response.headers)
        return judge_server_error(error.status_code, read_server_error(_get_body(error)), teacher, model, body, wait)
    if isinstance(error, ErrorInAnswer):
        status = error.error.status
        if status is None:
            return Retryable(f"{teacher}: answered 200 with an error in it{error.error.quote}; {RESUME}")
        return judge_server_error(status, error.error, teacher, model, body)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        sent = type(error.__cause__).__name__ not in _UNSENT
        return Retryable(f"{teacher}: no answer within teacher.request_timeout; {RESUME}", maybe_billed=sent)
    if isinstance(error, openai.APIConnectionError):
        cause = type(error.__cause__).__name__
        if cause in _UNSENDABLE:
            return StageError(f"{teacher}: cannot send requests there; check teacher.base_url and OPENAI_API_KEY")
        return Retryable(f"{teacher}: cannot be reached; {RESUME}", maybe_billed=cause not in _UNSENT)
    if isinstance(error, EndlessBody):
        return StageError(f"{teacher}: sends more than any answer is long; check teacher.base_url; {STORED}")
    if isinstance(error, NotAnAnswer):
        return StageError(_describe_stranger(teacher, error.args[0] if error.args else ""))
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):  # cut off, or HTML with the content type of JSON
        if str(text := getattr(error, "doc", "")).lstrip().startswith("<"):
            return StageError(_describe_stranger(teacher, text))
        return Retryable(f"{teacher}: its answers are cut off (incomplete JSON); {RESUME}", maybe_billed=True)
    if type(error) in (ValueError, RecursionError):  # a number of 5,000 digits, 100,000 brackets
        return StageError(_describe_stranger(teacher, f"JSON that can't be read: {error}"))
    raise error


def judge_server_error(
    status: int,
    error: ServerError,
    teacher: str,
    model: str,
    body: Mapping[str, object] | None = None,
    retry_after: float | None = None,
) -> Verdict:
    """What to do about an error that the server describes. `retry_after`: seconds that it asks us to wait."""
    said, codes = f"({status}{error.quote})", {error.code, error.type}
    refusal = f"{teacher}: answered {status}" + (f" ({error.message})" if error.message else "")
    match status:
        case 401:
            return StageError(f"{teacher}: rejects the key in OPENAI_API_KEY {said}")
        case 402:
            return StageError(f"{teacher}: wants to be paid first {said}; {RESUME}")
        case 404:
            return StageError(f"{teacher}: has no model {model} {said}; check teacher.model_name and teacher.base_url")
        case 429 if QUOTA_CODES & codes:
            return StageError(f"{teacher}: your quota is exhausted {said}; {RESUME}")
    if status in _PERHAPS_ABOUT_THE_PROMPT:
        if _ABOUT_THE_KEY.search(f"{error.code} {error.message}"):
            return StageError(f"{teacher}: rejects the key in OPENAI_API_KEY {said}")
        if CONTENT_CODES & codes:
            return PromptWithheld(refusal, certain=True)
        if name := find_refused_parameter(error, body or {}):
            return ParameterRefused(name, refusal)
        hint = f"{teacher}: this key may not use {model} {said}" if status == 403 else refusal
        return PromptWithheld(hint, certain=False)
    if status not in (408, 409, 425, 429) and status < 498:
        return StageError(f"{refusal}; {STORED}")
    if retry_after is not None and retry_after > LONGEST_WAIT:
        wait = _format_duration(retry_after)
        return StageError(f"{refusal} and asks to wait {wait}; {RESUME} then")
    if status == 429:
        return Retryable(
            f"{teacher}: still rate-limited after all retries {said}; {RESUME}", retry_after, rate_limited=True
        )
    return Retryable(f"{refusal}; {RESUME}", retry_after)


def find_refused_parameter(error: ServerError, body: Mapping[str, object]) -> str:
    """The parameter of `body` that the model does not take at all; empty if the error is about something else.

    A value that is out of range is the user's to mend. So is a value of reasoning_effort: the model's own default would
    think, and cost, more than was asked for.
    """
    words, param = error.message, re.split(r"[.\[]", error.param)[0]
    if MAX_TOKENS in body and (param == MAX_TOKENS or _names(MAX_TOKENS, words)):
        renamed = MAX_COMPLETION_TOKENS in words
        return MAX_TOKENS if renamed or not _SIZE.search(words) else ""
    if not (_REFUSAL.search(words) or _REFUSAL.search(error.code.replace("_", " "))):
        return ""
    if "prompt_cache_breakpoint" in words + error.param:
        return "prompt_cache_options" if "prompt_cache_options" in body else ""
    # The last one named first: of temperature and top_p, which some models take only one of, top_p goes.
    named = [name for name in reversed(list(body)) if param == name or (not param and _names(name, words))]
    name = named[0] if named else next((name for name in reversed(list(body)) if _names(name, words)), "")
    about_value = bool(_VALUE.search(words) or _VALUE.search(error.code))
    return "" if about_value and name in ("reasoning", "reasoning_effort") else name


def _names(name: str, words: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words) is not None


def _get_body(error: "APIStatusError") -> object:
    """The body as the server sent it: the SDK keeps JSON as it is, and a text only in the response."""
    return error.body if error.body is not None else error.response.text


def _describe_stranger(teacher: str, body: object) -> str:
    shown = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)
    words = read_server_error(shown).message[:100] if isinstance(body, str) else redact_text(shown)[:100]
    quoted = f" ({words})" if words else ""
    return f"{teacher}: does not answer like an OpenAI API{quoted}; check that teacher.base_url ends in /v1"


def _format_duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{math.ceil(seconds / 60)} minutes"
