"""Pairs that were found beforehand give the groups, sides and drops that the index gives; parts add up to the whole."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.synthetic_pool import make_pool
from netllama.contamination.common_text import CommonText
from netllama.core.records import Instruction
from netllama.novelty import near_pairs, unit_search
from netllama.novelty.distinct_texts import DistinctTexts
from netllama.novelty.minhash import UNITS
from netllama.novelty.near_pairs import NearPairs, PairSearch
from netllama.novelty.rouge import TOLERANCE, compute_rouge_l
from netllama.splitting.groups import Assignment, assign_sides, set_ranges
from netllama.splitting.near_rows import StoredSearch, find_neighbours, share_units
from netllama.splitting.neighbours import IndexedRows, Neighbours, PairedRows
from netllama.splitting.pool_rows import PoolRow

VOCABULARY = ["BGP", "Hold", "peer", "route-map", "AS1", "10.0.0.1", "7", "路由", "!"]
TEXTS = st.lists(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=9).map(" ".join), min_size=3, max_size=14)


def make_rows(texts: Sequence[str]) -> list[Instruction]:
    return [
        Instruction(id=f"r-{number:03d}", family="bgp", source="generated", instruction=text, input="", output="…")
        for number, text in enumerate(texts)
    ]


def pair_by_hand(rows: Sequence[Instruction], common: CommonText, threshold: float) -> PairedRows:
    """From all pairs of distinct texts, scored one by one."""
    numbered = DistinctTexts()
    texts = [" ".join(tokens) for tokens in numbered.number_texts(map(common.state_own, rows))]
    scored = [(i, j, compute_rouge_l(texts[i], texts[j])) for i, j in combinations(range(len(texts)), 2)]
    near = [pair for pair in scored if pair[2] >= threshold - TOLERANCE]
    columns = [np.array([pair[place] for pair in near]) for place in range(3)]
    return PairedRows(numbered, NearPairs(columns[0].astype(int), columns[1].astype(int), columns[2].astype(float)))


def assign(rows: Sequence[Instruction], common: CommonText, neighbours: Neighbours, seed: int) -> Assignment:
    return assign_sides([*map(PoolRow, rows)], common, neighbours, set_ranges(rows, 0.3, 0.3, seed), seed)


@given(texts=TEXTS, threshold=st.sampled_from([0.4, 0.6, 0.7, 0.75, 1.0]), seed=st.integers(0, 5))
def test_pairs_give_what_the_index_gives(texts: list[str], threshold: float, seed: int) -> None:
    rows = make_rows(texts)
    common = CommonText(rows, 13)
    indexed = IndexedRows([common.state_own(row) for row in rows], threshold)
    found = assign(rows, common, pair_by_hand(rows, common, threshold), seed)
    assert found == assign(rows, common, indexed, seed)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> list[PoolRow]:
    """400 rows with near-duplicates, which count as a large pool."""
    monkeypatch.setattr(near_pairs, "EXACT_ROWS", 399)
    return list(map(PoolRow, make_pool(400, seed=8, planted=0.4)))


def list_matches(neighbours: Neighbours, rows: int) -> list[list[tuple[int, float]]]:
    """Of each row, when all rows before it have been added."""
    listed = []
    for row in range(rows):
        listed.append(sorted(neighbours.find_matches(row)))
        neighbours.add(row)
    return listed


def refuse_to_search(*_: object) -> NearPairs:
    raise AssertionError


def test_a_large_pool_has_the_neighbours_that_the_index_finds(pool: list[PoolRow], tmp_path: Path) -> None:
    common = CommonText([row.task for row in pool], 13)
    indexed = IndexedRows([common.state_own(row.task) for row in pool], 0.7)
    expected = list_matches(indexed, len(pool))
    assert sum(map(bool, expected)) > 100
    assert list_matches(find_neighbours(pool, common, 0.7, tmp_path), len(pool)) == expected
    assert isinstance(find_neighbours(pool[:399], common, 0.7, tmp_path), IndexedRows)


def test_a_damaged_unit_is_searched_again(pool: list[PoolRow], tmp_path: Path) -> None:
    common = CommonText([row.task for row in pool], 13)
    search = StoredSearch(pool, common, 0.7, tmp_path)
    unit, before = next((unit, pairs) for unit, pairs in enumerate(search.find(range(UNITS))) if len(pairs.first) > 1)
    for place in (search.folder / f"unit-{unit:02d}").iterdir():
        for damage in (flip_last_bit, lambda whole: whole[: len(whole) // 2], lambda whole: b""):
            place.write_bytes(damage(place.read_bytes()))
            assert all(map(np.array_equal, search.find([unit])[0], before))


def flip_last_bit(whole: bytes) -> bytes:
    return whole[:-1] + bytes([whole[-1] ^ 1])


@pytest.mark.parametrize("shards", [1, 3, 16])
def test_shards_together_are_one_process(
    pool: list[PoolRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    common = CommonText([row.task for row in pool], 13)
    alone = list_matches(find_neighbours(pool, common, 0.7, tmp_path / "alone"), len(pool))
    units = [unit for shard in range(1, shards + 1) for unit in share_units(shard, shards)]
    assert sorted(units) == list(range(UNITS))
    for shard in range(shards, 0, -1):
        StoredSearch(pool, common, 0.7, tmp_path / "shared").find(share_units(shard, shards))
    monkeypatch.setattr(PairSearch, "find", refuse_to_search)
    assert list_matches(find_neighbours(pool, common, 0.7, tmp_path / "shared"), len(pool)) == alone
    with pytest.raises(AssertionError):  # another threshold, another pool: nothing is there
        StoredSearch(pool, common, 0.75, tmp_path / "shared").find([0])
    with pytest.raises(AssertionError):
        StoredSearch(pool[1:], common, 0.7, tmp_path / "shared").find([0])


def test_processes_that_share_the_texts_find_the_same_pairs_and_leave_no_file_of_them(
    pool: list[PoolRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = CommonText([row.task for row in pool], 13)
    alone = list_matches(find_neighbours(pool, common, 0.7, tmp_path / "alone"), len(pool))
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(unit_search, "TEXTS_FOR_WORKERS", 0)
    monkeypatch.setattr(unit_search, "count_cores", lambda: 2)
    assert list_matches(find_neighbours(pool, common, 0.7, shared), len(pool)) == alone
    (kept,) = shared.iterdir()
    assert sorted(unit.name for unit in kept.iterdir()) == [f"unit-{unit:02d}" for unit in range(UNITS)]
