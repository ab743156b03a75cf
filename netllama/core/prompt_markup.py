"""Markup that prompts are made of. In a task it means that two tasks ran together or that a raw prompt was copied."""

import re

NO_INPUT = "<noinput>"
"""How Self-Instruct and Alpaca write an empty input."""

# The templates of Alpaca, of Self-Instruct and of chat models. `### Input:` and `### Output:` are not among them, since
# people write such headings.
_MARKUP = re.compile(
    r"(?<!#)#{2,}+\s*+(?:instruction|response|human|assistant)\s*:"
    r"|\b\d+\s*\.\s*(?:instruction|input|output)\s*:"
    rf"|{NO_INPUT}"
    r"|<\|(?:im_(?:start|end|sep)|(?:start|end)_header_id|eot_id|eom_id|(?:begin|end)_of_text|endoftext"
    r"|system|user|assistant|end|start|message|channel)\|>"
    r"|<[|｜](?:begin|end)[_▁]of[_▁]sentence[|｜]>|<｜(?:user|assistant)｜>"  # DeepSeek's, with full-width bars
    r"|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|\bbelow is an instruction that describes a task\b",
    re.IGNORECASE,
)

# Every piece has one of these in it; to look for them takes a tenth of the time.
_SIGNS, _WORDS = "#<[", ("instruction", "input", "output")

# What tokenizers begin and end a text with. Not `(?P<s>...)`, and not HTML's struck out <s>words</s> of one line.
_SEQUENCE_MARK = re.compile(r"(?<!\w)<s>|(?<!\?P)<[be]os>|</s>", re.IGNORECASE)
# In brackets at an end only, and not where it's code (`ids + [EOS]`): Arista's system is called EOS, too.
_BRACKETED_BEGIN = re.compile(r"\s*(\[BOS\])(?!\s?[+,)\]=])")
_BRACKETED_END = re.compile(r"(?<![=+,(\[])(?<![=+,(\[] )\[EOS\](?=\s*\Z)|(?<=[.!?])\[EOS\]")
_STRUCK_OUT = re.compile(r"<s>[^<\n]+</s>", re.IGNORECASE)
_BEGINS = ("<s>", "<bos>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>")
_ENDS = ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "<｜end▁of▁sentence｜>")


def find_prompt_markup(text: str) -> str | None:
    """A piece of markup in the text; None where there is none."""
    if not _may_hold_markup(text):
        return None
    found = _MARKUP.search(text) or _SEQUENCE_MARK.search(_STRUCK_OUT.sub("", text)) or _BRACKETED_END.search(text)
    if found:
        return found[0]
    return begin[1] if (begin := _BRACKETED_BEGIN.match(text)) else None


def _may_hold_markup(text: str) -> bool:
    if any(sign in text for sign in _SIGNS) or not text.isascii():  # outside ASCII other letters match, too
        return True
    folded = text.lower()
    return any(word in folded for word in _WORDS)


def strip_sequence_marks(text: str) -> str:
    """The text without the marks that a tokenizer's begin and end of a sequence left around it: `<s>`, `</s>`."""
    inner = text.strip()
    if any(found.span() != (0, len(inner)) for found in _STRUCK_OUT.finditer(inner)):
        return text
    left = inner
    while begin := _find_begin(left):
        left = left[len(begin) :].lstrip()
    while end := _find_end(left):
        left = left[: -len(end)].rstrip()
    return text if left == inner else left


def _find_begin(text: str) -> str:
    """The mark that the text begins with; empty where there is none."""
    bracketed = _BRACKETED_BEGIN.match(text)
    return bracketed[1] if bracketed else next((mark for mark in _BEGINS if text[: len(mark)].lower() == mark), "")


def _find_end(text: str) -> str:
    bracketed = text.endswith("[EOS]") and _BRACKETED_END.search(text[-8:])  # with what stands before it
    return bracketed[0] if bracketed else next((mark for mark in _ENDS if text[-len(mark) :].lower() == mark), "")


def drop_placeholder(task_input: str) -> str:
    """The input itself, or an empty text where it only says that there is none (`<noinput>`, `Noinput`)."""
    return "" if task_input.strip("<> \r\n\t").lower() == NO_INPUT.strip("<>") else task_input
