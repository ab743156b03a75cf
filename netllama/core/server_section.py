"""What the sections of params.yaml have in common that ask a model on a server: the teacher's and the judge's."""

import re
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import model_validator

from netllama.core.param_types import (
    BUNDLED_MODEL,
    Count,
    Positive,
    PositiveInt,
    Section,
    Usd,
    raise_all,
)


class ServerParams(Section):
    """Which server and model are asked, how fast, and for how much money."""

    section: ClassVar[str]
    """Its name in params.yaml."""

    base_url: str
    """An OpenAI-compatible server; empty: the embedded teacher on a loopback port."""
    model_name: str
    """The server's name of the model."""
    api: Literal["responses", "chat", "completions"]
    """responses: /responses, OpenAI's for new projects; chat: /chat/completions, which most servers have;
    completions: /completions, for base models."""
    mode: Literal["live", "batch"]
    """batch: send each round through the provider's Batch API, at half the price and within a day."""
    service_tier: Literal["flex"] | None
    """flex: OpenAI's slower tier at half the price; set request_timeout to 900. Empty: the provider's standard."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    """How much a reasoning model thinks before it answers; empty: not sent, the model's own default."""
    max_tokens: PositiveInt
    """Tokens of one answer, thinking not included."""
    max_reasoning_tokens: Count
    """Tokens that a reasoning model may think before its answer. The limit that is sent is the sum of both, since
    providers count and bill thinking as output."""
    max_concurrency: PositiveInt
    """Requests under way at the same time."""
    requests_per_minute: Count
    """Your account's limit; 0: none."""
    tokens_per_minute: Count
    """Your account's limit; 0: none."""
    max_retries: Count
    """Retries of one request after a fault that may pass (408, 409, 429, 5xx, a lost connection)."""
    request_timeout: Positive
    """Seconds for one answer, from the first byte sent to the last byte received."""
    usd_per_million_prompt_tokens: Usd | None
    """The provider's price at its standard tier, without the discount of batch or flex; empty: not known."""
    usd_per_million_completion_tokens: Usd | None
    """The same for the tokens of answers, thinking included."""
    usd_per_million_cached_tokens: Usd | None
    """The same for prompt tokens that the provider had in its cache; empty: as other prompt tokens."""
    usd_per_million_cache_write_tokens: Usd | None
    """The same for prompt tokens that the provider put into its cache; empty: as other prompt tokens."""
    max_usd: Usd | None
    """What all answers of the stage may cost together, in all runs and experiments of this checkout, earlier ones and
    those at the same time; empty: no cap."""

    @property
    def max_answer_tokens(self) -> int:
        """The limit of one answer as the provider counts it, thinking included."""
        return self.max_tokens + self.max_reasoning_tokens

    @model_validator(mode="after")
    def _check_combinations(self) -> "ServerParams":
        raise_all(self._find_problems())
        return self

    def _find_problems(self) -> list[str]:
        """Settings that don't go together, or that the API or the embedded teacher does not have."""
        problems = find_url_problems(self.base_url)
        if not self.base_url and self.model_name != BUNDLED_MODEL:
            problems.append(
                f"model_name is {self.model_name!r} but base_url is empty; the embedded teacher is {BUNDLED_MODEL}: "
                "name that, or set base_url"
            )
        if not self.base_url and self.api == "responses":
            problems.append("the embedded teacher has no api responses: use completions or chat")
        if not self.base_url and (self.reasoning_effort or self.service_tier):
            problems.append("the embedded teacher has no reasoning_effort and no service_tier: leave them empty")
        if self.mode == "batch" and not self.base_url:
            problems.append("mode batch needs a provider's Batch API: set base_url, or use live")
        if self.mode == "batch" and self.service_tier:
            problems.append("mode batch has a price of its own: leave service_tier empty, or use live")
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        if prices.count(None) == 1:
            problems.append("one of usd_per_million_prompt_tokens and usd_per_million_completion_tokens is missing")
        if self.max_usd is not None and None in prices:
            problems.append(
                "max_usd needs both prices: set usd_per_million_prompt_tokens and usd_per_million_completion_tokens"
            )
        return problems


def find_url_problems(url: str) -> list[str]:
    """What is wrong with the address of a server; empty is fine."""
    if not url:
        return []
    if not url.isprintable() or " " in url:
        return [f"base_url {url!r} has a blank or a control character in it"]
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises ValueError)
    except ValueError as error:
        return [f"base_url {url!r} is no address of a server ({error})"]
    if parts.scheme not in ("http", "https") or not parts.hostname:
        near = re.match(r"localhost|127\.|[^/]*:\d", url)  # a port means a server of one's own
        whole = "//" not in url and ":/" not in url
        guess = f"{'http' if near else 'https'}://{url}" if whole else "http://HOST:PORT/v1"
        return [f"base_url {url!r} is no http or https address; is it {guess}?"]
    if parts.hostname in ("0.0.0.0", "::"):
        right = url.replace("[::]", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
        return [f"base_url {url!r}: {parts.hostname} is where a server listens, not where it is; is it {right}?"]
    for path in ("/chat/completions", "/completions", "/responses", "/models"):
        if parts.path.rstrip("/").endswith(path):
            return [f"base_url {url!r} goes on too far; is it {url.rstrip('/').removesuffix(path)}?"]
    return []
