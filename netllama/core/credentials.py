"""Keys and tokens, from the environment or `.env`. Their values never reach a file, a log or an error message."""

import os
from pathlib import Path

from dotenv import dotenv_values


def find_secret(*names: str) -> str | None:
    """The value of the first of `names` that is set in the environment or else in the repository's `.env`."""
    stored = dotenv_values(Path(os.environ.get("DVC_ROOT", ".")) / ".env")
    for source in (os.environ, stored):
        for name in names:
            if source.get(name):
                return source[name]
    return None
