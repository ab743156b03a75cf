"""Rows that give an evaluation question away are found, tasks that only share a subject or boilerplate are not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from netllama.contamination.evaluation_questions import Evaluation, asked, prompts, whole
from netllama.contamination.normalisation import template, words
from netllama.core.records import Instruction, Question
from netllama.novelty.rouge import tokens
from netllama.splitting.groups import comparable

SCORER = RougeScorer(["rougeL"])


def question(
    number: int, text: str, kind: str = "open", answer: str = "", options: list[str] | None = None
) -> Question:
    return Question(
        id=f"q-{number}",
        family="bgp",
        kind=kind,  # type: ignore[arg-type]
        question=text,
        options=options or [],
        answer=answer,
        aliases=[],
        key_facts=[],
        reference="RFC 4271",
        cluster="",
    )


def row(instruction: str, input: str = "", output: str = "Nothing to say.") -> Instruction:
    return Instruction(id="r", family="bgp", source="extra", instruction=instruction, input=input, output=output)


QUESTIONS = [
    question(
        0, "What value does the Length field of a KEEPALIVE message hold?", "choice", "B", ["16", "19", "23", "29"]
    ),
    question(1, "Which port does BGP use?", "choice", "A", ["TCP 179", "UDP 53"]),
    question(
        2, "A BGP speaker with no route to the ____ of an UPDATE does not install the route.", "blank", "next hop"
    ),
    question(3, "The hold timer is never zero.", "true_false", "false"),
    question(4, "What is a route leak?"),
    question(5, "Routers of one confederation prefer external paths.", "true_false", "true"),
]
FILLER = " ".join(f"filler{number}" for number in range(60))

GIVEN_AWAY = [
    (row("What value does the length field of a Keepalive message hold?"), "q-0", "near"),
    (row("what VALUE does the Length field of a keepalive\u200b message hold"), "q-0", "near"),
    (row("Answer this.", "What value does the Length field of a KEEPALIVE message hold?"), "q-0", "near"),
    (row("What value does the Length field of a KEEPALIVE message hold? 16 19 23 29"), "q-0", "near"),
    (row("What value does the Length field of the OPEN message hold?"), "q-0", "near"),
    (row(FILLER, "", f"x What value does the Length field of a KEEPALIVE message hold? {FILLER}"), "q-0", "words"),
    (
        row(FILLER, "", f"A BGP speaker with no route to the next hop of an UPDATE does not install it {FILLER}"),
        "q-2",
        "words",
    ),
    (row(FILLER, "", f"Which port does BGP use? {FILLER} TCP 179."), "q-1", "answer"),
    (row(FILLER, "", f"{FILLER} The hold timer is never zero: that is false."), "q-3", "answer"),
    (row(FILLER, "", f"{FILLER} Routers of one confederation prefer external paths."), "q-5", "answer"),
    (row("What is a route leak?"), "q-4", "near"),
]


@pytest.mark.parametrize(("task", "question_id", "measure"), GIVEN_AWAY)
def test_a_question_is_found(task: Instruction, question_id: str, measure: str) -> None:
    given_away = Evaluation(QUESTIONS, 0.7, 13).given_away(task)
    assert given_away
    assert (given_away.question, given_away.measure) == (question_id, measure)


HARMLESS = [
    row(FILLER),
    row(FILLER, "", f"Which port does BGP use? {FILLER} TCP 1790."),
    row(FILLER, "", f"{FILLER} The hold timer is never zero."),
    row(FILLER, "", f"{FILLER} What is a route leak?"),
    row(FILLER, "", f"A BGP speaker with no route to the peer of an UPDATE does not install it {FILLER}"),
    row("How long is a KEEPALIVE?", "", "Nothing but the header, whose Length field is 19."),
]


@pytest.mark.parametrize("task", HARMLESS)
def test_what_shares_a_subject_or_a_short_phrase_is_no_question(task: Instruction) -> None:
    assert Evaluation(QUESTIONS, 0.7, 13).given_away(task) is None


def test_half_of_the_runs_of_a_long_question_are_too_many() -> None:
    said = [f"word{number}" for number in range(40)]
    evaluation = Evaluation([question(0, " ".join(said))], 0.9, 13)  # 28 runs of 13 words
    assert evaluation.given_away(row(FILLER, "", f"{' '.join(said[:26])} {FILLER}"))  # 14 of them
    assert evaluation.given_away(row(FILLER, "", f"{' '.join(said[:25])} {FILLER}")) is None


WORDS = st.sampled_from(["bgp", "Hold", "7", "10.0.0.1", "é", "route", "leak", "peer"])
TEXT = st.lists(WORDS, min_size=1, max_size=14).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(st.tuples(TEXT, st.sampled_from(["open", "true_false"])), min_size=1, max_size=5),
    fields=st.tuples(TEXT, st.just("") | TEXT, TEXT),
    threshold=st.sampled_from([0.5, 0.7, 0.9]),
    ngram=st.integers(2, 9),
)
def test_what_is_found_is_what_plain_loops_find(
    texts: list[tuple[str, str]], fields: tuple[str, str, str], threshold: float, ngram: int
) -> None:
    listed = [question(i, text, kind, "true" if kind == "true_false" else "") for i, (text, kind) in enumerate(texts)]
    task = row(*fields)
    found = Evaluation(listed, threshold, ngram).given_away(task)

    def near(one: Question) -> float:
        pairs = [(template(a), template(b)) for a in asked(one) for b in prompts(task)]
        return max(float(SCORER.score(*pair)["rougeL"].fmeasure) for pair in pairs)

    def in_words(one: Question) -> bool:
        text, said = tokens(words(whole(one))), tokens(words(comparable(task)))
        if len(text) < 8:
            return False
        length = min(len(text), ngram)
        rows_runs = [said[i : i + length] for i in range(len(said) - length + 1)]
        runs = [text[i : i + length] for i in range(len(text) - length + 1)]
        return sum(run in rows_runs for run in runs) >= len(runs) / 2

    def stated(one: Question) -> bool:
        text, said = tokens(words(whole(one))), tokens(words(comparable(task)))
        inside = any(said[i : i + len(text)] == text for i in range(len(said)))
        return one.kind == "true_false" and 5 <= len(text) < 8 and inside

    expected: Any = None
    if max(map(near, listed)) >= threshold - 1e-9:
        expected = "near"
    elif any(map(in_words, listed)):
        expected = "words"
    elif any(map(stated, listed)):
        expected = "answer"
    assert (found and found.measure) == expected
    if found and expected == "near":
        assert found.score == pytest.approx(max(map(near, listed)))
