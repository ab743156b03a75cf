"""What the tests of the teacher's client share: requests of numbered slots, and a Teacher that asks them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netllama.teacher.client import Teacher
from netllama.teacher.store import Request, Response, ResponseStore
from tests.support.openai_server import Answer, Asked, Reply

LIVE = Path("responses.jsonl")
"""The store's file, in the current folder."""


def request(teacher: str, slot: int = 0, api: str = "completions", max_tokens: int = 64, **more: Any) -> Request:
    prompt = f"task {slot}"
    return Request(
        teacher=teacher,
        model="small",
        api=api,
        prompt=prompt if api == "completions" else None,
        messages=[{"role": "user", "content": prompt}] if api == "chat" else None,
        temperature=0.7,
        top_p=0.95,
        max_tokens=max_tokens,
        draw=f"family/0/{slot}",
        **more,
    )


def ask(
    url: str, requests: list[Request], store: ResponseStore | None = None, max_concurrency: int = 3, **settings: Any
) -> list[Response]:
    """The answers of one run; `settings` are the Teacher's."""

    async def run() -> list[Response]:
        kept = store if store is not None else ResponseStore(LIVE)
        async with Teacher(url, kept, max_concurrency, **settings) as teacher:
            return await teacher.ask_all(requests)

    return asyncio.run(run())


def always(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda asked: reply


def at_first(fault: Reply) -> Callable[[Asked], Reply]:
    """`fault` for the first request of the server, answers to all others."""
    return lambda asked: fault if asked.number == 0 else Answer("text")
