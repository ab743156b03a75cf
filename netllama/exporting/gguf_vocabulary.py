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
        _require_sentencepiece(parts)
        types = [TokenType.BYTE if _is_byte(token) else type for token, type in zip(tokens, types, strict=True)]
        scores = _derive_scores(tokens, types, merges)
        return GgufVocabulary("llama", "default", tokens, list(map(int, types)), adds_bos, True, scores=scores)
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


def _require_sentencepiece(parts: Any) -> None:
    """A space is written as U+2581, and one stands before the text: by a normalizer, or by what cuts the text."""
    normalizer, splitter = parts["normalizer"], parts["pre_tokenizer"]
    steps = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else []
    by_normalizer = splitter is None and [step["type"] for step in steps] == ["Prepend", "Replace"]
    by_splitter = normalizer is None and splitter is not None and splitter["type"] == "Metaspace"
    by_splitter = by_splitter and splitter["prepend_scheme"] in ("first", "always") and not splitter["split"]
    spaces = [steps[0]["prepend"], steps[1]["content"]] if by_normalizer else [(splitter or {}).get("replacement")]
    if not (by_normalizer or by_splitter) or set(spaces) != {_SPACE}:
        raise StageError("tokenizer.json: a byte-fallback BPE that is not Llama 2's; GGUF is not written for it")


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _derive_scores(tokens: Sequence[str], types: Sequence[int], merges: Sequence[tuple[str, ...]]) -> list[float]:
    """Scores by which SentencePiece merges in the order of `merges`: the earlier a word is made, the higher.

    StageError where one word is made by merges that do not follow each other: no score stands for two ranks.
    """
    ranks: dict[str, int] = {}
    last = ""
    for merge in merges:
        word = "".join(merge)
        if word != last and word in ranks:
            raise StageError(f"tokenizer.json: merges make {word!r} at two places; scores can't say that")
        last = word
        ranks.setdefault(word, len(ranks))
    lowest = -float(len(ranks))
    normal = {int(TokenType.NORMAL)}
    return [
        -float(ranks[token]) if token in ranks else (lowest if type in normal else 0.0)
        for token, type in zip(tokens, types, strict=True)
    ]
