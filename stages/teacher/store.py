"""Every answer of the teacher, kept: an append-only JSONL file, written and fsynced before use.

A row is keyed by the SHA-256 of the canonical request (never the API key). A torn last line, left by a
killed process, is dropped on load; everything before it is kept. Nothing stored is asked again.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from stages.core.errors import StageError
from stages.core.files import canonical_json, sha256_json


class Request(BaseModel):
    """One call of the teacher: `prompt` for the completions API, `messages` for the chat API."""

    model_config = ConfigDict(frozen=True)

    teacher: str
    """The base_url, or `embedded`: its loopback port changes from run to run."""
    model: str
    api: str
    prompt: str | None = None
    messages: list[dict[str, str]] | None = None
    temperature: float
    top_p: float
    max_tokens: int
    draw: str
    """family/round/slot: equal prompts of two slots are two draws."""

    @property
    def key(self) -> str:
        """Hash of all but `max_tokens`: raising it must re-ask truncated answers only."""
        return sha256_json(self.model_dump(exclude={"max_tokens"}))


class Response(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    draw: str
    text: str
    finish_reason: str
    max_tokens: int
    prompt_tokens: int
    completion_tokens: int

    def answers(self, request: Request) -> bool:
        """Whether asking `request` anew could end no differently: same limit, or the limit was not met."""
        if self.finish_reason == "length":
            return self.max_tokens == request.max_tokens
        return self.completion_tokens <= request.max_tokens


class ResponseStore:
    """Recorded files (read only) below one live file that grows."""

    def __init__(self, live: Path, recorded: Iterable[Path] = ()) -> None:
        self.live = live
        self._responses: dict[str, list[Response]] = {}
        for path in recorded:
            self._load(path, path.read_bytes())
        self._load_live()

    def find(self, request: Request) -> Response | None:
        return next((row for row in self._responses.get(request.key, []) if row.answers(request)), None)

    def add(self, response: Response) -> None:
        """Durable when this returns: one write, then fsync."""
        line = canonical_json(response.model_dump()) + "\n"
        self.live.parent.mkdir(parents=True, exist_ok=True)
        with open(self.live, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
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
