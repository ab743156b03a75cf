"""Tokens: the same number for a text whatever it is counted with, in batches of bounded size."""

from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.documents import token_counting
from netllama.documents.token_counting import load_token_counter
from tests.support.tokenizers_of_kinds import make_byte_level


def test_texts_are_counted_in_batches_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = make_byte_level("smollm", adds_bos=True).backend_tokenizer
    backend.enable_truncation(max_length=5)
    backend.save(str(tmp_path / "tokenizer.json"))
    count = load_token_counter(tmp_path)
    texts = [f"neighbor {number} <|eos|> " * (number % 7) for number in range(100)]
    alone = [count([text])[0] for text in texts]
    assert max(alone) > 5
    assert alone[0] == 0
    batches = list(token_counting._iter_batches(texts))
    assert batches == [texts]
    monkeypatch.setattr(token_counting, "_BATCH", 1000)
    batches = list(token_counting._iter_batches(texts))
    assert [text for batch in batches for text in batch] == texts
    assert all(sum(map(len, batch[:-1])) < 1000 for batch in batches)
    assert len(batches) < 30
    assert count(texts) == alone
    assert count([]) == []


def test_a_missing_tokenizer_is_an_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"tokenizer\.json is missing: run `dvc repro fetch`"):
        load_token_counter(tmp_path)
