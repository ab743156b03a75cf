"""Questions in the training data against plain loops, and leaks that were planted there."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from netllama.contamination import question_overlap
from netllama.contamination.normalisation import list_words
from netllama.contamination.question_overlap import Overlap, describe_overlaps, find_overlaps
from netllama.core.records import Instruction, Question
from netllama.core.sections import ContaminationParams
from tests.support.given_away import LIMITS, contains, is_worded, make_question, make_row, score
from tests.support.shipped_data import load_shipped_questions

WORDS = st.sampled_from(["bgp", "Hold", "7", "10.0.0.1", "é", "route", "leak", "!", "as_path"])
TEXT = st.lists(WORDS, min_size=1, max_size=12).map(" ".join).filter(lambda text: bool(list_words(text)))
TASK = st.tuples(TEXT, st.just("") | TEXT, TEXT)
QUESTION = st.tuples(TEXT, st.sampled_from(["choice", "open", "blank", "true_false", "code"]), TEXT, TEXT)


def ask(number: int, text: str, kind: str, right: str, other: str) -> Question:
    if kind == "choice":
        return make_question(number, text, kind, "B", [other if other != right else f"not {other}", right])
    if kind == "true_false":
        return make_question(number, text, kind, "true")
    return make_question(number, f"{text} ____" if kind == "blank" else text, kind, right)


def join_answer(question: Question) -> str:
    if question.kind == "choice":
        return f"{question.question} {question.options['ABCD'.index(question.answer)]}"
    if question.kind == "open":
        return f"{question.question} {question.answer}"
    return question.question.replace("____", question.answer) if question.kind == "blank" else question.question


def list_passages(question: Question) -> list[str]:
    filled = question.question.replace("____", question.answer) if question.kind == "blank" else question.question
    others = [*question.options, *question.key_facts] + [question.answer] * (question.kind == "open")
    return [join_answer(question), filled, *filter(is_worded, others)]


def score_words(one: str, other: str) -> float:
    """ROUGE-L F1 of the words, numbers included."""
    texts = [" ".join(list_words(text)).replace("_", " ") for text in (one, other)]
    return float(RougeScorer(["rougeL"]).score(*texts)["rougeL"].fmeasure)


def search_slowly(
    questions: Sequence[Question], rows: Sequence[Instruction], threshold: float, ngram: int
) -> dict[tuple[str, str], tuple[float, str, int]]:
    """(score, row, number of rows) by question and measure: pair by pair and run by run."""
    found: dict[tuple[str, str], tuple[float, str, int]] = {}
    for question in questions:
        for measure in dict.fromkeys([*(f"{length}-gram" for length in sorted({8, ngram})), "ROUGE-L"]):
            scores = {row.id: _score_slowly(question, row, measure) for row in rows}
            least = threshold - 1e-9 if measure == "ROUGE-L" else 1e-9
            hits = {name: value for name, value in scores.items() if value >= least}
            if hits:
                best = max(hits, key=lambda name: (round(hits[name], 9), -list(hits).index(name)))
                found[question.id, measure] = (hits[best], best, len(hits))
    return found


def _score_slowly(question: Question, row: Instruction, measure: str) -> float:
    whole = f"{row.instruction} {row.input} {row.output}"
    if measure == "ROUGE-L":
        prompts = [row.instruction]
        if row.input:
            prompts += [f"{row.instruction} {row.input}"] + [row.input] * is_worded(row.input)
        forms = [question.question, " ".join([question.question, *question.options])]
        near = max(score(form, prompt) for form in forms for prompt in prompts)
        return max(near, score_words(join_answer(question), whole))
    length, said, shares = int(measure.split("-")[0]), list_words(whole), [0.0]
    for passage in list_passages(question):
        words = list_words(passage)
        runs = {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}
        if runs:
            shares.append(sum(contains(said, list(run)) for run in runs) / len(runs))
    return max(shares)


@given(
    tasks=st.lists(TASK, min_size=1, max_size=7),
    asked=st.lists(QUESTION, min_size=1, max_size=4),
    threshold=st.sampled_from([0.5, 0.7, 1.0]),
    ngram=st.sampled_from([3, 8, 10, 13]),
    batch=st.sampled_from([1, 3, 512]),
)
def test_what_is_found_is_what_plain_loops_find(
    tasks: list[tuple[str, str, str]],
    asked: list[tuple[str, str, str, str]],
    threshold: float,
    ngram: int,
    batch: int,
) -> None:
    rows = [make_row(*texts, name=f"r-{number}") for number, texts in enumerate(tasks)]
    questions = [ask(number, *texts) for number, texts in enumerate(asked)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(question_overlap, "BATCH", batch)
        found = find_overlaps(questions, iter(rows), ContaminationParams(similarity_threshold=threshold, ngram=ngram))
    expected = search_slowly(questions, rows, threshold, ngram)
    assert {(each.question, each.measure): (each.score, each.row, each.rows) for each in found} == {
        key: (pytest.approx(value, abs=1e-4), row, number) for key, (value, row, number) in expected.items()
    }
    assert [each.question for each in found] == sorted(each.question for each in found)
    for each in found:
        if each.measure != "ROUGE-L":
            length = int(each.measure.split("-")[0])
            row = next(row for row in rows if row.id == each.row)
            question = next(question for question in questions if question.id == each.question)
            assert len(each.shared.split()) >= length
            assert contains(list_words(f"{row.instruction} {row.input} {row.output}"), each.shared.split())
            assert any(contains(list_words(passage), each.shared.split()) for passage in list_passages(question))


QUESTIONS = load_shipped_questions()
FILLER = "Collectors publish what their peers announce every five minutes and a script reads it into a table."


KINDS = ("choice", "true_false", "blank", "open", "code")
PLACES = ("instruction", "input", "output")


def test_a_question_of_any_kind_planted_anywhere_in_one_row_of_many_is_found_by_both_n_grams() -> None:
    rows = [make_row(f"{FILLER} Number {number}.", "", FILLER, f"r-{number}") for number in range(600)]
    planted = {}
    for kind in KINDS:
        long = [each for each in QUESTIONS if each.kind == kind and len(list_words(each.question)) >= 13]
        for question, place in zip(long, PLACES, strict=False):
            texts = {"instruction": FILLER, "input": "", "output": FILLER}
            texts[place] = f"{FILLER} {join_answer(question).upper()} {FILLER}"
            rows.insert(37 * len(planted), make_row(**texts, name=f"leak-{question.id}"))
            planted[question.id] = question
    assert len(planted) == len(KINDS) * len(PLACES)
    found = {(each.question, each.measure): each for each in find_overlaps(QUESTIONS, rows, LIMITS)}
    for name, question in planted.items():
        for measure in ("8-gram", "13-gram"):
            own = found[name, measure]
            assert (own.score, own.row) == (1.0, f"leak-{name}")
            assert own.shared == " ".join(list_words(join_answer(question)))


def test_a_reworded_question_is_found_by_its_subsequence_and_one_with_other_numbers_too() -> None:
    question = make_question(
        1, "Which AS announces 192.0.2.0/24 to the collector rrc00 in this table?", answer="AS 65001"
    )
    rows = [
        make_row("Which AS announces 203.0.113.0/25 to the collector rrc21 in that table?"),
        make_row("Write a poem."),
    ]
    [found] = find_overlaps([question], rows, LIMITS)
    assert (found.measure, found.row, found.rows) == ("ROUGE-L", "r", 1)
    assert found.score == pytest.approx(score(question.question, rows[0].instruction), abs=1e-4)
    assert found.shared == "which as announces 0ip to the collector rrc00 in table".replace("rrc00 ", "")


def test_an_answer_that_a_row_gives_to_the_question_is_found_where_neither_alone_is() -> None:
    """The question is a third of the prompt's words, the answer two thirds of the row's."""
    question = make_question(1, "Why?", answer="The peer sends keepalives")
    row = make_row("Why?", "", "The peer sends keepalives")
    found = find_overlaps([question], [row, make_row("Why not?", "", "Nobody knows.", name="other")], LIMITS)
    assert [(each.measure, each.row, each.score) for each in found] == [("ROUGE-L", "r", 1.0)]


def test_seven_words_are_no_run_and_eight_are() -> None:
    question = make_question(1, "one two three four five six seven eight nine ten eleven twelve thirteen", answer="x")
    shared = "one two three four five six seven"
    assert find_overlaps([question], [make_row(f"{FILLER} {shared} {FILLER}")], LIMITS) == []
    [found] = find_overlaps([question], [make_row(f"{FILLER} {shared} eight {FILLER}")], LIMITS)
    assert found == Overlap("q-1", "8-gram", round(1 / 6, 4), "r", 1, f"{shared} eight")


def test_the_row_that_holds_most_is_named_and_all_that_hold_some_are_counted() -> None:
    said = "a route server passes routes on without putting its own number into the path"
    question = make_question(1, said, answer="yes")
    rows = [
        make_row(f"{FILLER} {' '.join(said.split()[: 8 + number])} {FILLER}", name=f"r-{number}")
        for number in (0, 3, 2)
    ]
    [eight] = [each for each in find_overlaps([question], rows, LIMITS) if each.measure == "8-gram"]
    assert (eight.row, eight.rows) == ("r-3", 3)


def test_a_script_that_answers_a_code_question_is_no_leak() -> None:
    script = "import pybgpstream stream = pybgpstream.BGPStream(project='ris') for elem in stream: print(elem.time)"
    question = make_question(1, "Print the time of each element.", "code", script)
    assert find_overlaps([question], [make_row("Load the data of RIS.", "", script)], LIMITS) == []


def test_nothing_in_an_empty_training_set_and_nothing_of_no_question() -> None:
    assert find_overlaps(QUESTIONS, [], LIMITS) == []
    assert find_overlaps([], [make_row("a task")], LIMITS) == []


def test_one_clause_says_how_many_by_which_measure() -> None:
    overlaps = [Overlap(name, measure, 1.0, "r", 1, "") for name, measure in (("a", "8-gram"), ("a", "13-gram"))]
    assert describe_overlaps(overlaps, 586, LIMITS) == (
        "contamination: 1 of 586 questions shares text with the training data (8-gram 1, 13-gram 1, ROUGE-L 0)"
    )
    overlaps += [Overlap("b", "8-gram", 0.5, "r", 1, ""), Overlap("c", "ROUGE-L", 0.8, "r", 1, "")]
    assert describe_overlaps(overlaps, 586, LIMITS) == (
        "contamination: 3 of 586 questions share text with the training data (8-gram 2, 13-gram 1, ROUGE-L 1)"
    )
    assert describe_overlaps([], 586, LIMITS) == (
        "contamination: none of 586 questions shares 8 words in a row with the training data, or has a ROUGE-L F1 of "
        "0.7 to a row of it"
    )
