"""Looks the model up at the server before the first request, to say in time that it is unknown or will shut down.

`GET /models/ID`, and `GET /models` where a server has no such path or cannot route an ID with a slash
(https://platform.openai.com/docs/api-reference/models). Servers that offer neither are asked all the same: nothing that
the lookup finds, or fails to find, ends a run.
"""

import asyncio
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from netllama.teacher.error_bodies import redact_text

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LOOKUP_TIMEOUT = 10.0
"""Seconds for the whole lookup."""
NOTICE_DAYS = 90
"""A shutdown that is farther away is not mentioned."""
_LISTED = 8
"""Models that are named where the one asked for is unknown."""


async def describe_model(client: "AsyncOpenAI", server: str, model: str, today: date | None = None) -> str:
    """A line for the user if the server does not know `model` or will shut it down soon; else an empty string."""
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT):
            found = await _find_model(client, model)
    except Exception:  # of the network, of the server, or of an answer in any other form
        return ""
    if isinstance(found, list):
        names = ", ".join(found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
        return redact_text(f"{server}: does not list the model {model}; it lists {names or 'none'}")
    return _describe_shutdown(server, model, found, today or datetime.now(UTC).date())


async def _find_model(client: "AsyncOpenAI", model: str) -> dict[str, Any] | list[str]:
    """The server's description of the model, or the names of the models that it has instead."""
    import openai

    try:
        found = await client.get(f"/models/{quote(model, safe='')}", cast_to=object)
        if isinstance(found, dict) and found.get("id"):
            return found
    except openai.APIStatusError as error:
        if error.status_code not in (400, 404, 405):
            raise
    listing: Any = await client.get("/models", cast_to=object)
    models = {str(entry["id"]): entry for entry in listing["data"]}
    return models[model] if model in models else sorted(models)


def _describe_shutdown(server: str, model: str, found: dict[str, Any], today: date) -> str:
    try:
        shutdown = date.fromisoformat(str(found.get("shutdown_date"))[:10])
    except ValueError:
        return ""
    days = (shutdown - today).days
    if days > NOTICE_DAYS:
        return ""
    when = f"in {days} days" if days > 0 else "today" if days == 0 else f"{-days} days ago"
    verb = "shuts down" if days >= 0 else "was shut down"
    return f"{server}: the model {model} {verb} on {shutdown} ({when}); choose another teacher.model_name in time"
