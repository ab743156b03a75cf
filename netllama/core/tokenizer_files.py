"""A folder with tokenizer.json -> transformers' tokenizer, or one line about why there is none."""

from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerBase":
    """StageError if the folder has no tokenizer, or files that are none."""
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    # The Rust library raises a bare Exception for a file that it can't read, or panics, which is a BaseException.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise StageError(f"{folder}: no usable tokenizer ({reason}); fetch its files again") from None
    return tokenizer
