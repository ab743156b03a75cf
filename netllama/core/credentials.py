"""Keys and tokens, from the environment or `.env`. Their values never go to a file, a log or an error."""

import os
from pathlib import Path

from dotenv import dotenv_values


def secret(*names: str) -> str | None:
    """The first of `names` that is set in the environment, else in `.env` of the repository."""
    stored = dotenv_values(Path(os.environ.get("DVC_ROOT", ".")) / ".env")
    for source in (os.environ, stored):
        for name in names:
            if source.get(name):
                return source[name]
    return None
