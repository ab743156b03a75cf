"""Two tuned models beside each other: only what both were asked counts, and what differs besides is said."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from netllama.comparing.model_answers import RecordedAnswers
from netllama.comparing.side_by_side import compare_models
from netllama.core.errors import StageError
from netllama.scoring.comparison import compare_groups, group_pairs, pair_scores
from netllama.scoring.score import Score
from tests.support.report_files import make_score, make_scores


def make_side(name: str, tuned: list[Score], base: list[Score]) -> RecordedAnswers:
    weights, params, code = {"model.safetensors": "a"}, {"evaluate.num_open": 24}, {"netllama/scoring": "1"}
    return RecordedAnswers(name, base, tuned, "tiny", weights, documents={}, params=dict(params), code=code)


@pytest.fixture(scope="module")
def sides() -> tuple[RecordedAnswers, RecordedAnswers]:
    """One that is as good as the base, by luck, and one that is better."""
    random = Random(1)
    base, plain, tuned = (make_scores(side, random) for side in ("base", "base", "tuned"))
    return make_side("plain", plain, base), make_side("this", tuned, base)


def test_each_pair_of_models_is_compared_as_base_and_tuned_are(sides: tuple[RecordedAnswers, RecordedAnswers]) -> None:
    plain, this = sides
    found = compare_models(plain, this)
    assert [each.between for each in found.suites] == compare_groups(group_pairs(pair_scores(plain.tuned, this.tuned)))
    for own, side in (([each.other for each in found.suites], plain), ([each.this for each in found.suites], this)):
        assert own == compare_groups(group_pairs(pair_scores(side.base, side.tuned)))
    words = {each.between.suite: each.between.verdict for each in found.suites}
    assert words["loss on held-out answers"] == "better"
    assert words["true/false questions"] == "inconclusive"
    assert found.remarks == []


def test_what_only_one_was_asked_and_what_has_another_answer_now_is_left_out_and_counted(
    sides: tuple[RecordedAnswers, RecordedAnswers],
) -> None:
    plain, this = sides
    less = replace(this, tuned=[*this.tuned[3:-1], make_score("q-new", "choice", 1.0)])
    moved = [score.model_copy(update={"expected": "32 octets"}) for score in plain.tuned[3:5]]
    found = compare_models(replace(plain, tuned=[*plain.tuned[:3], *moved, *plain.tuned[5:]]), less)
    assert found.remarks == [
        "4 answers of plain alone are left out.",
        "1 answer of this alone is left out.",
        "2 answers to questions whose right answer is not the same are left out.",
    ]
    by_suite = {each.between.suite: each for each in found.suites}
    for name, items in (("four-choice questions", 55), ("loss on held-out answers", 39)):
        assert by_suite[name].between.items == items
        assert by_suite[name].this.items == items  # type: ignore[union-attr]
    kept = [score for score in less.tuned if score.kind == "choice" and score.family != "general"][2:-1]
    assert by_suite["four-choice questions"].between.tuned.value == pytest.approx(np.mean([s.value for s in kept]))


def test_other_documents_params_code_and_bases_are_named(sides: tuple[RecordedAnswers, RecordedAnswers]) -> None:
    plain, this = sides
    report = make_score("r1", "report", 1.0, arm="retrieved", measures={"refused": 0.0})
    asked = [replace(side, tuned=[*side.tuned, report], base=[*side.base, report]) for side in sides]
    other = replace(
        asked[0],
        documents={("retrieved", "r1"): ["a", "b"]},
        params={"evaluate.num_open": 24, "prompt.template": "alpaca"},
        code={"netllama/scoring": "2"},
        model="small",
        weights={"model.safetensors": "c"},
    )
    found = compare_models(other, replace(asked[1], documents={("retrieved", "r1"): ["b", "a"]}))
    assert found.remarks == [
        "The two were shown other documents in 1 of 1 answers.",
        "They were evaluated with other params: prompt.template alpaca and (not there).",
        "They were evaluated by other code: netllama/scoring.",
        "Their base models differ: small and tiny.",
    ]
    assert all(each.other is None and each.this is None for each in found.suites)
    renamed = replace(plain, model="a folder with the same weights", remarks=["plain is old."])
    assert compare_models(renamed, this).remarks == ["plain is old."]


def test_what_is_not_known_of_a_state_is_said(sides: tuple[RecordedAnswers, RecordedAnswers]) -> None:
    report = make_score("r1", "report", 1.0, arm="retrieved", measures={"refused": 0.0})
    plain, this = (replace(side, tuned=[*side.tuned, report], base=[*side.base, report]) for side in sides)
    assert compare_models(replace(plain, documents=None, params=None, code=None), this).remarks == [
        "It is not known whether both were shown the same documents.",
        "It is not known whether both were evaluated with the same params and code.",
    ]


def test_answers_of_the_same_base_that_differ_are_counted(sides: tuple[RecordedAnswers, RecordedAnswers]) -> None:
    plain, this = sides
    moved = [score.model_copy(update={"value": 1 - score.value}) for score in this.base[:2]]
    other = replace(this, base=[*moved, *this.base[2:]])
    assert compare_models(plain, other).remarks == ["2 answers of the base are not the same for both."]


def test_the_same_answers_are_said_to_be_the_same_and_none_in_common_is_an_error(
    sides: tuple[RecordedAnswers, RecordedAnswers],
) -> None:
    plain, this = sides
    same = compare_models(this, this)
    assert same.remarks == [f"The two gave the same answers ({len(this.tuned)})."]
    assert {each.between.verdict for each in same.suites} == {"inconclusive"}
    alone = replace(plain, tuned=[make_score("q-new", "choice", 1.0)])
    with pytest.raises(StageError, match="plain and this were asked no question in common"):
        compare_models(alone, this)
