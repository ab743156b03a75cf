"""Keeps every answer of the teacher in an append-only JSONL file, written and fsynced before the answer is used.

A row is keyed by the SHA-256 of the canonical request (never the API key). Nothing stored is asked again.

Several processes may use the file at once: each takes a lock to read or append. So if a reader finds an incomplete last
line, a killed process has left it. The line is cut off, and everything before it is kept.
"""

import json
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field

from netllama.core.errors import StageError
from netllama.core.file_errors import name_file, open_regular
from netllama.core.files import JsonObject, dump_canonical_json, hash_json, parse_json
from netllama.core.locks import hold_lock
from netllama.teacher.claims import Claims

_HASH = "sha256"
_TOKENS_AROUND_A_MESSAGE = 16
EMBEDDED = "embedded"
"""The `teacher` of a request to the embedded one, whose loopback port changes from run to run."""


def _seal(row: JsonObject) -> JsonObject:
    """With a hash of itself: nobody else has one of the live file, and a flipped bit can make another letter."""
    return row | {_HASH: hash_json(row)}


def _unseal(row: Any) -> Any:
    """The row that was sealed; ValueError if it is damaged. Rows of older versions and recorded ones have no hash."""
    if isinstance(row, dict) and (digest := row.pop(_HASH, None)) and digest != hash_json(row):
        raise ValueError("damaged")
    return row


def _is_unset(value: object) -> bool:
    return not value


class Request(BaseModel):
    """One call of the teacher: `prompt` for the completions API, `messages` for the chat and the responses API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str
    """The base_url, or `EMBEDDED`."""
    model: str
    api: str
    prompt: str | None = None
    messages: list[dict[str, str]] | None = None
    json_schema: dict[str, Any] | None = None
    """The answer's strict JSON schema, for servers that make the teacher follow one."""
    temperature: float | None
    """None, here and below: not sent."""
    top_p: float | None
    frequency_penalty: float | None = 0.0
    presence_penalty: float | None = 0.0
    stop: list[str] = []
    reasoning_effort: str | None = Field(default=None, exclude_if=_is_unset)
    max_tokens: int
    """Limit on the answer, a reasoning model's thinking included."""
    service_tier: str | None = None
    cache_key: str = ""
    """Names the first message for the provider's prompt cache, where many requests begin with it; empty: none do."""
    draw: str
    """family/round/slot: equal prompts of two slots are two draws."""

    @cached_property
    def key(self) -> str:
        """Hash of what the answer depends on.

        Without `max_tokens`: raising it asks again only for truncated answers. Without what decides the price alone.
        """
        return hash_json(self.model_dump(exclude={"max_tokens", "service_tier", "cache_key"}))

    @property
    def prompt_bound(self) -> int:
        """The most tokens that the prompt can have: one per byte, plus some for the markup around each message."""
        messages = self.messages or [{"content": self.prompt or ""}]
        size = sum(len(text.encode()) + _TOKENS_AROUND_A_MESSAGE for message in messages for text in message.values())
        return size + (len(json.dumps(self.json_schema)) if self.json_schema else 0)

    @property
    def claim(self) -> str:
        """Name of the claim that a process holds while it asks for the answer."""
        return f"{self.key} {self.max_tokens}"


class Response(BaseModel):
    """One answer. Its finish_reason is one of `api_answer.FINISH_REASONS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    draw: str
    model: str
    """The model that the server says it used, such as the dated version behind an alias."""
    text: str
    finish_reason: str
    max_tokens: int
    prompt_tokens: int
    completion_tokens: int
    """Those of the thinking included."""
    reasoning_tokens: int = Field(default=0, exclude_if=_is_unset)
    cached_tokens: int = Field(default=0, exclude_if=_is_unset)
    """Prompt tokens that the provider had in its cache."""
    cache_write_tokens: int = Field(default=0, exclude_if=_is_unset)
    """Prompt tokens that the provider put into its cache."""
    service_tier: str = Field(default="", exclude_if=_is_unset)
    """The tier that served it, if the server says so and it is not the default."""
    batch: bool = False
    """Answered through the Batch API, at its price."""
    prompt_bound: int = Field(default=0, exclude_if=_is_unset)
    """The request's, where the server did not report the tokens: what the answer cost is estimated from it."""

    def bound_usage(self, request: Request) -> "Response":
        """With `prompt_bound`, if this is an answer to `request` that came without its tokens.

        A prompt that the provider withheld from the model costs nothing, and is reported without tokens, too.
        """
        reported = self.prompt_tokens and (self.completion_tokens or not self.text)
        if reported or self.prompt_bound or self.finish_reason == "content_filter":
            return self
        return self.model_copy(update={"prompt_bound": request.prompt_bound})

    def is_answer_to(self, request: Request) -> bool:
        """Whether this answers `request`, which has its key: it has the same limit, or fits and was not cut off."""
        if self.max_tokens == request.max_tokens:
            return True
        return self.finish_reason != "length" and self.completion_tokens <= request.max_tokens


class ResponseStore:
    """Answers from recorded files, which are only read, and from one live file, to which new answers are appended."""

    def __init__(self, live: Path, recorded: Iterable[Path] = ()) -> None:
        self.live = live
        self.claims = Claims(live.with_name("asking.lock"))
        """Whoever asks the teacher takes `request.claim` first, calls `find` again, and drops the claim after `add`."""
        self._responses: dict[str, list[Response]] = {}
        for path in recorded:
            with open_regular(path) as file:
                self._load(path, file.read())
        self._recorded = {id(row) for rows in self._responses.values() for row in rows}
        self._lines = self._end = 0
        """How many lines and bytes of the live file are loaded."""
        self._load_appended()

    def find(self, request: Request) -> Response | None:
        """The first answer to `request` that this process or another one has stored."""
        return self._find_loaded(request) or (self._find_loaded(request) if self._load_appended() else None)

    def list_bought(self, asked: Request | Response) -> list[Response]:
        """Every answer ever received to this request, including those that a higher limit made obsolete."""
        rows = self._responses.get(asked.key, [])
        return list(self._bound_usages(rows, asked) if isinstance(asked, Request) else rows)

    def is_recorded(self, response: Response) -> bool:
        """Whether the response is from data/recorded/, not from a teacher that this checkout asked."""
        return id(response) in self._recorded

    def add(self, *responses: Response) -> None:
        """Append responses that are not stored yet. They are durable when this returns."""
        self.live.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(), name_file(self.live):
            new = not self.live.exists()
            with open(self.live, "a+b") as file:
                self._read_new_lines(file)
                # Two processes may import the results of one batch.
                rows = [row for row in responses if row not in self._responses.get(row.key, [])]
                file.write("".join(dump_canonical_json(_seal(row.model_dump())) + "\n" for row in rows).encode())
                file.flush()
                os.fsync(file.fileno())
                self._end, self._lines = file.tell(), self._lines + len(rows)
            for row in rows:
                self._remember(row)
        if new:  # the file's name must be as durable as its content
            folder = os.open(self.live.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def _find_loaded(self, request: Request) -> Response | None:
        rows = self._bound_usages(self._responses.get(request.key, []), request)
        return next((row for row in rows if row.is_answer_to(request)), None)

    def _bound_usages(self, rows: list[Response], request: Request) -> list[Response]:
        """The answers to `request`, in place. Those that earlier versions stored lack the bound of their tokens."""
        for place, row in enumerate(rows):
            if (bounded := row.bound_usage(request)) is not row:
                rows[place] = bounded
                if id(row) in self._recorded:
                    self._recorded.remove(id(row))
                    self._recorded.add(id(bounded))
        return rows

    def _remember(self, response: Response) -> None:
        self._responses.setdefault(response.key, []).append(response)

    def _lock(self) -> AbstractContextManager[None]:
        return hold_lock(self.live.with_name(f"{self.live.name}.lock"), f"reads or appends to {self.live}")

    def _load_appended(self) -> bool:
        """Load what other processes have appended to the live file. False if it has not grown."""
        try:
            grown = self.live.stat().st_size > self._end
        except FileNotFoundError:
            return False
        if grown:
            with self._lock(), open(self.live, "r+b") as file:
                self._read_new_lines(file)
        return grown

    def _read_new_lines(self, file: BinaryIO) -> None:
        """Load the lines after those already loaded, and cut off a torn one. The caller holds the lock."""
        file.seek(self._end)
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(self._end + whole)
        self._load(self.live, data[:whole], self._lines)
        self._end, self._lines = self._end + whole, self._lines + data.count(b"\n")

    def _load(self, path: Path, data: bytes, before: int = 0) -> None:
        """Remember the rows in `data`, whole lines that follow `before` other lines of the file."""
        # Split at LF only: an answer may hold U+2028 or U+0085, which str.splitlines() takes for line ends.
        for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], start=before + 1):
            try:
                self._remember(Response.model_validate(_unseal(parse_json(line.decode()))))
            except ValueError:
                raise StageError(f"{path}:{number}: not a stored response; remove the line and run again") from None
