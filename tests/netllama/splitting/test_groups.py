"""Rows to sides against plain loops and Google's rouge-score: whole groups, old rows where they were, exact quotas."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from netllama.contamination.common_text import CommonText
from netllama.contamination.compared_texts import join_texts
from netllama.contamination.normalisation import list_words
from netllama.core.records import Instruction
from netllama.splitting.drops import Origin
from netllama.splitting.groups import Assignment, assign_sides, choose_side, draw_place, set_ranges, share_out
from netllama.splitting.neighbours import IndexedRows
from netllama.splitting.pool_rows import PoolRow
from netllama.splitting.split_report import warn_of_sizes
from tests.support import given_away

NGRAM = 13
WORDS = [
    f"{a}{b}" for a in ("bgp", "hold", "peer", "route", "path", "origin", "next", "flap") for b in "abcdefghijklmnop"
]


def row(text: str, number: int, family: str = "bgp", source: Any = "generated", **extra: Any) -> Instruction:
    return Instruction(
        id=f"{family}-{number:05d}",
        family=family,
        source=source,
        instruction=text,
        input="",
        output="done",
        **extra,
    )


def distinct_rows(number: int, family: str = "bgp", seed: int = 0) -> list[Instruction]:
    """Texts of 12 words drawn from 128: no two are near-duplicates."""
    draw = random.Random(f"{seed}/{family}")
    return [row(" ".join(draw.sample(WORDS, 12)), index, family) for index in range(number)]


def split(
    rows: Sequence[Instruction],
    threshold: float = 0.7,
    val: float = 0.25,
    test: float = 0.25,
    seed: int = 1,
) -> Assignment:
    pool, common = [*map(PoolRow, rows)], CommonText(rows, NGRAM)
    neighbours = IndexedRows([common.state_own(each) for each in rows], threshold)
    return assign_sides(pool, common, neighbours, set_ranges(rows, val, test, seed), seed)


def sides(found: Assignment) -> dict[str, str]:
    return {row.id: name for name, rows in found.sides.items() for row in rows}


def score(one: Instruction, other: Instruction) -> float:
    return given_away.score(join_texts(one), join_texts(other))


def list_passages(row: Instruction) -> set[tuple[str, ...]]:
    words = list_words(join_texts(row))
    return {tuple(words[start : start + NGRAM]) for start in range(len(words) - NGRAM + 1)}


def share_passage(one: Instruction, other: Instruction) -> bool:
    first, second = list_passages(one), list_passages(other)
    return bool(first and second) and len(first & second) / min(len(first), len(second)) >= 0.5


def slow_place(seed: int, family: str, row_id: str) -> float:
    return int(hashlib.sha256(f"{seed}/{family}/{row_id}".encode()).hexdigest(), 16) / 2**256


def slowly(
    rows: Sequence[Instruction],
    threshold: float,
    val: float,
    test: float,
    seed: int,
) -> tuple[dict[str, str], set[frozenset[str]], list[str]]:
    """The rule as it is told, row by row and pair by pair, for sizes that are shares."""
    side: dict[str, str] = {}
    groups: list[set[str]] = []
    dropped = []
    for number, current in enumerate(rows):
        earlier = [other for other in rows[:number] if other.id in side]
        near = {
            other.id for other in earlier if score(current, other) >= threshold - 1e-9 or share_passage(current, other)
        }
        found = {side[other] for other in near}
        if len(found) > 1:
            dropped.append(current.id)
            continue
        standing = slow_place(seed, current.family, current.id)
        own = "test" if standing < test else "val" if standing < test + val else "train"
        side[current.id] = found.pop() if found else own
        joined = [group for group in groups if group & near]
        groups = [group for group in groups if not group & near] + [{current.id}.union(*joined)]
    return side, {frozenset(group) for group in groups}, dropped


VOCABULARY = ["BGP", "bgp", "Hold", "peer,", "route-map", "é", "AS1", "10.0.0.1", "7", "路由", "маршрут", "\n"]
TEXT = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=9).map(" ".join).filter(str.strip)
TEXTS = st.lists(TEXT, min_size=3, max_size=14)
THRESHOLDS = st.sampled_from([0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 1.0])


def of_texts(texts: Sequence[str], start: int = 0) -> list[Instruction]:
    return [row(text, start + index, ("a", "b")[index % 2]) for index, text in enumerate(texts)]


@given(texts=TEXTS, threshold=THRESHOLDS, seed=st.integers(0, 5), shares=st.sampled_from([(0.3, 0.3), (0.0, 0.5)]))
@example(  # not near, but one passage is in both: thirteen words, in which the address is four and `route-map` two
    texts=["BGP", "BGP 10.0.0.1 BGP route-map route-map 10.0.0.1", "10.0.0.1 BGP route-map route-map 10.0.0.1"],
    threshold=1.0,
    seed=0,
    shares=(0.0, 0.5),
)
def test_sides_groups_and_drops_are_those_of_a_plain_loop(
    texts: list[str], threshold: float, seed: int, shares: tuple[float, float]
) -> None:
    rows = of_texts(texts)
    found = split(rows, threshold, *shares, seed)
    side, groups, dropped = slowly(rows, threshold, *shares, seed)
    assert sides(found) == side
    assert {frozenset(group) for group in found.groups.values()} == groups
    assert [drop.id for drop in found.drops] == dropped
    # No near pair is on two sides, each group is on one, and each row is kept or dropped once.
    kept = [r for r in rows if r.id in side]
    pairs = [(r, o) for r in kept for o in kept if r.id < o.id and score(r, o) >= threshold - 1e-9]
    assert all(side[r.id] == side[o.id] for r, o in pairs)
    assert all(len({side[name] for name in group}) == 1 for group in found.groups.values())
    assert sorted([*side, *dropped]) == sorted(r.id for r in rows)


@given(old=TEXTS, new=TEXTS, threshold=THRESHOLDS, seed=st.integers(0, 3))
def test_appended_rows_never_move_an_old_one(old: list[str], new: list[str], threshold: float, seed: int) -> None:
    rows = of_texts(old)
    before, after = split(rows, threshold, seed=seed), split([*rows, *of_texts(new, 100)], threshold, seed=seed)
    ids = {r.id for r in rows}
    assert sides(before) == {name: side for name, side in sides(after).items() if name in ids}
    assert before.drops == [drop for drop in after.drops if drop.id in ids]


@given(texts=TEXTS, threshold=THRESHOLDS, where=st.lists(st.integers(0, 100), min_size=1, max_size=8))
def test_unrelated_rows_inserted_anywhere_never_move_any(texts: list[str], threshold: float, where: list[int]) -> None:
    rows = of_texts(texts)
    more = list(rows)
    for number, at in enumerate(where):
        stranger = row(" ".join(f"new{number}word{word}" for word in "abcdefghijkl"), 500 + number)
        more.insert(at % (len(more) + 1), stranger)
    before, after = split(rows, threshold), split(more, threshold)
    assert sides(before).items() <= sides(after).items()
    assert before.drops == after.drops


def test_a_twin_hundreds_of_rows_away_is_on_the_same_side() -> None:
    rows = distinct_rows(600)
    twins = [row(f"{rows[i].instruction} again", 1000 + i) for i in range(40)]
    side = sides(split([*rows, *twins]))
    pairs = [(rows[i].id, twins[i].id) for i in range(40)]
    assert all(side[left] == side[right] for left, right in pairs)
    assert {side[left] for left, _ in pairs} == {"train", "val", "test"}


def test_a_pair_exactly_at_the_threshold_stays_together() -> None:
    # 7 of 10 words in common, in order: ROUGE-L F1 = 0.7.
    same = "a b c d e f"
    rows = [row(f"{same} g h i", 1), row(f"{same} x y z", 2)]
    assert len(split(rows, 0.7).groups) == 1
    assert len(split(rows, 0.71).groups) == 2
    rows = [row("a b", 1), row("a b c d", 2)]  # with the output 3 in common of 3 and 5: rounded to just below 0.75
    assert score(*rows) < 0.75
    assert len(split(rows, 0.75).groups) == 1


def on_two_sides(seed: int = 1) -> tuple[Instruction, Instruction]:
    """Two rows that are not near, one in train and one in test."""
    texts = ("a b c d e f g h", "u v c d e f x y")
    for number in range(1000):
        one, other = row(texts[0], number), row(texts[1], number + 1)
        found = sides(split([one, other], seed=seed))
        if (found[one.id], found[other.id]) == ("train", "test"):
            return one, other
    raise AssertionError


def test_a_chain_of_similar_rows_is_one_group_if_its_ends_are_on_one_side() -> None:
    ends = [row("a b c d e f g h", 1), row("u v c d e f x y", 2)]
    middle = row("a b c d e f x y", 3)
    everything_in_train = split([*ends, middle], val=0.0, test=0.0)
    assert list(everything_in_train.groups.values()) == [[r.id for r in (*ends, middle)]]


def test_a_row_between_two_sides_is_dropped_with_both_ids() -> None:
    one, other = on_two_sides()
    between = row("a b c d e f x y", 5000)
    found = split([one, other, between])
    (drop,) = found.drops
    assert (drop.id, drop.reason, set(drop.of)) == (between.id, "two_sides", {one.id, other.id})
    assert drop.detail == f"near to {one.id} in train (0.78) and near to {other.id} in test (0.78)"
    # It is gone: what is near to it alone is free.
    assert sides(split([one, other, between, row("a b z z x y", 6000)])).keys() == {one.id, other.id, "bgp-06000"}


def test_thousands_of_rows_that_differ_in_their_numbers_only_are_one_group() -> None:
    rows = [row(f"How many addresses has 10.{i // 250}.{i % 250}.0/{8 + i % 17}?", i) for i in range(3000)]
    found = split(rows)
    assert len(found.groups) == 1
    assert sorted(len(side) for side in found.sides.values()) == [0, 0, 3000]


def test_a_dropped_row_names_the_closest_row_of_each_side_and_the_closest_of_all_first() -> None:
    one, other = on_two_sides()
    closer, between = row("a b c d e f x h", 4000), row("a b c d e f x y", 5000)
    (drop,) = split([one, other, closer, between]).drops
    assert drop.detail == f"near to {closer.id} in train (0.89) and near to {other.id} in test (0.78)"


def test_the_drop_of_a_foreign_row_says_where_it_stands() -> None:
    one, other = on_two_sides()
    origin = Origin("mine.jsonl", "line", 7)
    rows = [PoolRow(one), PoolRow(other), PoolRow(row("a b c d e f x y", 5000), origin)]
    tasks = [each.task for each in rows]
    common = CommonText(tasks, 13)
    neighbours = IndexedRows([common.state_own(task) for task in tasks], 0.7)
    (drop,) = assign_sides(rows, common, neighbours, set_ranges(tasks, 0.25, 0.25, 1), 1).drops
    assert drop.origin == origin


@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 30), min_size=1),
    sizes=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    seed=st.integers(),
)
def test_counts_are_exact_and_stratified_when_all_rows_are_distinct(
    counts: dict[str, int], sizes: tuple[int, int], seed: int
) -> None:
    total = sum(counts.values())
    test = sizes[0] * (total - 1) // 100
    val = sizes[1] * (total - 1 - test) // 100
    rows = [row("x", number, family) for family, size in counts.items() for number in range(size)]
    ranges = set_ranges(rows, val, test, seed)
    held = Counter((choose_side(r, ranges, seed), r.family) for r in rows)
    in_all = Counter(choose_side(r, ranges, seed) for r in rows)
    assert (in_all["val"], in_all["test"]) == (val, test)
    for name, wanted, slack in (("test", test, 1), ("val", val, 2)):
        for family, size in counts.items():
            assert abs(held[name, family] - wanted * size / total) < slack


def test_a_share_and_a_count_go_together() -> None:
    rows = distinct_rows(400)
    by_share = Counter(sides(split(rows, val=0.1, test=0.2)).values())
    for val, test in ((40, 0.2), (0.1, 80)):
        sizes = Counter(sides(split(rows, val=val, test=test)).values())
        assert sizes["val"] == 40 if val == 40 else sizes["test"] == 80
        assert all(abs(sizes[name] - by_share[name]) < 30 for name in ("train", "val", "test"))
    assert split(rows, val=0, test=0).sides["train"] == rows
    assert sides(split(rows, val=0.1, test=0)) == sides(split(rows, val=0.1, test=0.0))


def test_a_share_is_held_in_each_family_but_for_chance() -> None:
    rows = [*distinct_rows(1000, "a"), *distinct_rows(1000, "b")]
    ranges = set_ranges(rows, 0.1, 0.2, 42)
    held = Counter((r.family, choose_side(r, ranges, 42)) for r in rows)
    for family in ("a", "b"):  # five standard deviations
        assert abs(held[family, "test"] - 200) < 64
        assert abs(held[family, "val"] - 100) < 48


def test_with_counts_a_few_old_rows_move_when_rows_are_added() -> None:
    old = distinct_rows(400)
    new = [row(r.instruction, 9000 + i) for i, r in enumerate(distinct_rows(40, seed=7))]
    before, after = sides(split(old, val=40, test=60)), sides(split([*new, *old], val=40, test=60))
    assert 0.9 * len(old) < sum(before[r.id] == after[r.id] for r in old) < len(old)


def test_another_seed_is_another_split() -> None:
    rows = distinct_rows(400)
    one, other = sides(split(rows, seed=42)), sides(split(rows, seed=43))
    assert sum(one[r.id] == other[r.id] for r in rows) < 0.8 * len(rows)


@given(counts=st.dictionaries(st.text(max_size=3), st.integers(1, 50), min_size=1), share=st.integers(0, 100))
def test_a_quota_is_the_proportional_share_rounded_up_or_down(counts: dict[str, int], share: int) -> None:
    rows = sum(counts.values())
    total = rows * share // 100
    shared = share_out(total, counts)
    assert sum(shared.values()) == total
    assert all(abs(shared[name] - total * count / rows) < 1 for name, count in counts.items())
    assert all(shared[name] <= count for name, count in counts.items())


@given(seed=st.integers(), family=st.text(max_size=5), row_id=st.text(max_size=9))
def test_a_place_is_a_fraction_below_one(seed: int, family: str, row_id: str) -> None:
    standing = draw_place(seed, row("x", 1).model_copy(update={"family": family, "id": row_id}))
    assert 0 <= standing < 1
    assert abs(standing - slow_place(seed, family, row_id)) < 1e-15


def test_a_side_that_a_group_makes_too_large_or_that_is_empty_is_told() -> None:
    rows = distinct_rows(20)
    twins = [row(f"{rows[0].instruction} again", 100 + number) for number in range(60)]
    found = split([*rows, *twins], val=0.0, test=0.25)
    big = sides(found)[rows[0].id]
    assert list(warn_of_sizes(found, {"val": 0})) == []
    assert list(warn_of_sizes(found, {big: 5})) == [
        f"warning: {big} has {len(found.sides[big])} rows (5 requested); its largest near-duplicate group starts at "
        f"{rows[0].id} (61 rows)"
    ]
    assert list(warn_of_sizes(found, {"val": 8})) == [
        "warning: val has 0 rows (8 requested); the largest near-duplicate group starts at "
        f"{rows[0].id} (61 rows, in {big})"
    ]
    assert list(warn_of_sizes(found, {big: len(found.sides[big])})) == []
