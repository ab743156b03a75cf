"""The files of a Batch API: requests as the lines that go up, and the lines that come down as outcomes.

A line up is {"custom_id", "method", "url", "body"}, and its custom_id is the request's key. A line down is
{"custom_id", "response": {"status_code", "body"}, "error": null}, or an error in the place of the response. The
body is that of a live call, and so is the verdict on one that was refused.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from netllama.core.errors import StageError
from netllama.teacher.api_format import CONTENT_CODES, PATHS, body_of, response_of, withheld
from netllama.teacher.retries import KEPT, LimitRenamed, Passing, Withheld, judge, shown
from netllama.teacher.store import Request, Response

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
"""The largest batch: https://platform.openai.com/docs/guides/batch"""
LIMIT, NEW_LIMIT = "max_tokens", "max_completion_tokens"
"""The names of the answer's limit."""


@dataclass
class Upload:
    """One batch: requests of one model and one API."""

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
    """What became of requests, as far as files say."""

    outcomes: dict[str, Response | Passing | StageError | LimitRenamed] = field(default_factory=dict)
    """By key."""
    unreadable: str = ""
    """The first place that can't be read."""
    lines: int = 0

    def add(self, other: "Results") -> None:
        """Of two outcomes of one request, the first."""
        self.outcomes = other.outcomes | self.outcomes
        self.unreadable = self.unreadable or other.unreadable
        self.lines += other.lines


def uploads(requests: Iterable[Request], renamed: Collection[str]) -> Iterator[Upload]:
    """Batches in the order of the requests; `renamed`: the models that want `NEW_LIMIT`."""
    growing: dict[tuple[str, str], tuple[Upload, int]] = {}
    for request in requests:
        kind = request.api, request.model
        line = _line(request, limit_name(request.api, request.model, renamed))
        upload, size = growing.get(kind) or (Upload(*kind), 0)
        if upload.lines and (len(upload.lines) == MAX_REQUESTS or size + len(line) > MAX_BYTES):
            yield upload
            upload, size = Upload(*kind), 0
        upload.requests[request.key] = request
        upload.lines.append(line)
        growing[kind] = upload, size + len(line)
    for upload, _ in growing.values():
        yield upload


def limit_name(api: str, model: str, renamed: Collection[str]) -> str:
    return NEW_LIMIT if api == "chat" and model in renamed else LIMIT


def _line(request: Request, limit: str) -> bytes:
    body = body_of(request)
    body[limit] = body.pop(LIMIT)
    row = {"custom_id": request.key, "method": "POST", "url": f"/v1{PATHS[request.api]}", "body": body}
    # Not sorted: strict answers follow the order of their schema. ASCII: nothing that some reader takes for a line end.
    return json.dumps(row).encode() + b"\n"


def limits_of(content: bytes) -> dict[str, int]:
    """A file of requests that went up, as the max_tokens of each key; ValueError when it is not one."""
    limits = {}
    for line in _lines(content):
        try:
            row = json.loads(line)
            limits[str(row["custom_id"])] = int(row["body"].get(LIMIT) or row["body"][NEW_LIMIT])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError from error
    return limits


def digest(keys: Iterable[str]) -> str:
    """One name for a set of keys."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def read_results(content: bytes, file: str, wanted: dict[str, Request], teacher: str) -> Results:
    """The outcomes of `wanted` in one file."""
    lines = _lines(content)
    results = Results(lines=len(lines))
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            key = row["custom_id"]
            if key in wanted:
                results.outcomes.setdefault(key, _outcome(row, wanted[key], teacher))
        except (ValueError, KeyError, TypeError, AttributeError):
            results.unreadable = results.unreadable or f"line {number} of file {file}"
    return results


def _outcome(row: dict[str, Any], request: Request, teacher: str) -> Response | Passing | StageError | LimitRenamed:
    """ValueError, KeyError, TypeError or AttributeError: the row is no result."""
    import openai

    if not row.get("response") and row.get("error"):
        code = row["error"].get("code")
        if code in CONTENT_CODES:
            return withheld(request, batch=True)
        return Passing(shown(f"{teacher}: ended with {code} in its batch; {KEPT}"))
    status, body = row["response"]["status_code"], row["response"]["body"]
    if status < 400:
        return response_of(request, body, batch=True)
    answer: Any = SimpleNamespace(status_code=status, headers={}, request=None)
    details = body.get("error", body) if isinstance(body, dict) else body
    verdict = judge(openai.APIStatusError("", response=answer, body=details), teacher, request.model)
    return withheld(request, batch=True) if isinstance(verdict, Withheld) else verdict


def _lines(content: bytes) -> list[bytes]:
    """Split at LF only: an answer may hold U+2028 or U+0085."""
    return [line for line in content.split(b"\n") if line.strip()]
