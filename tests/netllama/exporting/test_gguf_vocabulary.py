"""Which tokenizers llama.cpp reads alike, by what tokenizer.json says; all others are refused in one line."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from gguf.constants import TokenType
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from netllama.core.errors import StageError
from netllama.exporting.gguf_vocabulary import read_vocabulary
from tests.support.tokenizers_of_kinds import SPACE, make_byte_level, make_sentencepiece


@pytest.mark.parametrize("kind", ["gpt-2", "smollm", "llama-bpe"])
def test_a_byte_level_tokenizer_is_known_by_how_it_cuts_text(kind: str) -> None:
    tokenizer = make_byte_level(kind)
    found = read_vocabulary(tokenizer, 412)
    assert (found.model, found.pre, found.add_bos, found.scores) == ("gpt2", kind, False, [])
    assert [found.tokens[id] for id in range(400)] == tokenizer.convert_ids_to_tokens(range(400))
    assert found.tokens[400:] == [f"[PAD{id}]" for id in range(400, 412)]
    assert found.types[:3] == [TokenType.CONTROL] * 3
    assert found.types[399] == TokenType.USER_DEFINED
    assert found.types[400:] == [TokenType.UNUSED] * 12
    assert set(found.types[3:399]) == {TokenType.NORMAL}
    assert len(found.merges) == 399 - 3 - 256


@pytest.mark.parametrize(("prepends", "adds_space"), [(True, True), (False, False)])
def test_a_sentencepiece_tokenizer_has_scores_and_bytes(prepends: bool, adds_space: bool) -> None:
    found = read_vocabulary(make_sentencepiece(prepends), 600)
    assert (found.model, found.add_bos, found.add_space_prefix) == ("llama", True, adds_space)
    assert found.types[:3] == [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    assert found.types[3:259] == [TokenType.BYTE] * 256
    assert not found.merges


def encode_by_scores(text: str, ids: dict[str, int], scores: dict[str, float]) -> list[str]:
    """SentencePiece's BPE, as its paper has it: join the two neighbours that make the word with the highest score."""
    pieces = list(SPACE + text.replace(" ", SPACE))
    while True:
        pairs = [(scores[a + b], -place) for place, (a, b) in enumerate(pairwise(pieces)) if a + b in ids]
        if not pairs:
            return pieces
        place = -max(pairs)[1]
        pieces[place : place + 2] = ["".join(pieces[place : place + 2])]


TOKENIZER: Any = make_sentencepiece()
VOCABULARY = read_vocabulary(TOKENIZER, 600)


@given(st.text(alphabet="abcdeinoprstwxy 12.'", min_size=1, max_size=40))
def test_scores_join_text_as_the_merges_do(text: str) -> None:
    ids = {token: id for id, token in enumerate(VOCABULARY.tokens) if VOCABULARY.types[id] == TokenType.NORMAL}
    scores = {token: VOCABULARY.scores[id] for token, id in ids.items()}
    pieces = encode_by_scores(text, ids, scores)
    if all(piece in ids for piece in pieces):
        assert TOKENIZER.tokenize(text) == pieces


def changed(change: Callable[[Any], None], tokenizer: Any) -> Any:
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    change(parts)
    backend = Tokenizer.from_str(json.dumps(parts))
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=tokenizer.bos_token, eos_token="</s>")


def swap_merges(parts: Any) -> None:
    """A word is made at two ranks far from each other."""
    merges = parts["model"]["merges"]
    words = ["".join(merge) for merge in merges]
    twice = next(place for place, word in enumerate(words) if words.count(word) > 1)
    merges.append(merges.pop(twice))


CHANGES: dict[str, tuple[Callable[[Any], Any], Callable[[], Any], str]] = {
    "normalizer": (
        lambda parts: parts.update(normalizer={"type": "NFC"}),
        lambda: make_byte_level("gpt-2"),
        "not known to split text so .*a normalizer",
    ),
    "prefix space": (
        lambda parts: parts["pre_tokenizer"].update(add_prefix_space=True),
        lambda: make_byte_level("gpt-2"),
        r"not known to split text so \(ByteLevel\)",
    ),
    "whitespace": (
        lambda parts: parts.update(pre_tokenizer={"type": "Whitespace"}),
        lambda: make_byte_level("gpt-2"),
        r"not known to split text so \(Whitespace\)",
    ),
    "nothing": (
        lambda parts: parts.update(pre_tokenizer=None),
        lambda: make_byte_level("gpt-2"),
        r"not known to split text so \(none\)",
    ),
    "digits in threes": (
        lambda parts: parts["pre_tokenizer"]["pretokenizers"][0].update(individual_digits=False),
        lambda: make_byte_level("smollm"),
        r"not known to split text so \(Digits, bytes\)",
    ),
    "another expression": (
        lambda parts: parts["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": r"\p{N}{1,2}"}),
        lambda: make_byte_level("llama-bpe"),
        r"not known to split text so \(split ",
    ),
    "Llama 3 without whole words": (
        lambda parts: parts["model"].update(ignore_merges=False),
        lambda: make_byte_level("llama-bpe"),
        "not known to split text so",
    ),
    "GPT-2 with whole words": (
        lambda parts: parts["model"].update(ignore_merges=True),
        lambda: make_byte_level("gpt-2"),
        "not known to split text so .*ignore_merges",
    ),
    "spaces always": (
        lambda parts: parts["pre_tokenizer"].update(prepend_scheme="always"),
        lambda: make_sentencepiece(False),
        "writes spaces otherwise than Llama 2",
    ),
    "no beginning of sequence": (
        lambda parts: parts.update(post_processor=None),
        lambda: make_sentencepiece(False),
        "writes spaces otherwise than Llama 2",
    ),
    "lower case": (
        lambda parts: parts["normalizer"]["normalizers"].append({"type": "Lowercase"}),
        make_sentencepiece,
        "writes spaces otherwise than Llama 2",
    ),
    "a missing merge": (
        lambda parts: parts["model"]["merges"].pop(),
        make_sentencepiece,
        "lacks merges that make .*, which SentencePiece would do",
    ),
    "merges by turns": (swap_merges, make_sentencepiece, "by turns, which no score can say"),
}


@pytest.mark.parametrize(("change", "make", "said"), CHANGES.values(), ids=CHANGES)
def test_any_other_tokenizer_is_refused(change: Callable[[Any], None], make: Callable[[], Any], said: str) -> None:
    original = make()
    with pytest.raises(StageError, match=said) as raised:
        read_vocabulary(changed(change, original), 600)
    assert "\n" not in str(raised.value)


def test_other_kinds_and_too_many_tokens_are_refused() -> None:
    from tokenizers import models

    unigram = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.Unigram([("a", 0.0), ("b", -1.0)])))
    with pytest.raises(StageError, match="a Unigram tokenizer; GGUF is written for BPE alone"):
        read_vocabulary(unigram, 10)
    with pytest.raises(StageError, match="400 tokens, and the model has 399"):
        read_vocabulary(make_byte_level("gpt-2"), 399)


def test_a_tokenizer_that_begins_with_bos_says_so() -> None:
    assert read_vocabulary(make_byte_level("llama-bpe", adds_bos=True), 400).add_bos
