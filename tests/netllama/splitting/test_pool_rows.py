"""Rows that are dropped before the split: exact duplicates, and rows that give a question away."""

import pytest

from netllama.contamination import text_workers
from netllama.splitting.drops import Origin
from netllama.splitting.pool_rows import PoolRow, drop_exact_duplicates, drop_given_away
from tests.support.given_away import LIMITS, make_question, make_row

ASKED = "What value does the Length field of a KEEPALIVE message hold?"
LINE = Origin("mine.jsonl", "line", 7)


def pool(*texts: str) -> list[PoolRow]:
    return [PoolRow(make_row(text, name=f"r-{number}")) for number, text in enumerate(texts)]


def test_of_exact_duplicates_the_earlier_one_stays() -> None:
    rows = pool("Explain  the\nhold timer.", "Another.", "Explain the \u200bhold timer. ")
    kept, drops = drop_exact_duplicates(rows)
    assert kept == rows[:2]
    assert [(drop.id, drop.of) for drop in drops] == [("r-2", ("r-0",))]


def test_rows_that_differ_in_an_operator_or_in_their_script_are_not_duplicates() -> None:
    rows = pool("print(path[0])", "print(path[-1])", "什么是路由器?", "为什么需要它?", "Что такое маршрут?")
    assert drop_exact_duplicates(rows) == (rows, [])


def test_a_row_that_gives_a_question_away_is_dropped_but_a_seed_is_kept_and_reported() -> None:
    seed, copy, other = pool(ASKED, ASKED.upper(), "Explain the hold timer.")
    seed = PoolRow(seed.task.model_copy(update={"source": "seed"}))
    copy = PoolRow(copy.task, LINE)
    screened = drop_given_away([seed, copy, other], [make_question(1, ASKED)], LIMITS)
    assert screened.kept == [seed, other]
    (drop,) = screened.drops
    assert (drop.reason, drop.id, drop.of, drop.origin) == ("near_question", "r-1", ("q-1",), LINE)
    (reported,) = screened.seeds
    assert (reported.side, reported.id, reported.of, reported.of_text) == ("seeds", "r-0", "q-1", ASKED)


def test_rows_are_screened_alike_by_any_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pool(*(ASKED if number % 700 == 650 else f"Explain timer {number}." for number in range(2_100)))
    alone = drop_given_away(rows, [make_question(1, ASKED)], LIMITS)
    assert len(alone.drops) == 3
    monkeypatch.setattr(text_workers, "TASKS_FOR_WORKERS", 0)
    monkeypatch.setattr(text_workers, "count_cores", lambda: 2)
    assert drop_given_away(rows, [make_question(1, ASKED)], LIMITS) == alone
