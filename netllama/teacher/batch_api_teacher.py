"""Asking the teacher through a provider's Batch API: half the price, within a day, the same rows in the store.

`BatchTeacher` has the face of `client.Teacher`. What is not stored goes up as one JSONL file, and its results
come down into the store. The provider is the memory of it: each batch carries metadata by which it is found
again, so a process that is killed at any moment, even between creating a batch and noting it, pays for nothing
twice. What a batch is asked and how its lines are read: batch_api_files.py; what is there: batch_api_ledger.py.
"""

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal

from netllama.core.errors import StageError
from netllama.teacher.batch_api_client import BatchApi
from netllama.teacher.batch_api_files import limit_name, uploads
from netllama.teacher.batch_api_ledger import FINISHED, Batch, Ledger
from netllama.teacher.budget import Budget, BudgetReached
from netllama.teacher.retries import KEPT, LimitRenamed, Passing, Patience, shown
from netllama.teacher.store import Request, Response, ResponseStore

QUEUE_FULL = "token_limit_exceeded"
"""Why a batch fails that fits when others have ended: a model has a limit of tokens in unfinished batches."""


class BatchTeacher:
    """Use as `async with BatchTeacher(...) as teacher`; leaving it closes the client, and open batches go on."""

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
        self.name = base_url
        self.store = store
        self.budget = budget or Budget()
        self.max_retries = max_retries
        self.poll_seconds = poll_seconds
        self.asked = 0
        self.replayed = 0
        self.on_answer: Callable[[], None] = lambda: None
        self._api = BatchApi(base_url, max_retries, request_timeout)
        self._ledger = Ledger(self._api, store.live.parent / "batches")
        self._renamed: set[str] = set()
        """Models that want `NEW_LIMIT`."""
        self._counted: set[str] = set()

    async def __aenter__(self) -> "BatchTeacher":
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._api.__aexit__(*exc)

    @property
    def ready(self) -> int:
        """Answers that lie at the provider until their batch ends."""
        batches = self._ledger.batches.values()
        return sum(batch.completed for batch in batches if batch.watched and batch.status not in FINISHED)

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        """The answers in the order of the requests. It may take a day and may be left at any moment.

        What earlier batches hold is imported or waited for; a new batch is for what none of them holds.
        """
        for request in requests:
            if request.key not in self._counted:
                self._counted.add(request.key)
                self.budget.count(self.store.bought(request))
        self.replayed += sum(self.store.find(request) is not None for request in requests)
        missing = self._missing(requests)
        patience = Patience(self.max_retries)
        while missing:
            before = self.asked, len(self._renamed)
            async with self._ledger.alone():
                await self._ledger.survey({request.model for request in missing.values()})
                line, waiting = await self._start(missing)
            line = await self._wait(waiting, missing) or line
            missing = self._missing(requests)
            if (self.asked, len(self._renamed)) != before:
                patience = Patience(self.max_retries)
            elif missing:
                if (seconds := patience.wait(Passing(line))) is None:
                    raise StageError(
                        f"{len(missing)} requests: no answer, {patience.failures} batches in a row; {line}"
                    )
                await asyncio.sleep(seconds)
        return [response for request in requests if (response := self.store.find(request))]

    def _missing(self, requests: Iterable[Request]) -> dict[str, Request]:
        """By key: a batch holds a key once, so of a key with two limits the second comes in a later round."""
        missing: dict[str, Request] = {}
        for request in requests:
            if not self.store.find(request):
                missing.setdefault(request.key, request)
        return missing

    def _wanted(self, batch: Batch, missing: dict[str, Request]) -> dict[str, Request]:
        """The missing requests whose answer `batch` has or will have, with the max_tokens that they have in it."""
        wanted = {}
        for key, request in missing.items():
            limit = batch.limits.get(key)
            if limit is None or key in batch.unanswered or limit in {r.max_tokens for r in self.store.bought(request)}:
                continue
            wanted[key] = request.model_copy(update={"max_tokens": limit})
        return wanted

    async def _start(self, missing: dict[str, Request]) -> tuple[str, list[Batch]]:
        """Import what has ended, create what no batch holds. Returns why some have no answer, and what to wait for."""
        line, waiting = "", list[Batch]()
        self._renamed |= {batch.model for batch in self._ledger.batches.values() if batch.new_limit}
        held: set[str] = set()
        for batch in list(self._ledger.batches.values()):
            if batch.status in FINISHED and (wanted := self._wanted(batch, missing)):
                line = await self._import(batch, wanted) or line
        missing = self._missing(missing.values())
        for batch in self._ledger.batches.values():
            if batch.status not in FINISHED and (wanted := self._wanted(batch, missing)):
                self._reserve(batch, wanted)
                waiting.append(batch)
                held |= wanted.keys()
        free = [request for key, request in missing.items() if key not in held]
        admitted = self._admitted(free)
        if free and not admitted and not waiting:
            raise BudgetReached
        for upload in uploads(admitted, self._renamed):
            batch = await self._ledger.create(upload, limit_name(upload.api, upload.model, self._renamed))
            self._reserve(batch, upload.requests)
            waiting.append(batch)
        return line, waiting

    def _admitted(self, requests: list[Request]) -> list[Request]:
        """As many of them, in their order, as the budget pays for whatever they cost."""
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

    async def _wait(self, waiting: list[Batch], missing: dict[str, Request]) -> str:
        """Poll until all have ended, and import each when it has. Returns why some requests have no answer."""
        line, before = "", self.asked
        for batch in waiting:
            if not batch.watched:
                leave = "leave any time, the next run comes back to it"
                print(f"batch {batch.id}: {len(batch.limits)} requests; {leave}", flush=True)
            batch.watched = True
        while waiting:
            await asyncio.sleep(self.poll_seconds)
            for batch in list(waiting):
                ready = self.ready
                batch.about = await self._api.batch(batch.id, self.poll_seconds)
                if batch.status == "failed":
                    waiting.remove(batch)
                    line = await self._failed(batch, others=bool(waiting) or self.asked > before)
                elif batch.status in FINISHED:
                    waiting.remove(batch)
                    line = await self._import(batch, self._wanted(batch, missing)) or line
                elif self.ready > ready:
                    self.on_answer()
        return line

    async def _failed(self, batch: Batch, others: bool) -> str:
        """The provider took nothing of it: `StageError`, unless it will fit when `others` of ours have ended."""
        code, message = batch.failure
        line = shown(f"{self.name}: batch {batch.id} failed ({code}: {message}); {KEPT}")
        self._ledger.forget(batch)
        await self.budget.settle(sum(batch.reserved.values(), Decimal(0)), Decimal(0))
        if code == QUEUE_FULL and others:
            return line
        raise StageError(line)

    async def _import(self, batch: Batch, wanted: dict[str, Request]) -> str:
        """Store the answers to `wanted`, in one write, before anything is raised. Returns why some have none.

        Errors are raised for a batch that this process saw open only: the cause of an older one may be mended by
        now. Its requests are asked again, which costs nothing if it is not.
        """
        results = await self._ledger.results(batch, wanted)
        if results.unreadable:
            results = await self._ledger.results(batch, wanted)  # what was cut on the way is whole now
        outcomes = [results.outcomes.get(key) for key in wanted]
        answers = [outcome for outcome in outcomes if isinstance(outcome, Response)]
        costs = [self.budget.cost(row, batch.reserved.get(row.key, self._most(wanted[row.key]))) for row in answers]
        if answers:
            self.store.add(*answers)
        await self.budget.settle(sum(batch.reserved.values(), Decimal(0)), sum(costs, Decimal(0)))
        batch.reserved.clear()
        self.asked += len(answers)
        self.on_answer()
        if results.unreadable:
            mend = "paid for, so not asked again; run again later, or delete that file at the provider to have it asked"
            raise StageError(shown(f"{self.name}: batch {batch.id}: {results.unreadable} can't be read; {mend}"))
        batch.unanswered |= wanted.keys() - {row.key for row in answers}
        line = ""
        for request, outcome in zip(wanted.values(), outcomes, strict=True):
            if isinstance(outcome, LimitRenamed) and not batch.new_limit:
                self._renamed.add(request.model)
            elif isinstance(outcome, LimitRenamed | StageError) and batch.watched:
                raise outcome if isinstance(outcome, StageError) else StageError(outcome.line)
            line = outcome.line if isinstance(outcome, Passing) else line
        return line or f"{self.name}: batch {batch.id} {batch.status} without an answer to some; {KEPT}"
