"""Keys and tokens, from the environment or `.env`. Their values never reach a file, a log or an error message."""

import os
import re
from pathlib import Path

from dotenv import dotenv_values

from netllama.core.errors import StageError

KEY_FORM = re.compile(
    r"\b(?:sk-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""A private key, or a token in the form of OpenAI's, Hugging Face's, GitHub's, AWS's, Slack's or Google's."""
_SECRET_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SHORTEST_SECRET = 8
"""Shorter values ("1", "none") stand in many a text by chance."""


def find_secret(*names: str) -> str | None:
    """The value of the first of `names` that is set in the environment or else in the repository's `.env`."""
    for source in (os.environ, _read_stored()):
        for name in names:
            if source.get(name):
                return source[name]
    return None


def list_secrets() -> set[str]:
    """The values of all variables of the environment and of `.env` whose names say that they are secret."""
    named = [*os.environ.items(), *_read_stored().items()]
    return {value for name, value in named if value and len(value) >= _SHORTEST_SECRET and _SECRET_NAME.search(name)}


def mask_api_key(text: str) -> str:
    """`text` with [key] in place of OPENAI_API_KEY, which a server that was sent it may echo."""
    key = (find_secret("OPENAI_API_KEY") or "").strip()
    return text.replace(key, "[key]") if len(key) >= _SHORTEST_SECRET else text


def is_placeholder(key: str) -> bool:
    """Whether it is too short for a key: "none" is what servers without keys are given."""
    return len(key) < _SHORTEST_SECRET


def _read_stored() -> dict[str, str | None]:
    path = Path(os.environ.get("DVC_ROOT", ".")) / ".env"
    try:
        return dotenv_values(path)
    except UnicodeDecodeError as error:
        raise StageError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
