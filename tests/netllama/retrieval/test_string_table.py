"""Strings in two arrays are what they were, and are found where they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.retrieval.string_table import StringTable

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(st.sets(texts), texts)
def test_a_sorted_table_finds_what_it_holds_and_nothing_else(strings: set[str], other: str) -> None:
    ordered = sorted(strings)
    table = StringTable.pack(ordered)
    assert [table.read(place) for place in range(len(table))] == ordered
    assert [table.find(string) for string in ordered] == list(range(len(ordered)))
    assert table.find(other) == (ordered.index(other) if other in strings else None)


def test_a_place_outside_the_table_is_an_error() -> None:
    table = StringTable.pack(["a", "β"])
    for place in (-1, 2):
        with pytest.raises(IndexError):
            table.read(place)
