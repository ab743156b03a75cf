"""Reciprocal rank fusion: by the formula, the same for any order of rankings, ties by id."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from netllama.retrieval.fusion import fuse_rankings
from netllama.retrieval.hits import Hit

TEXTS = [f"note#{number}" for number in range(12)]
ranking = st.permutations(TEXTS).flatmap(lambda order: st.integers(0, 12).map(lambda number: order[:number]))


def make_hits(names: list[str]) -> list[Hit]:
    return [Hit(name, TEXTS.index(name), 100.0 - rank) for rank, name in enumerate(names)]


def test_a_text_that_two_rankings_hold_comes_before_the_first_of_one() -> None:
    words, meanings = make_hits(["note#1", "note#2"]), make_hits(["note#3", "note#2"])
    fused = fuse_rankings([words, meanings], 3)
    assert [hit.id for hit in fused] == ["note#2", "note#1", "note#3"]
    assert fused[0] == Hit("note#2", 2, 1 / 62 + 1 / 62)


@given(st.lists(ranking, max_size=4), st.integers(0, 15))
def test_the_score_is_the_sum_of_the_reciprocals(listed: list[list[str]], k: int) -> None:
    fused = fuse_rankings([make_hits(names) for names in listed], k)
    exact = {
        text: sum((Fraction(1) / (60 + names.index(text) + 1) for names in listed if text in names), Fraction(0))
        for text in {name for names in listed for name in names}
    }
    best = sorted(exact, key=lambda text: (-exact[text], text))[:k]
    assert [hit.id for hit in fused] == best
    assert all(abs(Fraction(hit.score) - exact[hit.id]) < Fraction(1, 10**15) for hit in fused)
    assert fuse_rankings([make_hits(names) for names in reversed(listed)], k) == fused
