"""Text to ids where special tokens are the template's alone: in what a user wrote they are plain characters.

`<|im_end|>`, `</s>` or `<filename>` in a question or an answer is text about tokens, or a placeholder of a manual.
Encoded as the token of that name it would end the answer early, open a turn of its own, or stand for nothing at all.
So it is hidden from template and tokenizer before a record is rendered, and comes back as plain characters in the ids.
A text without any, nearly every text, takes the tokenizer's usual way and gets the ids it always had.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Noncharacters: Unicode keeps them for use inside a program. A text that holds the first is hidden in the same way.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_HIDDEN = re.compile(f"{_OPEN}([0-9]*){_CLOSE}")
_ALIAS = f"{_OPEN}special-token-"


class SpecialTokens:
    """The special tokens of a tokenizer, and its encoding of texts in which a user's are hidden."""

    def __init__(self, backend: "Tokenizer") -> None:
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = False
        self._backend = backend
        self._added = {id: token for id, token in sorted(backend.get_added_tokens_decoder().items()) if token.special}
        self.ids_of = {token.content: id for id, token in self._added.items()}
        longest_first = sorted(self.ids_of, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, [*longest_first, _OPEN])))

    def find(self, text: str) -> str:
        """The first special token that the text spells out; empty: none."""
        match = self._pattern.search(text)
        return match[0] if match else ""

    def hide(self, text: str) -> str:
        """A user's text for the template."""
        if _ALIAS in text:
            raise ValueError("the text holds U+FDD0, which is no character, in front of `special-token-`")
        return self._pattern.sub(lambda match: f"{_OPEN}{self.ids_of.get(match[0], '')}{_CLOSE}", text)

    def reveal(self, text: str) -> str:
        """What `hide` was given."""
        return _HIDDEN.sub(lambda match: self._added[int(match[1])].content if match[1] else _OPEN, text)

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered text: special tokens are tokens, hidden ones plain characters. None is added."""
        if _OPEN in text:
            return self._encode_hidden(text)
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """As `encode`, a fifth faster in one call: no offsets are kept."""
        usual = [text for text in texts if _OPEN not in text]
        encoded = iter(self._backend.encode_batch_fast(usual, add_special_tokens=False))
        return [self._encode_hidden(text) if _OPEN in text else next(encoded).ids for text in texts]

    def isolates(self, token: str) -> bool:
        """Whether the ids left and right of this special token do not depend on each other's text."""
        added = self._added[self.ids_of[token]]
        return not (added.normalized and self._backend.normalizer is not None) and not added.single_word

    @cached_property
    def _characters(self) -> "Tokenizer":
        """The tokenizer that takes all special tokens for characters, and an alias of each for the token.

        An alias is split off, stripped and normalized as its token is, so that all other ids are the usual ones.
        """
        from tokenizers import AddedToken, Tokenizer

        backend = Tokenizer.from_str(self._backend.to_str())
        backend.encode_special_tokens = True
        for id, token in self._added.items():
            flags = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
            backend.add_tokens([AddedToken(_alias(id), **flags)])
        return backend

    @cached_property
    def _real(self) -> dict[int | None, int]:
        return {self._characters.token_to_id(_alias(id)): id for id in self._added}

    def _encode_hidden(self, text: str) -> list[int]:
        aliased = self._pattern.sub(lambda match: _alias(self.ids_of[match[0]]) if match[0] != _OPEN else _OPEN, text)
        ids = self._characters.encode(self.reveal(aliased), add_special_tokens=False).ids
        return [self._real.get(id, id) for id in ids]


def _alias(id: int) -> str:
    return f"{_ALIAS}{id}{_CLOSE}"
