"""Comparisons without the questions that the training data share text with."""

from dataclasses import asdict

import pytest

from netllama.core.files import JsonObject
from netllama.scoring.clean_items import (
    ALL_HITS,
    NO_HIT,
    NOT_LOOKED_FOR,
    compare_clean,
    describe_clean,
    note_suites,
)
from netllama.scoring.comparison import LADDER, Pair, as_rows, compare_groups, group_pairs
from netllama.scoring.score import Score
from netllama.statistics.verdicts import SuiteComparison


def make_pair(kind: str, number: int, base: float, tuned: float, **measures: float) -> Pair:
    suite = "test" if kind in ("heldout", "generation") else "questions"
    texts = {"answer": "a", "expected": ("True", "False")[number % 2], "explanation": ""}
    both = [
        Score(
            item=f"{kind}-{number}", suite=suite, family="f", kind=kind, cluster="", value=value,
            measures=measures | ({"rung": 2 * value} if kind == "code" else {}), **texts,
        )
        for value in (base, tuned)
    ]  # fmt: skip
    return both[0], both[1]


def make_pairs(kind: str, number: int, **measures: float) -> list[Pair]:
    """Every second one is right in the base, all but every third in the tuned model."""
    return [make_pair(kind, at, float(at % 2), float(at % 3 > 0), **measures) for at in range(number)]


PAIRS = [
    *make_pairs("choice", 40, chance=0.25, longest_option=0.5),
    *make_pairs("true_false", 21, chance=0.5),
    *make_pairs("blank", 12),
    *make_pairs("code", 8),
    *make_pairs("heldout", 9, tokens=3.0),
]


def test_without_a_hit_every_suite_says_so_and_nothing_is_said_twice() -> None:
    clean = compare_clean(PAIRS, ())
    assert clean == {
        "loss on held-out answers": NOT_LOOKED_FOR["test"],
        "four-choice questions": NO_HIT,
        "true/false questions": NO_HIT,
        "blanks": NO_HIT,
        "code questions": NO_HIT,
        LADDER: NO_HIT,
    }
    assert describe_clean(compare_groups(group_pairs(PAIRS)), clean) == "none of them was asked"


def test_a_suite_with_hits_is_that_of_its_other_items_among_all_others() -> None:
    hits = {"choice-0", "choice-3", "code-1", "heldout-2", "not-asked"}
    clean = compare_clean(PAIRS, hits)
    rest = [pair for pair in PAIRS if pair[0].item not in hits - {"heldout-2"}]
    expected = {each.suite: each for each in compare_groups(group_pairs(rest))}
    for suite in ("four-choice questions", "code questions", LADDER):
        assert clean[suite] == expected[suite]
    found = clean["four-choice questions"]
    assert isinstance(found, SuiteComparison)
    left = [pair for pair in PAIRS if pair[0].kind == "choice" and pair[0].item not in hits]
    assert found.items == len(left) == 38
    assert found.difference.value == pytest.approx(sum(tuned.value - base.value for base, tuned in left) / 38)
    assert (clean["blanks"], clean["loss on held-out answers"]) == (NO_HIT, NOT_LOOKED_FOR["test"])


def test_a_suite_of_hits_alone_is_said_to_be_one() -> None:
    clean = compare_clean(PAIRS, {f"blank-{number}" for number in range(12)})
    assert clean["blanks"] == ALL_HITS
    assert clean["four-choice questions"] == NO_HIT
    said = describe_clean(compare_groups(group_pairs(PAIRS)), clean)
    assert said == "without them, tuned - base: blanks none left"


def test_one_clause_sets_the_differences_side_by_side() -> None:
    pairs = [*make_pairs("choice", 4), *make_pairs("blank", 3)]
    clean = compare_clean(pairs, {"choice-2"})
    # All: base 0 1 0 1, tuned 0 1 1 0; without the third: base 0 1 1, tuned 0 1 0.
    assert describe_clean(compare_groups(group_pairs(pairs)), clean) == (
        "without them, tuned - base: four-choice questions -0.333 (with them +0.000)"
    )


def test_the_rows_of_a_comparison_say_what_guessing_gets_and_what_clean_items_get() -> None:
    clean = compare_clean(PAIRS, {"choice-0"})
    rows: dict[str, JsonObject] = {
        row["suite"]: row for row in as_rows(compare_groups(group_pairs(PAIRS)), note_suites(PAIRS, clean))
    }
    assert rows["four-choice questions"]["guessing"] == {"chance": 0.25, "longest_option": 0.5}
    assert rows["true/false questions"]["guessing"] == {"chance": 0.5, "majority": 0.5238}
    assert "guessing" not in rows["blanks"]
    assert rows["blanks"]["clean"] == "no hit"
    found = rows["four-choice questions"]["clean"]
    assert (found["items"], rows["four-choice questions"]["items"]) == (39, 40)
    own = clean["four-choice questions"]
    assert isinstance(own, SuiteComparison)
    assert found.keys() == asdict(own).keys()
    assert found["difference"]["value"] == round(own.difference.value, 4)
