"""A tokenizer of the tokenizers library as the vocabulary of a GGUF file, where llama.cpp is known to split text alike.

llama.cpp has no tokenizer.json: it knows kinds of tokenizers by a name (`tokenizer.ggml.pre`), and one with the wrong
name reads other ids than the model was trained on, without a word. So the kind is recognised by what tokenizer.json
says it does, never by the name of a model, and any other is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gguf.constants import TokenType

from netllama.core.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)"
    r"|\s+"
)
_SPACE = "\u2581"
_SPLITS: dict[tuple[str, bool], str] = {
    ("bytes", False): "gpt-2",
    ("digits, bytes", False): "smollm",
    (f"split {_LLAMA_3}, bytes alone", True): "llama-bpe",
}
"""llama.cpp's name of a byte-level BPE, by how it splits text and whether a whole known word skips the merges."""


@dataclass(frozen=True)
class GgufVocabulary:
    """What the key-values `tokenizer.ggml.*` hold."""

    model: str
    """gpt2: byte-level BPE; llama: SentencePiece."""
    pre: str
    tokens: list[str]
    types: list[int]
    add_bos: bool
    add_space_prefix: bool
    merges: list[str] = field(default_factory=list)
    """gpt2 only."""
    scores: list[float] = field(default_factory=list)
    """llama only."""


def read_vocabulary(tokenizer: "PreTrainedTokenizerBase", size: int) -> GgufVocabulary:
    """The vocabulary, filled up to the model's `size`; StageError for a kind of tokenizer that is not known."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    model = parts["model"]
    if model["type"] != "BPE":
        raise StageError(f"tokenizer.json: a {model['type']} tokenizer; GGUF is written for BPE alone")
    added = {token["id"]: token for token in parts["added_tokens"]}
    words = {id: word for word, id in model["vocab"].items()} | {id: token["content"] for id, token in added.items()}
    if max(words) >= size:
        raise StageError(f"tokenizer.json: {max(words) + 1} tokens, and the model has {size}")
    tokens = [words.get(id, f"[PAD{id}]") for id in range(size)]
    types = [_find_type(id, words, added, tokenizer.unk_token_id) for id in range(size)]
    probe, bos = tokenizer("a").input_ids, tokenizer.bos_token_id
    adds_bos = bos is not None and probe[:1] == [bos]
    if adds_bos and probe[1:2] == [bos]:
        raise StageError("tokenizer.json: a text begins with two beginning-of-sequence tokens")
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in model["merges"]]
    if model.get("byte_fallback"):
        adds_space = _adds_space(parts, adds_bos)
        types = [TokenType.BYTE if _is_byte(token) else type for token, type in zip(tokens, types, strict=True)]
        scores = _derive_scores(tokens, types, merges)
        return GgufVocabulary("llama", "default", tokens, list(map(int, types)), adds_bos, adds_space, scores=scores)
    pre = _find_split(parts, bool(model.get("ignore_merges")))
    joined = [" ".join(merge) for merge in merges]
    return GgufVocabulary("gpt2", pre, tokens, list(map(int, types)), adds_bos, False, merges=joined)


def _find_type(id: int, words: dict[int, str], added: dict[int, Any], unknown: int | None) -> TokenType:
    if id not in words:
        return TokenType.UNUSED
    if id not in added:
        return TokenType.NORMAL
    if id == unknown and words[id] == "<unk>":
        return TokenType.UNKNOWN
    return TokenType.CONTROL if added[id]["special"] else TokenType.USER_DEFINED


def _find_split(parts: Any, ignores_merges: bool) -> str:
    """llama.cpp's name for how the text is cut before merges; StageError for a way that it is not known to have."""
    splitter = parts["pre_tokenizer"] or {"type": "none"}
    steps = splitter["pretokenizers"] if splitter["type"] == "Sequence" else [splitter]
    found = ", ".join(map(_describe_step, steps))
    plain = parts["normalizer"] is None and not parts["model"].get("continuing_subword_prefix")
    if not plain or (found, ignores_merges) not in _SPLITS:
        raise StageError(
            f"tokenizer.json: llama.cpp is not known to split text so ({found[:80]}"
            f"{', ignore_merges' * ignores_merges}{', a normalizer' * (parts['normalizer'] is not None)}); GGUF is "
            "written for the tokenizers of GPT-2, SmolLM, Llama 2 and Llama 3"
        )
    return _SPLITS[found, ignores_merges]


def _describe_step(step: Any) -> str:
    kind = str(step["type"])
    if kind == "ByteLevel" and not step["add_prefix_space"]:
        return "bytes" if step["use_regex"] else "bytes alone"
    if kind == "Digits" and step["individual_digits"]:
        return "digits"
    if kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return f"split {step['pattern'].get('Regex')}"
    return kind


def _adds_space(parts: Any, adds_bos: bool) -> bool:
    """Whether a space stands before the text behind each special token, as in Llama 2's own tokenizer.json.

    transformers 5 reads Llama 2 with Metaspace: a space at the very start only, and a prompt starts with a special
    token. So there is none. StageError for any other way to write spaces.
    """
    normalizer, splitter = parts["normalizer"], parts["pre_tokenizer"]
    if normalizer is None and splitter is not None and splitter["type"] == "Metaspace":
        first = splitter["prepend_scheme"] == "first" and not splitter["split"]
        if first and splitter["replacement"] == _SPACE and adds_bos:
            return False
    elif splitter is None and normalizer is not None and normalizer["type"] == "Sequence":
        steps = normalizer["normalizers"]
        if steps == [
            {"type": "Prepend", "prepend": _SPACE},
            {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        ]:
            return True
    raise StageError("tokenizer.json: writes spaces otherwise than Llama 2; GGUF is not written for it")


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _derive_scores(tokens: Sequence[str], types: Sequence[int], merges: Sequence[tuple[str, ...]]) -> list[float]:
    """Scores by which SentencePiece merges in the order of `merges`: the earlier a word is made, the higher.

    SentencePiece has no merges, it joins any two neighbours that make a word. StageError where that is not the same: a
    word that is made of fewer pairs than there are, or words whose ranks overlap, which no score can say. Runs of
    spaces do overlap in Llama 2's merges: there they all have one score.
    """
    pairs: dict[str, set[tuple[str, ...]]] = {}
    starts: dict[str, int] = {}
    ends: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        word = "".join(merge)
        pairs.setdefault(word, set()).add(merge)
        starts.setdefault(word, rank)
        ends[word] = rank
    known = {token for token, type in zip(tokens, types, strict=True) if type == TokenType.NORMAL}
    for word in known:
        splits = ((word[:place], word[place:]) for place in range(1, len(word)))
        if {split for split in splits if known.issuperset(split)} - pairs.get(word, set()):
            raise StageError(f"tokenizer.json: lacks merges that make {word!r}, which SentencePiece would do")
    scores: dict[str, float] = {}
    end, score, before = -1, 0.0, ""
    for word in pairs:  # in the order of their first ranks
        if starts[word] > end:
            score -= 1
        elif {*before, *word} != {_SPACE}:
            raise StageError(f"tokenizer.json: merges make {before!r} and {word!r} by turns, which no score can say")
        scores[word], before, end = score, word, max(end, ends[word])
    return [
        scores.get(token, score - 1) if type == TokenType.NORMAL else 0.0
        for token, type in zip(tokens, types, strict=True)
    ]
