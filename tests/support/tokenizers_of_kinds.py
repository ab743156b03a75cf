"""Small tokenizers of the kinds that models have: byte-level BPE cut in several ways, and SentencePiece's BPE."""

from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPACE = "\u2581"
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
CORPUS = [
    "Border routers announce prefixes: AS65001 announces 192.0.2.0/24 and 2001:db8::/32 at 07:15.",
    "for element in stream:\n    print(element.fields['as-path'].split())  # it's what they'll need",
    "The session's hold time is 180 seconds; the peers exchange KEEPALIVE messages every 60 seconds.",
    "naïve Straße, 東京 and 12345678 more words of many kinds, words that repeat: words, kinds, prefixes, peers",
]


def cut_by(kind: str) -> Any:
    """The pre-tokenizer of gpt-2, smollm, llama-bpe."""
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(Regex(LLAMA_3), behavior="isolated")
    return {
        "gpt-2": whole,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole]),
        "llama-bpe": pre_tokenizers.Sequence([split, alone]),
    }[kind]


def make_byte_level(kind: str, bos: str = "<|bos|>", adds_bos: bool = False) -> Any:
    """Of 400 tokens, with one added token that is not special."""
    backend = Tokenizer(models.BPE(ignore_merges=kind == "llama-bpe"))
    backend.pre_tokenizer = cut_by(kind)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [bos, "<|eos|>", "<|user|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=399, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.add_tokens(["<tool>"])
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos, eos_token="<|eos|>")


def make_sentencepiece(prepends: bool = True) -> Any:
    """BPE with byte fallback as in Llama 2; `prepends`: with the normalizer of its tokenizer.json, not Metaspace."""
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    draft = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    draft.normalizer = normalizer
    draft.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="never", split=True)
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False)
    draft.train_from_iterator([*CORPUS, "  four    spaces        eight"], trainer)
    vocabulary = draft.get_vocab()
    backend = Tokenizer(
        models.BPE(vocabulary, list_all_merges(vocabulary), byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    if prepends:
        backend.normalizer = normalizer
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def list_all_merges(vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Every pair that makes a word, words in their order: what SentencePiece joins."""
    words = {word: id for word, id in vocabulary.items() if not word.startswith("<") or len(word) < 3}
    ordered = sorted(words, key=words.__getitem__)
    splits = [(word[:place], word[place:]) for word in ordered for place in range(1, len(word))]
    return [(left, right) for left, right in splits if left in words and right in words]
