"""Asking the teacher through a provider's Batch API: half the price, within a day, the same rows in the store.

`BatchTeacher` has the face of `client.Teacher`. What is not stored goes up as one JSONL (custom_id = the
request's key) and its results come down into the store. The provider is the memory of it: each batch carries
metadata by which it is found again, so that a process killed at any moment, even between creating a batch and
noting it, pays for nothing twice. Formats: https://platform.openai.com/docs/guides/batch
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from stages.core.errors import StageError
from stages.core.files import sha256_json, write_json
from stages.core.secrets import secret
from stages.teacher.budget import Budget, BudgetReached
from stages.teacher.connection import connect
from stages.teacher.faults import KEPT, LimitRenamed, Passing, Patience, Withheld, judge
from stages.teacher.store import Request, Response, ResponseStore
from stages.teacher.wire import CONTENT_CODES, PATHS, NotAnAnswer, body_of, response_of, withheld

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PROJECT = "netllama"
MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
"""Of one batch, at OpenAI."""
QUEUE_FULL = "token_limit_exceeded"
"""A batch that fails with it fits when others have ended: models have a limit of tokens in unfinished batches."""
FINISHED = {"completed", "expired", "cancelled"}
Outcome = Response | Passing | StageError


class Gone(StageError):
    """404."""


@dataclass
class Batch:
    """A batch of ours at the provider."""

    about: dict[str, Any]
    """The provider's last word on it."""
    limits: dict[str, int]
    """max_tokens of each request in it, by key."""
    unanswered: set[str] = field(default_factory=set)
    """Keys that it is known to have no answer for."""
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
    def completed(self) -> int:
        return int((self.about.get("request_counts") or {}).get("completed") or 0)


class BatchTeacher:
    """Use as `async with BatchTeacher(...) as teacher`; leaving it closes the client, open batches go on."""

    def __init__(
        self,
        base_url: str,
        store: ResponseStore,
        *,
        budget: Budget | None = None,
        max_retries: int = 6,
        request_timeout: float = 600.0,
        poll_seconds: float = 30.0,
    ) -> None:
        self.name = self.base_url = base_url
        self.store = store
        self.budget = budget or Budget()
        self.max_retries = max_retries
        self.request_timeout = request_timeout
        self.poll_seconds = poll_seconds
        self.asked = 0
        self.replayed = 0
        self.ready = 0
        """Answers that wait at the provider for the end of their batches."""
        self.on_answer: Callable[[], None] = lambda: None
        self._batches: dict[str, Batch] = {}
        self._renamed: set[str] = set()
        """Models whose answer's limit is named max_completion_tokens."""
        self._counted: set[str] = set()
        self._client: AsyncOpenAI | None = None
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "BatchTeacher":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._cleanup.aclose()

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        """The answers in the order of the requests. May take a day, and may be left at any moment.

        First what earlier batches hold is imported or waited for; a new batch is for what none of them holds.
        """
        for request in requests:
            if request.key not in self._counted:
                self._counted.add(request.key)
                self.budget.count(self.store.bought(request))
        self.replayed += sum(self._stored(request) is not None for request in requests)
        if missing := self._missing(requests):
            await self._survey({request.model for request in missing.values()})
        patience = Patience(self.max_retries)
        while missing:
            before, renamed = self.asked, len(self._renamed)
            line = await self._round(missing)
            missing = self._missing(requests)
            if self.asked > before or len(self._renamed) > renamed:
                patience = Patience(self.max_retries)
            elif missing and (seconds := patience.wait(Passing(line))) is None:
                raise StageError(f"{len(missing)} requests have no answer after {patience.failures} batches; {line}")
            elif missing:
                await asyncio.sleep(seconds)
        return [response for request in requests if (response := self._stored(request))]

    def _stored(self, request: Request) -> Response | None:
        """Also one that `find` takes for too long, if it was asked with this limit: asked again it is no shorter."""
        bought = (row for row in self.store.bought(request) if row.max_tokens == request.max_tokens)
        return self.store.find(request) or next(bought, None)

    def _missing(self, requests: Iterable[Request]) -> dict[str, Request]:
        """By key: a batch holds a key once, so of one key and two limits the second comes in a later round."""
        missing: dict[str, Request] = {}
        for request in requests:
            if not self._stored(request):
                missing.setdefault(request.key, request)
        return missing

    def _wanted(self, batch: Batch, missing: dict[str, Request]) -> dict[str, Request]:
        """The missing requests that `batch` may have an answer for, with the max_tokens that they have there."""
        held = (key for key in missing if key in batch.limits and key not in batch.unanswered)
        wanted = {key: missing[key].model_copy(update={"max_tokens": batch.limits[key]}) for key in held}
        bought = {key: {row.max_tokens for row in self.store.bought(request)} for key, request in wanted.items()}
        return {key: request for key, request in wanted.items() if request.max_tokens not in bought[key]}

    async def _round(self, missing: dict[str, Request]) -> str:
        """Import what has ended, create what no batch holds, wait for all. Returns why some have no answer."""
        line, waiting = "", []
        for batch in list(self._batches.values()):
            if batch.status in FINISHED and (wanted := self._wanted(batch, missing)):
                line = await self._import(batch, wanted) or line
        missing = self._missing(missing.values())
        held: set[str] = set()
        for batch in self._batches.values():
            if batch.status not in FINISHED and (wanted := self._wanted(batch, missing)):
                held |= wanted.keys()
                self._reserve(batch, wanted)
                waiting.append(batch)
        free = [request for key, request in missing.items() if key not in held]
        admitted = self._admitted(free)
        if free and not admitted and not waiting:
            raise BudgetReached
        for chunk in _chunks(admitted, self._renamed):
            waiting.append(await self._create(chunk))
        return await self._wait(waiting, missing) or line

    def _admitted(self, requests: list[Request]) -> list[Request]:
        """As many of them, in their order, as the budget surely pays for."""
        total = Decimal(0)
        for number, request in enumerate(requests):
            total += self._most(request)
            if not self.budget.fits(total):
                return requests[:number]
        return requests

    def _most(self, request: Request) -> Decimal:
        return self.budget.prices.at_most(request, batch=True) if self.budget.prices else Decimal(0)

    def _reserve(self, batch: Batch, requests: dict[str, Request]) -> None:
        for key in requests.keys() - batch.reserved.keys():
            batch.reserved[key] = self._most(requests[key])
            self.budget.reserved += batch.reserved[key]

    async def _create(self, chunk: dict[str, tuple[Request, bytes]]) -> Batch:
        """Upload and create. An upload that no batch refers to costs nothing; of creations there is one only."""
        requests = {key: request for key, (request, _) in chunk.items()}
        first = next(iter(requests.values()))
        client = await self._connect()
        content = b"".join(line for _, line in chunk.values())
        limit = "max_completion_tokens" if first.model in self._renamed and first.api == "chat" else "max_tokens"
        metadata = {"project": PROJECT, "keys": _digest(chunk), "model": first.model, "limit": limit}
        tried = False

        async def upload() -> str:
            file = await client.files.create(file=("requests.jsonl", content), purpose="batch")
            return str(_checked({"id": getattr(file, "id", None)})["id"])

        async def create() -> dict[str, Any]:
            nonlocal tried
            # A fault of the first try says nothing about whether the batch was made.
            made = [about for about in await self._listing() if about.get("input_file_id") == file] if tried else []
            tried = True
            endpoint = f"/v1{PATHS[first.api]}"
            body = {"input_file_id": file, "endpoint": endpoint, "completion_window": "24h", "metadata": metadata}
            return made[0] if made else _checked(await client.post("/batches", cast_to=object, body=body))

        file = await self._call(upload, first.model, limited=False)
        about = await self._call(create, first.model)
        batch = Batch(about, {key: request.max_tokens for key, request in requests.items()})
        self._batches[batch.id] = batch
        self._reserve(batch, requests)
        self._note(batch.about, batch.limits)
        return batch
