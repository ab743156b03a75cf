"""A params section that names a server -> who asks it, and within which budget."""

from netllama.core.server_section import ServerParams
from netllama.teacher.batch_api_teacher import BatchTeacher
from netllama.teacher.budget import Budget, Prices
from netllama.teacher.client import Teacher
from netllama.teacher.rate_limiter import RateLimiter
from netllama.teacher.store import ResponseStore


def make_budget(params: ServerParams) -> Budget:
    prompt, completion = params.usd_per_million_prompt_tokens, params.usd_per_million_completion_tokens
    if prompt is None or completion is None:
        return Budget(None, params.max_usd)
    cached, written = params.usd_per_million_cached_tokens, params.usd_per_million_cache_write_tokens
    return Budget(Prices(prompt, completion, cached, written), params.max_usd)


def make_teacher(params: ServerParams, store: ResponseStore, budget: Budget) -> Teacher | BatchTeacher:
    if params.mode == "batch":
        return BatchTeacher(
            params.base_url,
            store,
            budget=budget,
            max_retries=params.max_retries,
            request_timeout=params.request_timeout,
        )
    return Teacher(
        params.base_url,
        store,
        params.max_concurrency,
        limiter=RateLimiter(params.requests_per_minute or None, params.tokens_per_minute or None),
        budget=budget,
        max_retries=params.max_retries,
        request_timeout=params.request_timeout,
    )
