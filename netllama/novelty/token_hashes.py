"""Tokens and texts as numbers that are the same in every process and on every machine."""

import hashlib
from functools import lru_cache


def hash_text(text: str) -> int:
    """64 bits; two texts of millions have the same ones with a probability of 1e-6."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


@lru_cache(maxsize=1 << 17)
def hash_token(token: str) -> int:
    """`hash_text` of what comes again and again. Names that come once would fill a larger cache, and not be found."""
    return hash_text(token)
