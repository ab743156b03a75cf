"""A params section that names a server -> who asks it, and within which budget."""

from netllama.core.cores import count_cores
from netllama.core.server_section import ServerParams
from netllama.teacher.batch_api_teacher import BatchTeacher
from netllama.teacher.budget import Budget, Prices
from netllama.teacher.client import Teacher
from netllama.teacher.rate_limiter import RateLimiter
from netllama.teacher.spending import Spending
from netllama.teacher.store import ResponseStore


def make_budget(params: ServerParams, store: ResponseStore | None = None) -> Budget:
    """The budget of the section that `params` are. `store`: share it with all runs that use this store."""
    prompt, completion = params.usd_per_million_prompt_tokens, params.usd_per_million_completion_tokens
    if prompt is None or completion is None:
        return Budget(None, params.max_usd)
    cached, written = params.usd_per_million_cached_tokens, params.usd_per_million_cache_write_tokens
    spending = Spending(store.live.parent / "spending", params.section) if store else None
    return Budget(Prices(prompt, completion, cached, written), params.max_usd, spending)


def make_teacher(params: ServerParams, store: ResponseStore, budget: Budget) -> Teacher | BatchTeacher:
    if params.mode == "batch":
        return BatchTeacher(
            params.base_url,
            store,
            budget=budget,
            max_retries=params.max_retries,
            request_timeout=params.request_timeout,
        )
    # The embedded teacher decodes a request a core. More would only wait there, and their request_timeout runs.
    slots = params.max_concurrency if params.base_url else min(params.max_concurrency, count_cores())
    return Teacher(
        params.base_url,
        store,
        slots,
        limiter=RateLimiter(params.requests_per_minute or None, params.tokens_per_minute or None),
        budget=budget,
        max_retries=params.max_retries,
        request_timeout=params.request_timeout,
    )
