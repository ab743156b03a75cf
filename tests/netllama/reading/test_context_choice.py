"""Which documents are shown, and where: by the key alone, and the answer in every place as often."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.reading.context_choice import FULL_SHARE, choose_context, draws, shuffle

names = st.lists(st.integers(0, 30).map("d{}".format), max_size=9, unique=True)


@given(st.text(max_size=9), st.sampled_from(["", "right"]), names, st.integers(1, 6))
def test_the_document_with_the_answer_is_shown_with_the_first_distractors(
    key: str, golden: str, distractors: list[str], most: int
) -> None:
    shown = choose_context(key, golden, distractors, most)
    assert choose_context(key, golden, distractors, most) == shown
    assert shown.count("right") == bool(golden)
    others = [name for name in shown if name != golden]
    assert sorted(others) == sorted(distractors[: len(others)])
    assert len(shown) <= most
    assert shown or not (golden or distractors)


@pytest.mark.parametrize("most", [1, 3, 4])
def test_numbers_and_places_are_as_frequent_as_they_are_said_to_be(most: int) -> None:
    drawn = [choose_context(str(key), "right", ["a", "b", "c", "d"], most) for key in range(4000)]
    sizes = Counter(map(len, drawn))
    fewer = (1 - FULL_SHARE) / most
    for size in range(1, most + 1):
        assert sizes[size] / 4000 == pytest.approx(fewer + FULL_SHARE * (size == most), abs=0.03)
    places = Counter(shown.index("right") for shown in drawn if len(shown) == most)
    for place in range(most):
        assert places[place] / sizes[most] == pytest.approx(1 / most, abs=0.04)


def test_a_share_of_the_keys_is_drawn() -> None:
    for share in (0.0, 0.3, 1.0):
        assert sum(draws(str(key), share) for key in range(4000)) / 4000 == pytest.approx(share, abs=0.03)
    assert not any(draws(str(key), 0.0) for key in range(99))
    assert all(draws(str(key), 1.0) for key in range(99))
    assert all(draws(str(key), 0.7) for key in range(99) if draws(str(key), 0.3)), (
        "a larger share has the smaller one's"
    )


@given(st.text(max_size=9), names)
def test_documents_are_shuffled_by_the_key(key: str, documents: list[str]) -> None:
    assert sorted(shuffle(key, documents)) == sorted(documents)
    assert shuffle(key, documents) == shuffle(key, documents)
