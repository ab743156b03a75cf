"""What rows have in common against plain loops, what of it is taken away, and where numbers are the task."""

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.contamination import text_workers
from netllama.contamination.common_text import MANY, CommonText, OwnRuns, RunTable, hash_distinct_runs
from netllama.core.records import Instruction
from tests.support.generated_sets import make_prose
from tests.support.given_away import make_row, score

TOKENS = st.lists(st.sampled_from("abc"), max_size=9)
TEXTS = st.lists(TOKENS, min_size=1, max_size=12)


def cut(tokens: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1)]


@given(texts=TEXTS, length=st.integers(1, 4), many=st.integers(2, 4))
def test_common_and_own_runs_are_those_of_plain_loops(texts: list[list[str]], length: int, many: int) -> None:
    table = RunTable(length, many)
    for text in texts:
        table.add(hash_distinct_runs([text[:4], text[4:]], length))
    table.close()
    numbers = Counter(run for text in texts for run in {*cut(text[:4], length), *cut(text[4:], length)})
    for text in texts:
        runs = cut(text, length)
        common = {place for place, run in enumerate(runs) if numbers[run] >= many}
        covered = [any(place - length < start <= place for start in common) for place in range(len(text))]
        assert table.mark_common(text).tolist() == covered
        own = {run for start, run in enumerate(runs) if not any(covered[start : start + length])}
        found = table.find_own(text)
        assert found.number == len(own)
        assert len(set(found.shared)) == len(found.shared) == sum(numbers[run] > 1 for run in own)


def make_rows(number: int, opening: str = "", ending: str = "", seed: int = 1) -> list[Instruction]:
    draw = random.Random(seed)
    return [
        make_row(f"{opening} {make_prose(draw, 6)}", "", f"{make_prose(draw, 30)} {ending}".strip(), f"r-{place}")
        for place in range(number)
    ]


OPENING = make_prose(random.Random(9), 60)


@pytest.mark.parametrize(("opening", "ending"), [(OPENING, ""), ("", OPENING), (OPENING, OPENING)])
def test_what_many_rows_share_is_one_token_and_makes_no_two_of_them_near(opening: str, ending: str) -> None:
    rows = make_rows(MANY, opening, ending)
    common = CommonText(rows, 13)
    stated = [common.state_own(row) for row in rows]
    assert {len(text.split()) for text in stated} == {6 + 30 + bool(opening) + bool(ending)}
    assert max(score(one, other) for one in stated for other in stated if one != other) < 0.3
    assert all(not common.find_runs(row).shared for row in rows)


def test_what_fewer_rows_share_is_theirs() -> None:
    rows = make_rows(MANY - 1, OPENING)
    common = CommonText(rows, 13)
    assert all(OPENING in common.state_own(row) for row in rows)
    assert all(len(common.find_runs(row).shared) == 60 - 12 for row in rows)


def test_of_a_large_pool_many_is_a_share() -> None:
    shared = make_rows(MANY, OPENING)
    more = make_rows(50 * MANY, seed=2)
    assert OPENING in CommonText([*shared, *more], 13).state_own(shared[0])
    assert OPENING not in CommonText([*shared, *more[: 49 * MANY]], 13).state_own(shared[0])


def test_rows_that_differ_in_their_numbers_only_count_once() -> None:
    rows = [make_row(f"Route {number} how?", "", OPENING) for number in range(3 * MANY)]
    assert OPENING in CommonText(rows, 13).state_own(rows[0])


def test_an_answer_that_is_common_but_for_a_word_is_compared_whole() -> None:
    rows = [make_row(f"Write it for c{number}.", "", f"{OPENING} c{number} {OPENING}") for number in range(2 * MANY)]
    common = CommonText(rows, 13)
    assert score(common.state_own(rows[0]), common.state_own(rows[1])) > 0.9


# --- numbers


def make_windows(number: int, answers: Sequence[str], seed: int = 3) -> list[Instruction]:
    draw = random.Random(seed)
    return [
        make_row(
            "Is this window of counters unusual?",
            " | ".join(f"{name}: {draw.randint(0, 999)}" for name in ("announced", "withdrawn")),
            answers[place % len(answers)],
            f"w-{place}",
        )
        for place in range(number)
    ]


def list_distinct(rows: Sequence[Instruction]) -> int:
    """The number of different texts that the rows are compared by."""
    common = CommonText(rows, 13)
    return len({common.state_own(row) for row in rows})


def test_where_answers_differ_the_numbers_of_a_template_are_the_task() -> None:
    rows = make_windows(MANY, ["Yes.", "No.", "No."])
    assert list_distinct(rows) == MANY
    again = rows[0].model_copy(update={"output": "It is not."})
    common = CommonText([*rows, again], 13)
    assert common.state_own(again) == common.state_own(rows[0]), "the same prompt is the same task"


def test_a_table_with_more_lines_is_the_same_template() -> None:
    rows = [
        row.model_copy(update={"input": "\n".join([row.input] * (1 + place % 3))})
        for place, row in enumerate(make_windows(MANY, ["Yes.", "No."]))
    ]
    assert list_distinct(rows) == MANY


def test_an_answer_that_is_worked_out_differs_and_one_that_copies_does_not() -> None:
    def ask(number: int, answer: str) -> Instruction:
        return make_row(f"Add {number} and {number + 7}.", "", answer)

    summed = [ask(number, str(2 * number + 7)) for number in range(100, 100 + MANY)]
    copied = [ask(number, f"{number} + {number + 7}") for number in range(100, 100 + MANY)]
    assert list_distinct(summed) == MANY
    assert list_distinct(copied) == 1


@pytest.mark.parametrize(
    "rows",
    [
        make_windows(MANY - 1, ["Same answer."]),
        make_windows(4 * MANY, ["Same answer."]),
        [make_row(f"Route {['a', 'b', 'c', 'd', 'e'][place % 5]} how?", "", f"x{place}") for place in range(3 * MANY)],
    ],
)
def test_numbers_are_blotted_out_where_they_are_not_the_task(rows: list[Instruction]) -> None:
    common = CommonText(rows, 13)
    assert not any(common.state_own(row).startswith("prompt") for row in rows)


def test_fewer_than_many_prompts_of_a_template_are_one_task() -> None:
    rows = make_windows(MANY - 1, ["Yes.", "No."])
    assert list_distinct(rows) == 2


def test_texts_do_not_depend_on_the_order_of_the_rows() -> None:
    rows = [*make_rows(MANY, OPENING), *make_windows(MANY, ["Yes.", "No."]), *make_rows(5, seed=8)]
    mixed = random.Random(1).sample(rows, len(rows))
    one, other = CommonText(rows, 13), CommonText(mixed, 13)
    assert [one.state_own(row) for row in rows] == [other.state_own(row) for row in rows]
    assert [one.find_runs(row) for row in rows] == [other.find_runs(row) for row in rows]


def test_a_pool_of_no_rows_has_nothing_in_common() -> None:
    assert CommonText([], 13).state_own(make_row("Why?", "", "So.")) == "why so"


def test_rows_are_read_alike_by_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(120, opening=make_prose(random.Random(5), 15))

    def read() -> tuple[list[str], list[OwnRuns], list[int]]:
        common = CommonText(rows, 4)
        runs = list(common.list_runs(rows))
        held = np.array(sorted({run for own in runs[:3] for run in own.shared}), np.uint64)
        return list(common.list_own(rows)), runs, list(common.list_holders(rows, held))

    alone = read()
    assert any("common" in text for text in alone[0])
    monkeypatch.setattr(text_workers, "TASKS_FOR_WORKERS", 0)
    monkeypatch.setattr(text_workers, "count_cores", lambda: 2)
    assert read() == alone
