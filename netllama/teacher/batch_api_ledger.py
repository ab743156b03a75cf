"""Our batches at a provider, which remembers them for us: what each was asked, and what became of it.

A batch is ours by its metadata, so one whose creator was killed before it heard of it is found as well. A note
of its keys, one file a batch, saves the download of its input file; where it is lost, the provider has it.
"""

import contextlib
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from netllama.core.errors import StageError
from netllama.core.files import write_json
from netllama.core.locks import hold_lock_async
from netllama.teacher.batch_api_client import About, BatchApi, Gone
from netllama.teacher.batch_api_files import NEW_LIMIT, Results, Upload, digest, limits_of, read_results
from netllama.teacher.retries import shown
from netllama.teacher.store import Request

PROJECT = "netllama"
FINISHED = {"completed", "expired", "cancelled"}
"""With results, partial ones included; `failed` has none, and everything else is still open."""


@dataclass
class Batch:
    """A batch of ours at the provider."""

    about: About
    """The provider's last word on it."""
    limits: dict[str, int]
    """max_tokens of each request in it, by key."""
    unanswered: set[str] = field(default_factory=set)
    """Keys that it ended without an answer for."""
    reserved: dict[str, Decimal] = field(default_factory=dict)
    watched: bool = False
    """This process saw it open, so its errors are news."""

    @property
    def id(self) -> str:
        return str(self.about["id"])

    @property
    def status(self) -> str:
        return str(self.about.get("status"))

    @property
    def metadata(self) -> dict[str, Any]:
        return self.about.get("metadata") or {}

    @property
    def completed(self) -> int:
        return int((self.about.get("request_counts") or {}).get("completed") or 0)

    @property
    def failure(self) -> tuple[str, str]:
        """Code and message of the first error of a batch that failed."""
        errors = self.about.get("errors") or []
        first: Any = next(iter((errors.get("data") or []) if isinstance(errors, dict) else errors), {})
        return (str(first.get("code")), str(first.get("message"))) if isinstance(first, dict) else ("", str(first))

    @property
    def model(self) -> str:
        return str(self.metadata.get("model"))

    @property
    def new_limit(self) -> bool:
        return self.metadata.get("limit") == NEW_LIMIT


class Ledger:
    """`batches` are those that are known, by id; `folder` holds the notes."""

    def __init__(self, api: BatchApi, folder: Path) -> None:
        self.batches: dict[str, Batch] = {}
        self._api = api
        self._folder = folder

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Lock out other processes from the survey until new batches are created: they would create the same ones."""
        return hold_lock_async(self._folder.with_name("batches.lock"), "creates batches")

    async def survey(self, models: set[str]) -> None:
        """Find all batches of ours for these models: by metadata, or by a note where a server keeps no metadata."""
        for about in await self._api.batches():
            batch = self.batches.get(about["id"]) or Batch(about, {})
            batch.about = about
            ours = batch.metadata.get("project") == PROJECT and batch.model in models
            if batch.status != "failed" and (ours or self._note(batch).exists()):
                batch.limits = batch.limits or await self._limits(batch)
                self.batches[batch.id] = batch

    async def create(self, upload: Upload, limit: str) -> Batch:
        """`limit`: the name that the answer's limit has in the upload."""
        metadata = {"project": PROJECT, "keys": digest(upload.requests), "model": upload.model, "limit": limit}
        about = await self._api.create(b"".join(upload.lines), upload.path, metadata)
        batch = Batch(about, {key: request.max_tokens for key, request in upload.requests.items()})
        self.batches[batch.id] = batch
        write_json(self._note(batch), batch.limits)
        return batch

    def forget(self, batch: Batch) -> None:
        """It failed, so it holds nothing."""
        del self.batches[batch.id]

    async def results(self, batch: Batch, wanted: dict[str, Request]) -> Results:
        """Both files of a batch that has ended. One that the provider has no more has no answers."""
        results, gone = Results(), False
        for file in filter(None, (batch.about.get("output_file_id"), batch.about.get("error_file_id"))):
            try:
                content = await self._api.download(file)
            except Gone:
                print(shown(f"batch {batch.id}: its file {file} is gone; what was in it is asked again"), flush=True)
                gone = True
                continue
            results.add(read_results(content, file, wanted, self._api.name))
        lost = batch.status == "completed" and len(results.outcomes) < len(wanted)
        if not gone and (lost or results.lines < batch.completed):
            results.unreadable = results.unreadable or f"the end of file {batch.about.get('output_file_id')}"
        return results

    async def _limits(self, batch: Batch) -> dict[str, int]:
        """max_tokens by key: from our note, or where it is lost or another server's, from the batch's input file."""
        note, keys = self._note(batch), batch.metadata.get("keys")
        with contextlib.suppress(OSError, ValueError, AttributeError):
            limits: dict[str, int] = json.loads(note.read_bytes())
            if keys in (None, digest(limits)):
                return limits
        for _ in range(2):
            with contextlib.suppress(ValueError):
                try:
                    limits = limits_of(await self._api.download(str(batch.about.get("input_file_id"))))
                except Gone:
                    if batch.status in FINISHED:  # files expire together: so are its results
                        return {}
                    break
                if keys in (None, digest(limits)):
                    write_json(note, limits)
                    return limits
        raise StageError(
            f"{self._api.name}: batch {batch.id}: its input file can't be read, so not what it asks; cancel it there?"
        )

    def _note(self, batch: Batch) -> Path:
        return self._folder / f"{batch.id}.json"
