"""The marks beside a reader's: what is found, and what a sentence and a parser say."""

import pytest

from netllama.documents.document import show_chunk
from netllama.reading.search_quality import find_best_sentence, measure_search
from tests.support.reading_sets import make_asked, make_report_chunks

TEXTS = {chunk.id: show_chunk(chunk.headings, chunk.text) for chunk in make_report_chunks()}


def test_the_best_sentence_has_most_words_of_the_question() -> None:
    documents = [
        "Origin of 10.1.0.0/16\nPrefix 10.1.0.0/16 is of AS64501. It flapped twice.",
        "Prefix 10.2.0.0/16 left.",
    ]
    assert find_best_sentence("How often has it flapped? Twice?", documents) == "It flapped twice."
    assert find_best_sentence("What of prefix 10.2.0.0/16?", documents) == "Prefix 10.2.0.0/16 left."
    assert find_best_sentence("Which prefix?", []) == ""


def test_the_opening_repeats_the_question_and_is_no_answer() -> None:
    report = "Cell K7, 08:00\nCell K7 was measured from 08:00 to 08:15. The jitter was 9 ms. The loss was 2 %."
    other = "Cell K8, 08:00\nCell K8 was measured from 08:00 to 08:15. The jitter was 3 ms. The loss was 1 %."
    question = "What was the jitter of cell K7 from 08:00 to 08:15?"
    assert find_best_sentence(question, [other, report]) == "The jitter was 9 ms."


def test_recall_and_the_best_sentence_are_shares_of_the_questions_with_an_answer() -> None:
    rankings = [["r0", "r1"], ["r2", "r1"], ["r3"], ["r4"]]
    asked = [make_asked(number, found, answered=number < 3) for number, found in enumerate(rankings)]
    found = measure_search(asked, rankings, TEXTS)
    assert found["questions"] == 3
    assert found["recall_at_1"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["recall_at_3"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["reciprocal_rank"]["value"] == pytest.approx((1 + 1 / 2) / 3, abs=1e-4)
    assert found["recall_at_1"]["low"] < found["recall_at_1"]["value"] < found["recall_at_1"]["high"]
    # A search that missed a report leaves nothing to say of it; the parser knows no report of this wording.
    assert (found["best_sentence"], found["parser"]) == (pytest.approx(2 / 3, abs=1e-4), 0.0)


def test_the_best_sentence_is_judged_by_the_choices_of_the_question() -> None:
    asked = make_asked(0, ["r0"]).model_copy(
        update={"question": "Is there a loss?", "answer": "no", "choices": ["yes", "no"]}
    )
    said = [
        measure_search([asked], [["r0"]], {"r0": text})["best_sentence"]
        for text in ("There is no loss.", "A loss: yes, no.")
    ]
    assert said == [1.0, 0.0]


def test_where_nothing_is_found_or_asked_there_is_no_mark_of_it() -> None:
    asked = make_asked(0, []).model_copy(update={"arms": {"closed": [], "oracle": ["r0"]}})
    found = measure_search([asked], [[]], TEXTS)
    assert (found["recall_at_10"]["value"], found["parser"], found["best_sentence"]) == (0.0, 0.0, 0.0)
    assert measure_search([make_asked(0, ["r1"], answered=False)], [["r1"]], TEXTS) == {}
    assert measure_search([], [], {}) == {}
