"""The files of a Batch API: writes requests as the lines to upload, and reads downloaded lines as outcomes.

An uploaded line is {"custom_id", "method", "url", "body"}; its custom_id is the request's key. A downloaded line is
{"custom_id", "response": {"status_code", "body"}, "error": null}, or has an error instead of the response. Bodies are
those of live calls, and errors are classified as those of live calls are.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from netllama.core.errors import StageError
from netllama.teacher.api_answer import ErrorInAnswer, make_withheld_answer, parse_answer
from netllama.teacher.api_format import LIMIT_NAMES, PATHS, PLAIN, Dialect, build_body
from netllama.teacher.error_bodies import read_server_error
from netllama.teacher.error_verdicts import (
    CONTENT_CODES,
    RESUME,
    ParameterRefused,
    PromptWithheld,
    classify_error,
    judge_server_error,
)
from netllama.teacher.retries import Retryable
from netllama.teacher.store import Request, Response

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
"""The largest batch that OpenAI accepts: https://platform.openai.com/docs/guides/batch"""
Outcome = Response | Retryable | StageError | PromptWithheld | ParameterRefused


@dataclass
class Upload:
    """The file of one batch: requests to one model through one API."""

    api: str
    model: str
    requests: dict[str, Request] = field(default_factory=dict)
    """By key."""
    lines: list[bytes] = field(default_factory=list)

    @property
    def path(self) -> str:
        return PATHS[self.api]


@dataclass
class Results:
    """What became of requests, according to the files of a batch."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """By key."""
    unreadable: str = ""
    """The first place that cannot be read; empty if all can."""
    lines: int = 0

    def merge(self, other: "Results") -> None:
        """Add the results of another file. If both have an outcome of a request, the earlier one stays."""
        self.outcomes = other.outcomes | self.outcomes
        self.unreadable = self.unreadable or other.unreadable
        self.lines += other.lines


def split_into_uploads(requests: Iterable[Request], dialects: Mapping[str, Dialect]) -> Iterator[Upload]:
    """Uploads in the order of the requests. `dialects`: what models have refused, by model."""
    growing: dict[tuple[str, str], tuple[Upload, int]] = {}
    for request in requests:
        kind = request.api, request.model
        line = _write_line(request, dialects.get(request.model, PLAIN))
        upload, size = growing.get(kind) or (Upload(*kind), 0)
        if upload.lines and (len(upload.lines) == MAX_REQUESTS or size + len(line) > MAX_BYTES):
            yield upload
            upload, size = Upload(*kind), 0
        upload.requests[request.key] = request
        upload.lines.append(line)
        growing[kind] = upload, size + len(line)
    for upload, _ in growing.values():
        yield upload


def _write_line(request: Request, dialect: Dialect) -> bytes:
    body = build_body(request, dialect)
    body.pop("service_tier", None)  # the Batch API is a tier of its own
    row = {"custom_id": request.key, "method": "POST", "url": f"/v1{PATHS[request.api]}", "body": body}
    # Keys are not sorted, because strict answers follow the order of their schema. json.dumps escapes all but ASCII, so
    # no reader takes a character such as U+2028 for a line end.
    return json.dumps(row).encode() + b"\n"


def read_limits(content: bytes) -> dict[str, int]:
    """max_tokens by key from an uploaded file of requests; raises ValueError if it is anything else."""
    limits = {}
    for line in _split_lines(content):
        try:
            row = json.loads(line)
            limits[str(row["custom_id"])] = int(next(row["body"][name] for name in LIMIT_NAMES if name in row["body"]))
        except (KeyError, TypeError, AttributeError, StopIteration, RecursionError) as error:
            raise ValueError from error
    return limits


def hash_keys(keys: Iterable[str]) -> str:
    """A name for a set of keys, whatever their order."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def read_results(content: bytes, file: str, wanted: dict[str, Request], teacher: str) -> Results:
    """The outcomes of the `wanted` requests (by key) in one downloaded file."""
    lines = _split_lines(content)
    results = Results(lines=len(lines))
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            key = row["custom_id"]
            if key in wanted:
                results.outcomes.setdefault(key, _read_outcome(row, wanted[key], teacher))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            results.unreadable = results.unreadable or f"line {number} of file {file}"
    return results


def _read_outcome(row: dict[str, Any], request: Request, teacher: str) -> Outcome:
    """Raises ValueError, KeyError, TypeError or AttributeError if the row is not a result."""
    if not row.get("response") and row.get("error"):
        error = read_server_error(row["error"])
        if error.code in CONTENT_CODES:
            return make_withheld_answer(request, batch=True)
        return Retryable(
            f"{teacher}: a request ended with {error.code or 'an error'} in its batch{error.quote}; {RESUME}"
        )
    status, body = row["response"]["status_code"], row["response"]["body"]
    sent = build_body(request)
    if status >= 400:
        verdict = judge_server_error(status, read_server_error(body), teacher, request.model, sent)
    else:
        try:
            return parse_answer(request, body, batch=True)
        except ErrorInAnswer as error:
            verdict = classify_error(error, teacher, request.model, sent)
    if isinstance(verdict, PromptWithheld) and verdict.certain:
        return make_withheld_answer(request, batch=True)
    return verdict


def _split_lines(content: bytes) -> list[bytes]:
    """Splits at LF only: an answer may contain U+2028 or U+0085."""
    return [line for line in content.split(b"\n") if line.strip()]
