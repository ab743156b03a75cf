"""Asks the teacher through a provider's Batch API: half the price, answers within a day, the same rows in the store.

`BatchTeacher` has the same interface as `client.Teacher`. It uploads requests that have no stored answer as one JSONL
file, and stores the results that it downloads. The provider keeps the state: each batch carries metadata by which later
runs find it. So even a process that is killed between creating a batch and writing it down pays for nothing twice.
batch_api_files.py writes and reads the files, batch_api_ledger.py keeps track of the batches.
"""

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal

from netllama.core.errors import StageError
from netllama.teacher.api_answer import make_withheld_answer
from netllama.teacher.api_format import PLAIN, Dialect
from netllama.teacher.batch_api_client import BatchApi
from netllama.teacher.batch_api_files import split_into_uploads
from netllama.teacher.batch_api_ledger import FINISHED, BatchLedger, ProviderBatch
from netllama.teacher.budget import Budget, BudgetReached
from netllama.teacher.error_bodies import redact_text
from netllama.teacher.error_verdicts import RESUME, STORED, ParameterRefused, PromptWithheld
from netllama.teacher.retries import Backoff, Retryable
from netllama.teacher.store import Request, Response, ResponseStore

QUEUE_FULL = "token_limit_exceeded"
"""The error of a batch that exceeds the provider's limit on tokens in unfinished batches. It fits once others end."""


class BatchTeacher:
    """Use as `async with BatchTeacher(...) as teacher`; leaving it closes the client, while open batches continue."""

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
        self._ledger = BatchLedger(self._api, store.live.parent / "batches")
        self._dialects: dict[str, Dialect] = {}
        """What models have refused, by model."""
        self._counted: set[str] = set()

    async def __aenter__(self) -> "BatchTeacher":
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.budget.close()
        await self._api.__aexit__(*exc)

    @property
    def ready(self) -> int:
        """Answers that are ready at the provider but can be downloaded only when their batch ends."""
        batches = self._ledger.batches.values()
        return sum(batch.completed for batch in batches if batch.watched and batch.status not in FINISHED)

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        """The answers in the order of the requests. This may take a day, and the process may be stopped at any time.

        Imports or waits for the requests that earlier batches hold, and creates new batches for all others.
        """
        for request in requests:
            if request.key not in self._counted:
                self._counted.add(request.key)
                self.budget.count_bought(self.store.list_bought(request))
        self.replayed += sum(self.store.find(request) is not None for request in requests)
        missing = self._find_missing(requests)
        backoff = Backoff(self.max_retries)
        for model in sorted({request.model for request in missing.values()} - self._dialects.keys()):
            self._dialects[model] = PLAIN
            if line := await self._api.describe_model(model):
                print(line, flush=True)
        while missing:
            before = self.asked, dict(self._dialects)
            async with self._ledger.lock_out_others():
                await self._ledger.survey({request.model for request in missing.values()})
                reason, waiting = await self._start_batches(missing)
            reason = await self._wait_for(waiting, missing) or reason
            missing = self._find_missing(requests)
            if (self.asked, self._dialects) != before:
                backoff = Backoff(self.max_retries)
            elif missing:
                if (seconds := backoff.next_wait(Retryable(reason))) is None:
                    raise StageError(
                        f"{len(missing)} requests have no answer after {backoff.failures} attempts; {reason}"
                    )
                await asyncio.sleep(seconds)
        return [response for request in requests if (response := self.store.find(request))]

    def _find_missing(self, requests: Iterable[Request]) -> dict[str, Request]:
        """Requests without a stored answer, by key. If a key comes with two limits, one waits for a later round."""
        missing: dict[str, Request] = {}
        for request in requests:
            if not self.store.find(request):
                missing.setdefault(request.key, request)
        return missing

    def _select_wanted(self, batch: ProviderBatch, missing: dict[str, Request]) -> dict[str, Request]:
        """The missing requests that `batch` has answered or will answer, with the max_tokens that they have in it."""
        wanted = {}
        for key, request in missing.items():
            limit = batch.limits.get(key)
            if (
                limit is None
                or key in batch.unanswered
                or limit in {r.max_tokens for r in self.store.list_bought(request)}
            ):
                continue
            wanted[key] = request.model_copy(update={"max_tokens": limit})
        return wanted

    async def _start_batches(self, missing: dict[str, Request]) -> tuple[str, list[ProviderBatch]]:
        """Import ended batches and create new ones. Returns why some requests have no answer, and what to wait for."""
        reason, waiting = "", list[ProviderBatch]()
        for batch in self._ledger.batches.values():
            for name in batch.dialect.omitted:
                self._dialects[batch.model] = self._dialects.get(batch.model, PLAIN).refuse(name)
        held: set[str] = set()
        for batch in list(self._ledger.batches.values()):
            if batch.status in FINISHED and (wanted := self._select_wanted(batch, missing)):
                reason = await self._import_results(batch, wanted) or reason
        missing = self._find_missing(missing.values())
        for batch in self._ledger.batches.values():
            if batch.status not in FINISHED and (wanted := self._select_wanted(batch, missing)):
                self._reserve(batch, wanted)
                waiting.append(batch)
                held |= wanted.keys()
        free = [request for key, request in missing.items() if key not in held]
        admitted = self._admit(free)
        if free and not admitted and not waiting:
            raise BudgetReached
        for upload in split_into_uploads(admitted, self._dialects):
            batch = await self._ledger.create(upload, self._dialects.get(upload.model, PLAIN))
            self._reserve(batch, upload.requests)
            waiting.append(batch)
        return reason, waiting

    def _admit(self, requests: list[Request]) -> list[Request]:
        """As many of the requests, in their order, as the budget can pay for whatever they cost."""
        return requests[: self.budget.admit([self._bound_price(request) for request in requests])]

    def _bound_price(self, request: Request) -> Decimal:
        return self.budget.prices.bound_price(request, batch=True) if self.budget.prices else Decimal(0)

    def _reserve(self, batch: ProviderBatch, requests: dict[str, Request]) -> None:
        added = {key: self._bound_price(requests[key]) for key in requests.keys() - batch.reserved.keys()}
        batch.reserved |= added
        self.budget.reserve_batch(batch.id, sum(added.values(), Decimal(0)))

    async def _wait_for(self, waiting: list[ProviderBatch], missing: dict[str, Request]) -> str:
        """Poll until all batches have ended, and import each of them then. Returns why some requests have no answer."""
        reason, before = "", self.asked
        for batch in waiting:
            if not batch.watched:
                hint = "you can stop now, the next run collects the answers"
                print(f"batch {batch.id}: {len(batch.limits)} requests; {hint}", flush=True)
            batch.watched = True
        while waiting:
            await asyncio.sleep(self.poll_seconds)
            for batch in list(waiting):
                ready = self.ready
                batch.latest = await self._api.get_batch(batch.id, self.poll_seconds)
                if batch.status == "failed":
                    waiting.remove(batch)
                    reason = await self._handle_failure(batch, others=bool(waiting) or self.asked > before)
                elif batch.status in FINISHED:
                    waiting.remove(batch)
                    reason = await self._import_results(batch, self._select_wanted(batch, missing)) or reason
                elif self.ready > ready:
                    self.on_answer()
        return reason

    async def _handle_failure(self, batch: ProviderBatch, others: bool) -> str:
        """The provider ran none of its requests: raises `StageError`, unless it will fit once `others` have ended."""
        code, message = batch.failure
        reason = redact_text(f"{self.name}: batch {batch.id} failed ({code}: {message}); {RESUME}")
        self._ledger.forget(batch)
        await self.budget.settle(sum(batch.reserved.values(), Decimal(0)), Decimal(0), batch.id)
        if code == QUEUE_FULL and others:
            return reason
        raise StageError(reason)

    async def _import_results(self, batch: ProviderBatch, wanted: dict[str, Request]) -> str:
        """Store the answers to `wanted` in one write, then raise errors. Returns why some requests have no answer.

        Raises errors only for a batch that this process has seen open. The cause of an older error may be fixed by now:
        its requests are asked again, which costs nothing if it is not.
        """
        results = await self._ledger.fetch_results(batch, wanted)
        if results.unreadable:
            results = await self._ledger.fetch_results(batch, wanted)  # in case the download was cut off
        outcomes = [results.outcomes.get(key) for key in wanted]
        if any(isinstance(outcome, Response) for outcome in outcomes):
            # Others of the batch were answered, so the provider refused these prompts for what they say.
            outcomes = [
                make_withheld_answer(request, batch=True) if isinstance(outcome, PromptWithheld) else outcome
                for request, outcome in zip(wanted.values(), outcomes, strict=True)
            ]
        answers = [outcome for outcome in outcomes if isinstance(outcome, Response)]
        costs = [self.budget.price_answer(row) for row in answers]
        if answers:
            self.budget.note_payments(zip(answers, costs, strict=True))
            self.store.add(*answers)
        await self.budget.settle(sum(batch.reserved.values(), Decimal(0)), sum(costs, Decimal(0)), batch.id)
        batch.reserved.clear()
        self.asked += len(answers)
        self.on_answer()
        if results.unreadable:
            hint = "it is paid for, so it is not asked again: run again later, or delete the file there to ask anew"
            raise StageError(redact_text(f"{self.name}: batch {batch.id}: cannot read {results.unreadable}; {hint}"))
        batch.unanswered |= wanted.keys() - {row.key for row in answers}
        reason = ""
        for request, outcome in zip(wanted.values(), outcomes, strict=True):
            dialect = self._dialects.get(request.model, PLAIN)
            if isinstance(outcome, ParameterRefused) and batch.dialect.can_omit(outcome.name, request.api):
                self._dialects[request.model] = dialect.refuse(outcome.name)
            elif isinstance(outcome, ParameterRefused | PromptWithheld | StageError) and batch.watched:
                raise outcome if isinstance(outcome, StageError) else StageError(f"{outcome.refusal}; {STORED}")
            reason = outcome.message if isinstance(outcome, Retryable) else reason
        return reason or f"{self.name}: batch {batch.id} {batch.status} without answering every request; {RESUME}"
