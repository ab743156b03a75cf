"""Rows to their distinct texts: 10,000 rows that differ in nothing but their numbers are compared once."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator

NO_TEXT = -1
"""The text of a row without a token: it is near to nothing."""


class DistinctTexts:
    """The texts of rows, numbered from 0 in the order in which they come first."""

    def __init__(self) -> None:
        self.of_rows = array("i")
        """The text of each row, or NO_TEXT."""
        self._numbers: dict[bytes, int] = {}

    def number_texts(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """The tokens of each new text of the rows, which have been joined by spaces."""
        for text in texts:
            digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
            known = len(self._numbers)
            self.of_rows.append(self._numbers.setdefault(digest, known) if text else NO_TEXT)
            if text and len(self._numbers) > known:
                yield text.split()

    def hash_texts(self) -> str:
        """A hash of all of them, in order."""
        every = hashlib.sha256()
        for digest in self._numbers:
            every.update(digest)
        return every.hexdigest()
