"""A provider's Batch API over HTTP: list, create, look at and download, each call retried like a live one.

Facts (https://platform.openai.com/docs/guides/batch): a batch is created from an uploaded JSONL file and ends
`completed`, `expired`, `cancelled` or `failed`, with one file of results and one of errors. The provider's JSON
is used as it came, past the SDK's models, which guess at what is missing.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from netllama.core.errors import StageError
from netllama.teacher.api_format import NotAnAnswer
from netllama.teacher.connection import connect
from netllama.teacher.retries import Passing, Patience, judge

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
PAGE = 100
"""Batches of one listing: the most that OpenAI gives."""
LISTED_AFTER = 5.0
"""Seconds until a batch whose creation was not acknowledged is surely listed."""
About = dict[str, Any]
"""A batch as the provider describes it."""


class Gone(StageError):
    """404."""


class BatchApi:
    """Use as `async with BatchApi(...) as api`. The key is needed from the first call on."""

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

    async def batches(self) -> list[About]:
        """All batches of the account, other people's included."""
        return await self._call(self._listing)

    async def batch(self, batch: str, pause: float) -> About:
        """One batch as it is now. `pause`: the fewest seconds between attempts, so that a long poll is patient."""

        async def look(client: "AsyncOpenAI") -> About:
            return _checked(await client.get(f"/batches/{batch}", cast_to=object))

        try:
            return await self._call(look, pause=pause)
        except Gone:
            raise StageError(f"{self.name}: batch {batch} is gone (404)") from None

    async def create(self, content: bytes, path: str, metadata: dict[str, str]) -> About:
        """Upload and create. An upload that no batch refers to costs nothing; of batches there is never a second."""
        tried = False

        async def upload(client: "AsyncOpenAI") -> str:
            file = await client.files.create(file=("requests.jsonl", content), purpose="batch")
            return str(_checked({"id": getattr(file, "id", None)})["id"])

        async def create(client: "AsyncOpenAI") -> About:
            nonlocal tried
            # A fault of the first attempt does not say whether the batch was made.
            made = (
                [about for about in await self._listing(client) if about.get("input_file_id") == file] if tried else []
            )
            tried = True
            body = {"input_file_id": file, "endpoint": f"/v1{path}", "completion_window": "24h", "metadata": metadata}
            return made[0] if made else _checked(await client.post("/batches", cast_to=object, body=body))

        file = await self._call(upload, in_all=False)
        return await self._call(create, pause=LISTED_AFTER)

    async def download(self, file: str) -> bytes:
        """A file's content; `Gone` when the provider has it no more."""

        async def fetch(client: "AsyncOpenAI") -> bytes:
            return (await client.files.content(file)).content

        return await self._call(fetch, in_all=False)

    async def _listing(self, client: "AsyncOpenAI") -> list[About]:
        found: dict[str, About] = {}
        query: dict[str, Any] = {"limit": PAGE}
        while True:
            page: Any = await client.get("/batches", cast_to=object, options={"params": query})
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise NotAnAnswer
            new = {about["id"]: about for about in map(_checked, page["data"]) if about["id"] not in found}
            found |= new
            if not page.get("has_more") or not new:
                return list(found.values())
            query["after"] = page["data"][-1]["id"]

    async def _call(self, send: Callable[["AsyncOpenAI"], Awaitable[T]], in_all: bool = True, pause: float = 0.0) -> T:
        """`send` until it goes well; at most `max_retries` faults in a row. What no retry mends is raised.

        `in_all`: request_timeout is for the whole call. A file may take longer, as long as its bytes keep coming.
        """
        import openai

        patience = Patience(self.max_retries)
        while True:
            client = await self._connect()
            try:
                async with asyncio.timeout(self.request_timeout if in_all else None):
                    return await send(client)
            except openai.NotFoundError:
                raise Gone(f"{self.name}: no Batch API there (404); use teacher.mode: live") from None
            except Exception as error:
                verdict = judge(error, self.name, "the Batch API")
            if isinstance(verdict, StageError):
                raise verdict
            if not isinstance(verdict, Passing):  # about one prompt, in the place of an answer about a batch
                raise StageError(f"{self.name}: refused a call of its Batch API")
            if (seconds := patience.wait(verdict)) is None:
                raise StageError(verdict.line)
            await asyncio.sleep(max(seconds, pause))

    async def _connect(self) -> "AsyncOpenAI":
        if self._client is None:
            self._client = await self._cleanup.enter_async_context(connect(self.base_url, self.request_timeout))
        return self._client


def _checked(about: Any) -> About:
    """With an id that can stand in an address and in a file's name."""
    if not isinstance(about, dict) or not re.fullmatch(r"[\w.-]+", str(about.get("id") or "")):
        raise NotAnAnswer
    return about
