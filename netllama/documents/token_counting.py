"""How many tokens of the model's tokenizer a text takes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from netllama.core.errors import StageError
from netllama.documents.shown_headings import CountTokens

_BATCH = 1 << 20
"""Characters that are encoded at once: an encoding takes two hundred times the memory of its text."""
_LEAST = 64
"""As many characters as the memory of an encoding without a token is worth, or more."""


def load_token_counter(folder: Path) -> CountTokens:
    """`folder`: models/tokenizer. Special tokens in a text are plain characters, as netllama/rendering makes them."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise StageError(f"{path} is missing: run `dvc repro fetch`")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True

    def count_tokens(texts: Sequence[str]) -> list[int]:
        return [
            len(encoding.ids)
            for batch in _iter_batches(texts)
            for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        ]

    return count_tokens


def _iter_batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch, size = list[str](), 0
    for text in texts:
        batch.append(text)
        size += _LEAST + len(text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
