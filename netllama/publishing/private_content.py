"""The last look before anything leaves this machine: no key, no token, no path of this machine in any file."""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from netllama.core.credentials import KEY_FORM
from netllama.core.errors import StageError
from netllama.publishing.published_files import PublishedFile

BINARY = (".safetensors", ".gguf", ".model")
VOCABULARY = ("tokenizer.json", "vocab.json", "merges.txt")
"""Tokens that look like paths or keys are part of a language."""
_PATH = re.compile(r"(?:~|/|[A-Za-z]:[\\/]|file://)[^\s{}<>\"']*[\\/][^\s{}<>\"']+")
_METADATA = 2**24
"""Bytes of a file of weights that are searched: its metadata stand in front."""


def require_nothing_private(
    files: Iterable[PublishedFile], secrets: Collection[str], folders: Collection[Path]
) -> None:
    """StageError that names the file, for one of `secrets` or `folders` in it, a key, or a value that is a path.

    Weights and vocabularies are searched for `secrets` only: anything else stands in them by chance.
    """
    paths = [str(folder) for folder in folders if len(folder.parts) > 2]
    for file in files:
        content = file.read(_METADATA if file.name.endswith(BINARY) else -1)
        if any(secret.encode() in content for secret in secrets):
            raise StageError(f"{file.name}: holds a secret of .env or of the environment; nothing was published")
        if file.name.endswith((*BINARY, *VOCABULARY)):
            continue
        text = content.decode("utf-8", errors="replace")
        if KEY_FORM.search(text):
            raise StageError(f"{file.name}: holds what looks like a key or a token; nothing was published")
        values = _walk(json.loads(text)) if file.name.endswith(".json") else ()
        found = [f"{key} = {value}" for key, value in values if _PATH.fullmatch(value)]
        if found := found or [path for path in paths if path in text]:
            raise StageError(f"{file.name}: holds a path of this machine ({found[0]}); nothing was published")


def _walk(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of each text in a JSON value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{key}.{number}")
    elif isinstance(value, str):
        yield key, value
