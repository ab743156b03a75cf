"""When a failed request is sent again: after a doubling wait with jitter, or after the wait that the server asks for.

Which failures are worth it: error_verdicts.py.
"""

import email.utils
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

FIRST_WAIT = 0.5
LONGEST_BACKOFF = 60.0
"""Seconds before the first retry; the wait doubles with each further retry, up to the longest."""


@dataclass(frozen=True)
class Retryable:
    """A failure that may pass: wait and try again."""

    message: str
    """The error that ends the run when no retries are left."""
    retry_after: float | None = None
    """Seconds that the server asked us to wait."""
    rate_limited: bool = False
    maybe_billed: bool = False
    """The server may have sent an answer that was lost on the way."""


class Backoff:
    """The waits between the attempts of one request: jittered and doubling, for at most `max_retries` retries."""

    def __init__(self, max_retries: int) -> None:
        self.max_retries = max_retries
        self.failures = 0
        self._answers_at_limit: int | None = None

    def next_wait(self, failure: Retryable, answers: int = 0) -> float | None:
        """Seconds until the next attempt, or None to give up. `answers`: how many this run has received so far.

        A 429 does not count as a failure if the run has received an answer since this request's last 429: requests that
        share a rate limit make progress together, however often each of them is refused.
        """
        progressed = failure.rate_limited and self._answers_at_limit not in (None, answers)
        if failure.rate_limited:
            self._answers_at_limit = answers
        self.failures += not progressed
        if self.failures > self.max_retries:
            return None
        if failure.retry_after is not None:
            return failure.retry_after * random.uniform(1.0, 1.1)
        return min(FIRST_WAIT * 2.0 ** min(self.failures - 1, 30), LONGEST_BACKOFF) * random.uniform(0.5, 1.0)


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds in Retry-After-Ms (OpenAI's own), or in Retry-After as a number or an HTTP date (RFC 9110, 10.2.3)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        return seconds if math.isfinite(seconds) and seconds > 0 else None
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    # A date with the zone -0000 is parsed without a zone; HTTP dates are GMT.
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    return seconds if seconds > 0 else None
