"""The plan of batches: each row once an epoch, and the same rows at the same step however a step is cut."""

import itertools
import os
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.training import batch_plan as module
from netllama.training.batch_plan import (
    FULL_PIECE,
    PIECE,
    Batch,
    BatchPlan,
    choose_piece,
    count_positions,
    cut_batch,
)
from tests.support.clones import ROOT

QUICK = settings(max_examples=60)
# Of equal rows, all steps but one are equally large.
lengths = st.one_of(
    st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 60).map(lambda number: [7] * number)
)
seeds = st.integers(0, 99)
few = st.integers(1, 4)


def plan(lengths: list[int], **options: Any) -> BatchPlan:
    defaults = {"seed": 1, "rows": 4, "accumulation": 1, "processes": 1, "group_by_length": True}
    return BatchPlan(lengths, **defaults | options)


def rows_of(steps: list[list[Batch]]) -> list[int]:
    return [row for step in steps for batch in step for row in batch]


def lognormal(number: int) -> list[int]:
    """A median of 245 tokens, a tenth of the rows beyond 600."""
    draw = random.Random(0)
    return [max(8, min(1024, round(draw.lognormvariate(5.5, 0.7)))) for _ in range(number)]


@QUICK
@given(lengths, seeds, few, few, few, st.booleans(), few)
def test_an_epoch_has_each_row_once_in_steps_and_batches_of_the_size_asked_for(
    lengths: list[int], seed: int, rows: int, accumulation: int, processes: int, group: bool, runs: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUPED_STEPS", runs)
        made = plan(
            lengths,
            seed=seed,
            rows=rows,
            accumulation=accumulation,
            processes=processes,
            group_by_length=group,
        )
        for epoch in range(2):
            steps = made.epoch(epoch)
            assert sorted(rows_of(steps)) == list(range(len(lengths)))
            assert all(0 < len(step) <= accumulation * processes for step in steps)
            for batch in itertools.chain.from_iterable(steps):
                assert 0 < len(batch) <= rows
            whole = rows * accumulation * processes
            assert sorted(len(rows_of([step])) for step in steps)[1:] == [whole] * (len(steps) - 1)


@QUICK
@given(lengths, seeds, st.booleans(), few)
def test_a_step_has_the_same_rows_however_it_is_cut(lengths: list[int], seed: int, group: bool, runs: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUPED_STEPS", runs)
        cuts = [(8, 1, 1), (4, 2, 1), (2, 4, 1), (1, 8, 1), (4, 1, 2), (2, 2, 2), (1, 1, 8)]
        steps = [
            [
                rows_of([step])
                for step in plan(
                    lengths, seed=seed, rows=rows, accumulation=accumulation, processes=processes, group_by_length=group
                ).epoch(0)
            ]
            for rows, accumulation, processes in cuts
        ]
        assert all(one == steps[0] for one in steps[1:])


@QUICK
@given(lengths, st.integers(1, 120))
def test_pieces_are_the_batch_in_its_order_each_as_long_as_the_budget_allows(lengths: list[int], tokens: int) -> None:
    batch = list(range(len(lengths)))[::-1]
    cut = cut_batch(batch, lengths, tokens)
    assert list(itertools.chain.from_iterable(cut)) == batch
    for piece, following in itertools.zip_longest(cut, cut[1:]):
        assert len(piece) == 1 or count_positions([piece], lengths) <= tokens
        assert following is None or count_positions([[*piece, following[0]]], lengths) > tokens
    assert cut_batch([], lengths, tokens) == []


@pytest.mark.parametrize(("precision", "tokens"), [("bfloat16", PIECE), ("float16", PIECE), ("float32", FULL_PIECE)])
def test_a_piece_in_fp32_has_fewer_tokens(precision: str, tokens: int) -> None:
    import torch

    assert choose_piece(getattr(torch, precision).itemsize) == tokens
    assert FULL_PIECE < PIECE


@QUICK
@given(lengths, seeds, st.booleans())
def test_the_order_is_a_function_of_seed_and_epoch(lengths: list[int], seed: int, group: bool) -> None:
    random.seed(seed)
    first = plan(lengths, seed=seed, group_by_length=group)
    before = [first.epoch(epoch) for epoch in range(3)]
    random.random()
    again = plan(lengths, seed=seed, group_by_length=group)
    assert [again.epoch(epoch) for epoch in (2, 1, 0)] == before[::-1]


@pytest.mark.parametrize("group", [False, True])
def test_another_seed_and_another_epoch_have_another_order(group: bool) -> None:
    made = [
        str(plan(lognormal(40), seed=seed, group_by_length=group).epoch(epoch))
        for seed in range(5)
        for epoch in range(5)
    ]
    assert len(set(made)) == 25


def test_the_order_is_independent_of_pythons_hash_seed() -> None:
    code = (
        "from netllama.training.batch_plan import BatchPlan; "
        "print(BatchPlan([5 + row * 7 % 31 for row in range(50)], 3, 4, 1, 1, True).epoch(1))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert printed == {f"{BatchPlan([5 + row * 7 % 31 for row in range(50)], 3, 4, 1, 1, True).epoch(1)}\n"}


@QUICK
@given(lengths, st.integers(0, 40), st.booleans())
def test_steps_go_on_over_epochs_and_those_skipped_are_those_taken(
    lengths: list[int], skipped: int, group: bool
) -> None:
    made = plan(lengths, group_by_length=group)
    epochs = [made.epoch(epoch) for epoch in range(skipped + 4)]
    expected = list(itertools.chain.from_iterable(epochs))
    steps = made.steps()
    for step in expected[:skipped]:
        assert next(steps) == step
    assert list(itertools.islice(made.steps(), skipped, skipped + 3)) == expected[skipped : skipped + 3]


@QUICK
@given(lengths, seeds, few, few)
def test_grouped_by_length_the_largest_batch_is_in_the_first_step(
    lengths: list[int], seed: int, accumulation: int, runs: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUPED_STEPS", runs)
        steps = plan(lengths, seed=seed, accumulation=accumulation).epoch(0)
        sizes = [max(len(batch) * max(lengths[row] for row in batch) for batch in step) for step in steps]
        assert sizes[0] == max(sizes)


def test_after_the_first_step_lengths_are_in_no_order() -> None:
    """Otherwise training would go from the long rows to the short ones."""
    numbers = lognormal(400)
    longest = [max(numbers[row] for row in rows_of([step])) for step in plan(numbers).epoch(0)[1:]]
    ups = sum(one < other for one, other in itertools.pairwise(longest))
    assert 0.35 < ups / (len(longest) - 1) < 0.65


def padding_share(steps: list[list[Batch]], lengths: list[int]) -> float:
    """Share of the positions of all batches that are padding."""
    padded = sum(count_positions(step, lengths) for step in steps)
    return 1 - sum(lengths[row] for row in rows_of(steps)) / padded


@QUICK
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6))
def test_positions_are_those_of_a_count_one_by_one(batches: list[Batch]) -> None:
    lengths = [3, 9, 1, 4, 4, 17, 2, 8, 30, 6]
    counted = 0
    for batch in batches:
        width = max((lengths[row] for row in batch), default=0)
        for _ in batch:
            for _ in range(width):
                counted += 1
    assert count_positions(batches, lengths) == counted


def test_grouping_by_length_leaves_a_fraction_of_the_padding() -> None:
    """For 400 rows in batches of 4: 40% of all positions are padding in random order, 2% grouped."""
    numbers = lognormal(400)
    drawn, grouped = (padding_share(plan(numbers, group_by_length=group).epoch(0), numbers) for group in (False, True))
    print(f"padding: {drawn:.1%} in random order, {grouped:.1%} grouped by length")
    assert 0.3 < drawn < 0.5
    assert grouped < 0.05
