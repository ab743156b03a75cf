"""Every answer of the teacher, kept: an append-only JSONL file, written and fsynced before use.

A row is keyed by the SHA-256 of the canonical request (never the API key). A torn last line, left by a
killed process, is dropped on load; everything before it is kept. Nothing stored is asked again.
"""

import json
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from netllama.core.errors import StageError
from netllama.core.files import canonical_json, sha256_json

EMBEDDED = "embedded"
"""The `teacher` of a request to the embedded one: its loopback port changes from run to run."""


class Request(BaseModel):
    """One call of the teacher: `prompt` for the completions API, `messages` for the chat API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: str
    """The base_url, or `EMBEDDED`."""
    model: str
    api: str
    prompt: str | None = None
    messages: list[dict[str, str]] | None = None
    json_schema: dict[str, Any] | None = None
    """The answer's strict JSON schema, for servers that hold the teacher to one."""
    temperature: float
    top_p: float
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: list[str] = []
    max_tokens: int
    draw: str
    """family/round/slot: equal prompts of two slots are two draws."""

    @cached_property
    def key(self) -> str:
        """Hash of all but `max_tokens`: raising it must re-ask truncated answers only."""
        return sha256_json(self.model_dump(exclude={"max_tokens"}))


class Response(BaseModel):
    """One answer. Its finish_reason is the API's (`stop`, `length`, `content_filter`) or `refusal`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    draw: str
    model: str
    """The model that the server says it used; a dated version behind an alias, for instance."""
    text: str
    finish_reason: str
    max_tokens: int
    prompt_tokens: int
    completion_tokens: int
    batch: bool = False
    """Answered through the Batch API, at its price."""

    def answers(self, request: Request) -> bool:
        """Whether asking `request` anew could end no differently: same limit, or the limit was not met."""
        if self.max_tokens == request.max_tokens:
            return True
        return self.finish_reason != "length" and self.completion_tokens <= request.max_tokens


class ResponseStore:
    """Recorded files (read only) below one live file that grows."""

    def __init__(self, live: Path, recorded: Iterable[Path] = ()) -> None:
        self.live = live
        self._responses: dict[str, list[Response]] = {}
        for path in recorded:
            self._load(path, path.read_bytes())
        self._recorded = {id(row) for rows in self._responses.values() for row in rows}
        self._load_live()

    def find(self, request: Request) -> Response | None:
        return next((row for row in self._responses.get(request.key, []) if row.answers(request)), None)

    def bought(self, asked: Request | Response) -> list[Response]:
        """Every answer that this request ever got, those that a higher limit made obsolete included."""
        return list(self._responses.get(asked.key, []))

    def is_recorded(self, response: Response) -> bool:
        """Whether it came from data/recorded/, not from a teacher that this checkout asked."""
        return id(response) in self._recorded

    def add(self, *responses: Response) -> None:
        """Durable when this returns: one write, then fsync."""
        lines = "".join(canonical_json(response.model_dump()) + "\n" for response in responses)
        if new := not self.live.exists():
            self.live.parent.mkdir(parents=True, exist_ok=True)
        with open(self.live, "ab") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
        if new:  # the name of the file must be as durable as what is in it
            folder = os.open(self.live.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        for response in responses:
            self._remember(response)

    def _remember(self, response: Response) -> None:
        self._responses.setdefault(response.key, []).append(response)

    def _load_live(self) -> None:
        if not self.live.exists():
            return
        data = self.live.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with open(self.live, "r+b") as file:
                file.truncate(whole)
        self._load(self.live, data[:whole])

    def _load(self, path: Path, data: bytes) -> None:
        # Split at LF only: an answer may hold U+2028 or U+0085, which str.splitlines() takes for line ends.
        for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], start=1):
            try:
                self._remember(Response.model_validate(json.loads(line)))
            except ValueError:
                raise StageError(f"{path}:{number}: not a stored response; remove the line and run again") from None
