"""The pool: what a candidate is too much like, and the same verdicts as a loop over rouge-score."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.records import Instruction, Question, SeedTask
from netllama.core.sections import ContaminationParams
from netllama.selfinstruct.candidate_filters import Match
from netllama.selfinstruct.output_contract import Candidate
from netllama.selfinstruct.task_pool import TaskPool, Verdict
from tests.support.families import params, seed
from tests.support.given_away import judge_slowly

NEARNESS = ["duplicate_output", "near_duplicate", "near_question"]
SEED = "Decode this BGP UPDATE and list its path attributes with their values"
FRESH = "Sketch how quokkas would peer over a submarine cable"
ASKED = "Which timer ends a BGP session when no KEEPALIVE arrives in time"
REWORDED = f"{ASKED.removesuffix('time')} a minute"
LONG_ANSWER = "It is the hold timer."
VOCABULARY = ["bgp", "origin", "AS", "path", "MED", "hold", "timer", "peer", "route", "192.0.2.1", "é"]


def question(name: str, text: str) -> Question:
    empty = {"options": [], "aliases": [], "key_facts": [], "reference": "", "cluster": ""}
    return Question(id=name, family="a", kind="open", question=text, answer="x", **empty)


def kept(name: str, instruction: str, output: str) -> Instruction:
    return Instruction(id=name, family="a", instruction=instruction, input="", output=output, source="generated")


def pool(*filters: str, **changes: float) -> TaskPool:
    seeds = [seed("seed-1", instruction=SEED, output="ORIGIN is IGP."), seed("seed-2", instruction="Name the BGP port")]
    questions = [question("question-1", ASKED), question("question-2", "Name the four message types")]
    return make_pool(seeds, questions, enabled=list(filters or NEARNESS), **changes)


def make_pool(seeds: Sequence[SeedTask], questions: Sequence[Question], **changes: Any) -> TaskPool:
    settings = params(**changes)
    return TaskPool("a", seeds, "", Evaluation(questions, settings.contamination), settings.filters)


def judge(pool: TaskPool, instruction: str, output: str = "new", task_input: str = "") -> tuple[str | None, str | None]:
    verdict = pool.judge_candidate(Candidate(instruction, task_input, output))
    return verdict.reason, verdict.nearest[0]


def test_a_near_duplicate_of_a_seed_is_rejected_with_the_seed() -> None:
    assert judge(pool(), f"{SEED} please") == ("near_duplicate", "seed-1")
    assert judge(pool(), SEED.upper()) == ("near_duplicate", "seed-1")


def test_a_near_duplicate_of_a_kept_row_is_rejected_with_the_row() -> None:
    grown = pool()
    assert judge(grown, FRESH)[0] is None
    grown.add(kept("row-1", FRESH, "first"))
    assert judge(grown, f"{FRESH} tonight") == ("near_duplicate", "row-1")


def test_an_output_that_is_there_already_is_rejected_with_its_row_whatever_its_white_space() -> None:
    grown = pool()
    grown.add(kept("row-1", FRESH, "Two lines\n\n  of text."))
    grown.add(kept("row-2", "Something else altogether", "Two lines of text."))
    verdict = grown.judge_candidate(Candidate("Plan a route reflector", "", " Two\tlines of\ntext. "))
    assert verdict == Verdict("duplicate_output", ("row-1", 1.0)), "the earliest that has it"
    assert judge(grown, "Plan a route reflector", "ORIGIN  is\nIGP.") == ("duplicate_output", "seed-1")
    assert judge(grown, "Plan a route reflector", "Two lines\u200b of text.") == ("duplicate_output", "row-1")
    assert judge(grown, "Plan a route reflector", "two lines of text.")[0] is None


@pytest.mark.parametrize(
    ("instruction", "task_input", "output"),
    [(f"{ASKED} again", "", "new"), ("Answer this question", ASKED, "new"), (FRESH, "", f"They ask: {ASKED}?")],
)
def test_a_task_that_gives_a_question_away_is_rejected_with_the_question(
    instruction: str, task_input: str, output: str
) -> None:
    assert judge(pool(), instruction, output, task_input) == ("near_question", "question-1")


def test_each_threshold_is_its_own() -> None:
    assert judge(pool(rouge_threshold=1.0), f"{SEED} please")[0] is None
    assert judge(pool(similarity_threshold=1.0), REWORDED)[0] is None
    assert judge(pool(rouge_threshold=1.0), REWORDED)[0] == "near_question"
    assert judge(pool(similarity_threshold=1.0), f"{SEED} please")[0] == "near_duplicate"


def test_the_order_of_the_filters_decides_the_reason() -> None:
    for filters in (NEARNESS, NEARNESS[::-1]):
        both = pool(*filters)
        both.add(kept("row-1", ASKED, LONG_ANSWER))
        expected = {"duplicate_output": "row-1", "near_duplicate": "row-1", "near_question": "question-1"}[filters[0]]
        assert judge(both, ASKED, LONG_ANSWER) == (filters[0], expected)


def test_what_the_parser_says_comes_before_every_filter_and_has_its_nearest_too() -> None:
    verdict = pool().judge_candidate(Candidate(f"{SEED} and", problem="truncated"))
    assert (verdict.reason, verdict.nearest[0]) == ("truncated", "seed-1")
    assert verdict.nearest[1] > 0.9


def test_a_rejection_for_another_reason_and_an_acceptance_name_the_nearest_row() -> None:
    assert judge(pool("word_count"), "Decode UPDATE") == ("word_count", "seed-1")
    assert judge(pool(), "Explain BGP to a child in one line") == (None, "seed-2")
    assert pool().judge_candidate(Candidate("Quokkas jump", "", "b")).nearest == (None, 0.0)


def test_a_candidate_without_words_is_like_nothing() -> None:
    assert pool().judge_candidate(Candidate(problem="malformed")) == Verdict("malformed", (None, 0.0))


def test_a_pool_has_its_filters_in_their_order() -> None:
    assert pool("near_question", "markers", "empty_field").filters == ["near_question", "markers", "empty_field"]


class BruteForce:
    """The same verdicts from the definition: a score of rouge-score for every pair."""

    def __init__(self) -> None:
        self.scorer = RougeScorer(["rougeL"], use_stemmer=False)
        self.rows: list[tuple[str, str, str]] = []

    def nearest(self, text: str, others: Iterable[tuple[str, str]]) -> Match:
        best: Match = (None, 0.0)
        for name, other in others:
            score = self.scorer.score(other, text)["rougeL"].fmeasure
            if score > best[1]:
                best = (name, score)
        return best

    def judge(self, candidate: Candidate, questions: list[Question], threshold: float) -> Verdict:
        near = self.nearest(candidate.instruction, ((name, text) for name, text, _ in self.rows))
        same = [name for name, _, output in self.rows if output.split() == candidate.output.split()]
        if same:
            return Verdict("duplicate_output", (same[0], 1.0))
        if near[1] > threshold:
            return Verdict("near_duplicate", near)
        limits = ContaminationParams(similarity_threshold=threshold, ngram=13)
        found = judge_slowly(candidate, questions, limits)
        if found.nearest:
            return Verdict("near_question", (found.nearest[0], pytest.approx(found.near)))
        others = [*found.repeated, *found.stated]
        return Verdict("near_question", (others[0], 1.0)) if others else Verdict(None, near)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_verdicts_and_nearest_rows_are_those_of_a_loop_over_rouge_score(threshold: float) -> None:
    draw = random.Random(threshold)

    def text() -> str:
        words = draw.choices(VOCABULARY, k=draw.randint(0, 9))
        return draw.choice([" ", "\n", ", "]).join(words)

    questions = [question(f"question-{number}", f"Why {text()}?") for number in range(8)]
    seeds = [seed(f"seed-{number}", instruction=f"Do {text()}", output=f"out {text()}") for number in range(20)]
    changes = {"rouge_threshold": threshold, "similarity_threshold": threshold}
    ours, theirs = make_pool(seeds, questions, enabled=list(NEARNESS), **changes), BruteForce()
    theirs.rows = [(row.id, row.instruction, row.output) for row in seeds]
    reasons = set()
    for number in range(150):
        task_input = draw.choice([text(), draw.choice(questions).question])
        candidate = Candidate(draw.choice(["Why", "Do", ""]) + f" {text()}", task_input, f"out {text()}")
        verdict = ours.judge_candidate(candidate)
        assert verdict == theirs.judge(candidate, questions, threshold)
        reasons.add(verdict.reason)
        if verdict.reason is None and candidate.instruction.strip():
            ours.add(kept(f"row-{number}", candidate.instruction, candidate.output))
            theirs.rows.append((f"row-{number}", candidate.instruction, candidate.output))
    assert reasons == {None, *NEARNESS}, "every verdict was met"
