"""Agreement of two raters against the formula of the four-fold table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.statistics.agreement import measure_agreement


@given(pairs=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_kappa_is_that_of_the_four_fold_table(pairs: list[tuple[bool, bool]]) -> None:
    a, b, c, d = (pairs.count(each) for each in ((True, True), (True, False), (False, True), (False, False)))
    found = measure_agreement([one for one, _ in pairs], [other for _, other in pairs])
    below = (a + b) * (b + d) + (a + c) * (c + d)
    assert (found.items, found.share) == (len(pairs), (a + d) / len(pairs))
    if below:
        assert found.kappa == pytest.approx(2 * (a * d - b * c) / below)
    else:
        assert found.kappa is None


def test_cohens_own_bounds() -> None:
    assert measure_agreement([True, False], [True, False]).kappa == 1
    assert measure_agreement([True, False], [False, True]).kappa == -1
    assert measure_agreement([True, True, False, False], [True, False, True, False]).kappa == 0


def test_lists_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="no agreement of 1 verdicts and 2"):
        measure_agreement([True], [True, False])
    with pytest.raises(ValueError, match="no agreement of 0"):
        measure_agreement([], [])
