"""Guesses of a text's next tokens from the text itself, which a model then confirms or corrects in one pass.

Answers repeat: names from the prompt, lines of code, and small models whole sentences. Where the last tokens of a text
stood before, what followed them there is a draft (prompt lookup, a draft without a model for speculative decoding,
arXiv 2211.17192). A step that reads the weights for one token of a row reads them for its drafts as well.
"""

from collections.abc import Sequence

SIZES = (3, 2)
"""Last tokens that must have stood before, the longest run first. Of a single one most drafts are wrong."""
MOST_DRAFTS = 3
"""Tokens of a draft. In written answers of the bundled model a step then gives 1.7 to 2.4 tokens; with 7, 1.9 to 3.2,
for half as many columns again in each product."""


class DraftedText:
    """A text that grows, and what may come next."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}
        """By a run of tokens, the position after its last occurrence that has one."""
        self.extend(ids)

    def extend(self, ids: Sequence[int]) -> None:
        for token in ids:
            for size in SIZES:
                if len(self.ids) >= size:
                    self._followed[tuple(self.ids[-size:])] = len(self.ids)
            self.ids.append(token)

    def draft(self, most: int) -> list[int]:
        """At most `most` tokens; none where the text's end is new. A text that repeats itself is repeated further."""
        for size in SIZES:
            start = self._followed.get(tuple(self.ids[-size:]))
            if start is not None:
                period = len(self.ids) - start
                return [self.ids[start + place % period] for place in range(most)]
        return []


def confirm_draft(draft: Sequence[int], chosen: Sequence[int]) -> list[int]:
    """What a model writes: `chosen` are its tokens after the text, and after each token of the draft.

    A token of the draft counts if the model chose it, too; after the first other one nothing that follows does.
    """
    agreed = 0
    while agreed < len(draft) and draft[agreed] == chosen[agreed]:
        agreed += 1
    return list(chosen[: agreed + 1])
