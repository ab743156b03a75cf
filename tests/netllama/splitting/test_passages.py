"""Passages that rows share against a plain loop over sets."""

from hypothesis import given
from hypothesis import strategies as st

from netllama.contamination.common_text import OwnRuns
from netllama.splitting.passages import PassageIndex

ROWS = st.lists(st.tuples(st.integers(0, 3), st.sets(st.integers(0, 6), max_size=5)), max_size=9)


@given(rows=ROWS)
def test_matches_are_the_rows_of_which_half_is_in_the_other(rows: list[tuple[int, set[int]]]) -> None:
    index = PassageIndex()
    for current, (unshared, runs) in enumerate(rows):
        own = OwnRuns(unshared + len(runs), sorted(runs))
        expected = []
        for earlier, (more, others) in enumerate(rows[:current]):
            both = len(runs & others)
            if both and both / min(unshared + len(runs), more + len(others)) >= 0.5:
                expected.append((earlier, both / min(unshared + len(runs), more + len(others))))
        assert index.find_matches(own) == expected
        index.add(current, own)
