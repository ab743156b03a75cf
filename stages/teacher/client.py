"""Asking the teacher: any OpenAI-compatible server, or the embedded one, behind the response store.

`Teacher.ask` returns what is stored and asks only for what is not; an answer is stored before it is
used. The server (and the need for a key) begins with the first question that was not stored.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stages.core.errors import StageError
from stages.core.files import scratch
from stages.core.secrets import secret
from stages.teacher.embedded import serve, serving_folder
from stages.teacher.store import Request, Response, ResponseStore
from stages.weights import bundled
from stages.weights.reference import cache_folder

if TYPE_CHECKING:
    from openai import AsyncOpenAI

EMBEDDED = "embedded"
NO_OPENAI_API = "{}: not an answer of the OpenAI API; does generate.base_url end in /v1?"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Teacher:
    """Use as `async with Teacher(...) as teacher`; leaving it stops the embedded server."""

    def __init__(self, base_url: str, store: ResponseStore, max_concurrency: int) -> None:
        self.base_url = base_url
        self.name = base_url or EMBEDDED
        self.store = store
        self.asked = 0
        self.replayed = 0
        self.on_answer: Callable[[], None] = lambda: None
        self._failure: Exception | None = None
        self._slots = asyncio.Semaphore(max_concurrency)
        self._starting = asyncio.Lock()
        self._client: AsyncOpenAI | None = None
        self._served_model: str | None = None
        self._cleanup = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "Teacher":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._cleanup.aclose()

    async def ask(self, request: Request) -> Response:
        stored = self.store.find(request)
        if stored:
            self.replayed += 1
            return stored
        async with self._slots:
            try:
                response = await self._send(await self._connect(), request)
                self.store.add(response)
            except Exception as error:
                self._failure = self._failure or error
                raise
        self.asked += 1
        self.on_answer()
        return response

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        """The answers in the order of the requests. After a failure nothing more is sent; what is under way is
        paid for, so it is awaited and stored before the failure is raised."""
        tasks = [asyncio.create_task(self.ask(request)) for request in requests]
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure:
            raise self._failure
        return [task.result() for task in tasks]

    async def _connect(self) -> "AsyncOpenAI":
        async with self._starting:
            if self._failure:
                raise self._failure
            if self._client is None:
                from openai import AsyncOpenAI, DefaultAsyncHttpxClient

                base_url, key = (self.base_url, api_key(self.base_url)) if self.base_url else (self._start(), EMBEDDED)
                # The SDK retries 408, 409, 429, 5xx and lost connections, with backoff and Retry-After.
                self._client = AsyncOpenAI(
                    base_url=base_url,
                    api_key=key,
                    max_retries=6,
                    timeout=600,
                    http_client=DefaultAsyncHttpxClient(
                        trust_env=not _on_loopback(base_url),  # a proxy of the environment can't reach our loopback
                        event_hooks={"response": [_used_up_quota_is_final]},
                    ),
                )
                self._cleanup.push_async_callback(self._client.close)
            return self._client

    def _start(self) -> str:
        folder = serving_folder(bundled.ensure(cache_folder()), scratch("teacher") / "model")
        self._served_model = str(folder)
        return self._cleanup.enter_context(serve(folder, scratch("teacher") / "server.log"))

    async def _send(self, client: "AsyncOpenAI", request: Request) -> Response:
        arguments: dict[str, Any] = {
            "model": self._served_model or request.model,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_tokens": request.max_tokens,
        }
        with _clear_errors(self.name, request.model):
            if request.api == "chat":
                answer: Any = await client.chat.completions.create(messages=request.messages or [], **arguments)  # type: ignore[arg-type]
            else:
                answer = await client.completions.create(prompt=request.prompt, **arguments)
        if not getattr(answer, "choices", None):
            raise StageError(NO_OPENAI_API.format(self.name))
        choice, usage = answer.choices[0], answer.usage
        text = (choice.message.content if request.api == "chat" else choice.text) or ""
        return Response(
            key=request.key,
            draw=request.draw,
            text=text.encode("utf-8", "replace").decode(),  # half an emoji (a lone surrogate) can't be stored
            finish_reason=choice.finish_reason or "stop",
            max_tokens=request.max_tokens,
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
        )


def api_key(base_url: str) -> str:
    """OPENAI_API_KEY; a server on this machine needs none."""
    key = secret("OPENAI_API_KEY")
    if key:
        return key
    if _on_loopback(base_url):
        return "none"
    raise StageError(
        f"generate.base_url {base_url}: no API key; set OPENAI_API_KEY in the environment or in .env, "
        "or leave base_url empty for the embedded teacher"
    )


def _on_loopback(base_url: str) -> bool:
    return urlsplit(base_url).hostname in LOOPBACK


async def _used_up_quota_is_final(response: Any) -> None:
    """Keep the SDK from retrying a 429 that no waiting mends; `x-should-retry` is its own header for that."""
    if response.status_code == 429 and b"insufficient_quota" in await response.aread():
        response.headers["x-should-retry"] = "false"


@contextlib.contextmanager
def _clear_errors(teacher: str, model: str) -> Iterator[None]:
    """The server's refusal as one line, decided by type and code. Never the request: it carries the key."""
    import openai

    try:
        yield
    except json.JSONDecodeError:
        raise StageError(NO_OPENAI_API.format(teacher)) from None
    except openai.AuthenticationError:
        raise StageError(f"{teacher}: the key in OPENAI_API_KEY was refused (401)") from None
    except openai.PermissionDeniedError:
        raise StageError(f"{teacher}: this key may not use {model} (403)") from None
    except openai.NotFoundError:
        raise StageError(f"{teacher}: no model {model} there (404); check generate.model_name and base_url") from None
    except openai.RateLimitError as error:
        hint = "the quota is used up" if error.code == "insufficient_quota" else "still rate-limited after retries"
        raise StageError(f"{teacher}: {hint} (429); what was answered is stored, run again to go on") from None
    except openai.APIStatusError as error:
        raise StageError(
            f"{teacher}: answered {error.status_code}{_reason(error)}; what was answered is stored"
        ) from None
    except openai.APIConnectionError:
        raise StageError(f"{teacher}: can't be reached; what was answered is stored, run again to go on") from None


def _reason(error: Any) -> str:
    """What the server says is wrong with the request, such as a max_tokens that the model can't take."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    text = " ".join(str(message or "").split())[:200].replace(secret("OPENAI_API_KEY") or "\0", "[key]")
    return f" ({text})" if text else ""
