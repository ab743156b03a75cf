"""Keeps track of this project's batches at a provider: what each was asked, and what became of it.

The provider holds the state. A batch is ours by its metadata, so we also find a batch whose creator was killed before
the provider's answer arrived. A note of its keys, one file per batch, saves downloading its input file again.
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
from netllama.teacher.api_format import Dialect
from netllama.teacher.batch_api_client import BatchApi, BatchObject, NotFoundAtProvider
from netllama.teacher.batch_api_files import Results, Upload, hash_keys, read_limits, read_results
from netllama.teacher.error_bodies import redact_text
from netllama.teacher.store import Request

PROJECT = "netllama"
FINISHED = {"completed", "expired", "cancelled"}
"""Statuses of batches with results, perhaps partial ones. `failed` has none; every other status is still open."""


@dataclass
class ProviderBatch:
    """One of our batches at the provider."""

    latest: BatchObject
    """What the provider last said about it."""
    limits: dict[str, int]
    """max_tokens of each request in it, by key."""
    unanswered: set[str] = field(default_factory=set)
    """Keys to which it ended without an answer."""
    reserved: dict[str, Decimal] = field(default_factory=dict)
    watched: bool = False
    """This process has seen it open, so its errors are new."""

    @property
    def id(self) -> str:
        return str(self.latest["id"])

    @property
    def status(self) -> str:
        return str(self.latest.get("status"))

    @property
    def metadata(self) -> dict[str, Any]:
        return self.latest.get("metadata") or {}

    @property
    def completed(self) -> int:
        return int((self.latest.get("request_counts") or {}).get("completed") or 0)

    @property
    def failure(self) -> tuple[str, str]:
        """Code and message of a failed batch's first error."""
        errors = self.latest.get("errors") or []
        first: Any = next(iter((errors.get("data") or []) if isinstance(errors, dict) else errors), {})
        return (str(first.get("code")), str(first.get("message"))) if isinstance(first, dict) else ("", str(first))

    @property
    def model(self) -> str:
        return str(self.metadata.get("model"))

    @property
    def dialect(self) -> Dialect:
        """What its requests do without, because the model has refused it before."""
        return Dialect(frozenset(str(self.metadata.get("omitted") or "").split()))


class BatchLedger:
    """`batches` holds the known batches by id, `folder` their notes."""

    def __init__(self, api: BatchApi, folder: Path) -> None:
        self.batches: dict[str, ProviderBatch] = {}
        self._api = api
        self._folder = folder

    def lock_out_others(self) -> AbstractAsyncContextManager[None]:
        """Let no other process survey and create batches meanwhile: it would create the same ones."""
        return hold_lock_async(self._folder.with_name("batches.lock"), "creates batches")

    async def survey(self, models: set[str]) -> None:
        """Find all our batches for these models: by metadata, or by a note if the server keeps no metadata."""
        for listed in await self._api.list_batches():
            batch = self.batches.get(listed["id"]) or ProviderBatch(listed, {})
            batch.latest = listed
            ours = batch.metadata.get("project") == PROJECT and batch.model in models
            if batch.status != "failed" and (ours or self._note_path(batch).exists()):
                batch.limits = batch.limits or await self._find_limits(batch)
                self.batches[batch.id] = batch

    async def create(self, upload: Upload, dialect: Dialect) -> ProviderBatch:
        """Create a batch from `upload`, whose requests are written in `dialect`."""
        metadata = {"project": PROJECT, "keys": hash_keys(upload.requests), "model": upload.model}
        if dialect.omitted:
            metadata["omitted"] = " ".join(sorted(dialect.omitted))
        created = await self._api.create_batch(b"".join(upload.lines), upload.path, metadata)
        batch = ProviderBatch(created, {key: request.max_tokens for key, request in upload.requests.items()})
        self.batches[batch.id] = batch
        write_json(self._note_path(batch), batch.limits)
        return batch

    def forget(self, batch: ProviderBatch) -> None:
        """Drop a failed batch: it holds no answers."""
        del self.batches[batch.id]

    async def fetch_results(self, batch: ProviderBatch, wanted: dict[str, Request]) -> Results:
        """Read both files of a batch that has ended. A file that the provider has deleted counts as empty."""
        results, gone = Results(), False
        for file in filter(None, (batch.latest.get("output_file_id"), batch.latest.get("error_file_id"))):
            try:
                content = await self._api.download(file)
            except NotFoundAtProvider:
                print(
                    redact_text(f"batch {batch.id}: its file {file} is gone; its requests are asked again"), flush=True
                )
                gone = True
                continue
            results.merge(read_results(content, file, wanted, self._api.name))
        lost = batch.status == "completed" and len(results.outcomes) < len(wanted)
        if not gone and (lost or results.lines < batch.completed):
            results.unreadable = results.unreadable or f"the end of file {batch.latest.get('output_file_id')}"
        return results

    async def _find_limits(self, batch: ProviderBatch) -> dict[str, int]:
        """max_tokens by key, from our note; from the batch's input file if the note is lost or about another server."""
        note, keys = self._note_path(batch), batch.metadata.get("keys")
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
            limits: dict[str, int] = json.loads(note.read_bytes())
            if keys in (None, hash_keys(limits)):
                return limits
        for _ in range(2):
            with contextlib.suppress(ValueError):
                try:
                    limits = read_limits(await self._api.download(str(batch.latest.get("input_file_id"))))
                except NotFoundAtProvider:
                    if batch.status in FINISHED:  # files expire together, so its results are gone too
                        return {}
                    break
                if keys in (None, hash_keys(limits)):
                    write_json(note, limits)
                    return limits
        raise StageError(
            f"{self._api.name}: batch {batch.id}: cannot read its input file, so its requests are unknown; "
            "cancel the batch at the provider"
        )

    def _note_path(self, batch: ProviderBatch) -> Path:
        return self._folder / f"{batch.id}.json"
