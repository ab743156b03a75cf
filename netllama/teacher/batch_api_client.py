"""A provider's Batch API over HTTP: list, look up and create batches, download files. Calls are retried like live ones.

A batch is created from an uploaded JSONL file and ends as `completed`, `expired`, `cancelled` or `failed`, with one
file of results and one of errors (https://platform.openai.com/docs/guides/batch). This client reads the provider's
JSON directly, because the SDK's models guess at missing fields.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Required, TypedDict, TypeVar, cast

from netllama.core.errors import StageError
from netllama.teacher.api_answer import NotAnAnswer
from netllama.teacher.connection import LONGEST_FILE, connect
from netllama.teacher.error_verdicts import STORED, PromptWithheld, classify_error
from netllama.teacher.model_lookup import describe_model
from netllama.teacher.retries import Backoff, Retryable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
PAGE = 100
"""Batches per page of a listing: OpenAI's maximum."""
LISTED_AFTER = 5.0
"""Seconds until a batch whose creation was not acknowledged must appear in the listing."""


class BatchObject(TypedDict, total=False):
    """A batch as the provider describes it: https://platform.openai.com/docs/api-reference/batch/object"""

    id: Required[str]
    status: str
    metadata: dict[str, str] | None
    input_file_id: str
    output_file_id: str | None
    error_file_id: str | None
    request_counts: dict[str, int] | None
    errors: Any
    """Its form differs between providers."""


class NotFoundAtProvider(StageError):
    """The provider answered 404."""


class BatchApi:
    """Use as `async with BatchApi(...) as api`. The API key is needed for the first call, not before."""

    def __init__(self, base_url: str, max_retries: int, request_timeout: float) -> None:
        self.name = self.base_url = base_url
        self.max_retries = max_retries
        self.request_timeout = request_timeout
        self._client: AsyncOpenAI | None = None
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "BatchApi":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._cleanup.aclose()
        self._client = None

    async def describe_model(self, model: str) -> str:
        """A line for the user about a model that is unknown or will shut down; else an empty string."""
        return await describe_model(await self._connect(), self.name, model)

    async def list_batches(self) -> list[BatchObject]:
        """All batches of the account, including those of other people and projects."""
        return await self._call(self._read_listing)

    async def get_batch(self, batch_id: str, pause: float) -> BatchObject:
        """One batch as it is now. `pause`: the least number of seconds between two attempts."""

        async def get(client: "AsyncOpenAI") -> BatchObject:
            return _require_id(await client.get(f"/batches/{batch_id}", cast_to=object))

        try:
            return await self._call(get, pause=pause)
        except NotFoundAtProvider:
            raise StageError(
                f"{self.name}: batch {batch_id} no longer exists there (404); run again to create a new one"
            ) from None

    async def create_batch(self, content: bytes, path: str, metadata: dict[str, str]) -> BatchObject:
        """Upload `content` and create a batch from it, only once even if the provider's answers are lost.

        An upload that no batch refers to costs nothing, so uploads are simply repeated.
        """
        tried = False

        async def upload(client: "AsyncOpenAI") -> str:
            file = await client.files.create(file=("requests.jsonl", content), purpose="batch")
            return str(_require_id({"id": getattr(file, "id", None)})["id"])

        async def create(client: "AsyncOpenAI") -> BatchObject:
            nonlocal tried
            if tried:  # an earlier attempt failed, but perhaps only after the batch was created
                for batch in await self._read_listing(client):
                    if batch.get("input_file_id") == file:
                        return batch
            tried = True
            body = {"input_file_id": file, "endpoint": f"/v1{path}", "completion_window": "24h", "metadata": metadata}
            return _require_id(await client.post("/batches", cast_to=object, body=body))

        file = await self._call(upload, limit_total=False)
        return await self._call(create, pause=LISTED_AFTER)

    async def download(self, file: str) -> bytes:
        """The content of a file; raises `NotFoundAtProvider` if the provider has deleted it."""

        async def fetch(client: "AsyncOpenAI") -> bytes:
            return (await client.files.content(file)).content

        return await self._call(fetch, limit_total=False)

    async def _read_listing(self, client: "AsyncOpenAI") -> list[BatchObject]:
        found: dict[str, BatchObject] = {}
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            page: Any = await client.get("/batches", cast_to=object, options={"params": query})
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise NotAnAnswer
            new = {batch["id"]: batch for batch in map(_require_id, page["data"]) if batch["id"] not in found}
            found |= new
            if not page.get("has_more") or not new:
                return list(found.values())
            query["after"] = page["data"][-1]["id"]

    async def _call(
        self, send: Callable[["AsyncOpenAI"], Awaitable[T]], limit_total: bool = True, pause: float = 0.0
    ) -> T:
        """Repeat `send` until it succeeds, with at most `max_retries` retries. Raises errors that retrying cannot fix.

        `limit_total`: request_timeout limits the whole call. Without it, it limits silence: a file may take longer as
        long as its bytes keep coming.
        """
        import openai

        backoff = Backoff(self.max_retries)
        while True:
            client = await self._connect()
            try:
                async with asyncio.timeout(self.request_timeout if limit_total else None):
                    return await send(client)
            except openai.NotFoundError:
                raise NotFoundAtProvider(f"{self.name}: has no Batch API (404); use teacher.mode: live") from None
            except Exception as error:
                verdict = classify_error(error, self.name, "the Batch API")
            if isinstance(verdict, StageError):
                raise verdict
            if not isinstance(verdict, Retryable):
                hint = "use teacher.mode: live" if isinstance(verdict, PromptWithheld) else STORED
                raise StageError(f"{verdict.refusal} to a call of its Batch API; {hint}")
            if (seconds := backoff.next_wait(verdict)) is None:
                raise StageError(verdict.message)
            await asyncio.sleep(max(seconds, pause))

    async def _connect(self) -> "AsyncOpenAI":
        if self._client is None:
            self._client = await self._cleanup.enter_async_context(
                connect(self.base_url, self.request_timeout, LONGEST_FILE)
            )
        return self._client


def _require_id(answer: Any) -> BatchObject:
    """The provider's answer; raises `NotAnAnswer` unless it has an id that is safe in a URL and in a file name."""
    if not isinstance(answer, dict) or not re.fullmatch(r"[\w.-]+", str(answer.get("id") or "")):
        raise NotAnAnswer
    return cast(BatchObject, answer)
