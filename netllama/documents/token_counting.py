"""How many tokens of the model's tokenizer a text takes."""

from collections.abc import Sequence
from pathlib import Path

from netllama.core.errors import StageError
from netllama.documents.shown_headings import CountTokens


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
        return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    return count_tokens
