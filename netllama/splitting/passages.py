"""Which earlier rows a row shares a passage with: half of the own runs of words of one of them are in the other."""

from collections import Counter

from netllama.contamination.common_text import SHARE, OwnRuns


class PassageIndex:
    """The own runs of the rows added so far, as far as another row of the pool holds them."""

    def __init__(self) -> None:
        self._holders: dict[int, list[int]] = {}
        self._numbers: dict[int, int] = {}
        """Of own runs, by row that shares some."""

    def add(self, row: int, runs: OwnRuns) -> None:
        if runs.shared:
            self._numbers[row] = runs.number
        for run in runs.shared:
            self._holders.setdefault(run, []).append(row)

    def find_matches(self, runs: OwnRuns) -> list[tuple[int, float]]:
        """(row, share of the runs of the one of the two of which more is in the other) from SHARE on, by row."""
        found = Counter(row for run in runs.shared for row in self._holders.get(run, ()))
        shares = ((row, number / min(runs.number, self._numbers[row])) for row, number in sorted(found.items()))
        return [(row, share) for row, share in shares if share >= SHARE]
