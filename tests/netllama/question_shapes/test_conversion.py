"""Rows as people write them, and what they are read as or refused for."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.core.records import LETTERS, Question
from netllama.question_shapes.conversion import ReadEntry, convert_entries
from netllama.question_shapes.question_files import Entry

Row = dict[str, Any]
TEXTS = ["TCP", "UDP", "SCTP", "QUIC"]
ASKED: Row = {"question": "What carries BGP?"}
TELEQNA: Row = {
    "question": "What does PUCCH carry? [3GPP Release 17]",
    "option 1": "User data",
    "option 2": "Uplink control information",
    "option 3": "Paging",
    "option 4": "System information",
    "option 5": "Nothing",
    "answer": "option 2: Uplink control information",
    "explanation": "It is the uplink control channel.",
    "category": "Lexicon",
}


def convert(*rows: Row, first_index: int | None = None) -> list[ReadEntry]:
    entries = [Entry(line, row) for line, row in enumerate(rows, start=1)]
    return convert_entries(entries, "mine", first_index)


def read(*rows: Row, first_index: int | None = None) -> Question:
    """The last row as a question."""
    found = convert(*rows, first_index=first_index)[-1]
    assert found.question, found.problem
    return found.question


def refuse(*rows: Row, first_index: int | None = None) -> str:
    """Why the last row is refused."""
    found = convert(*rows, first_index=first_index)[-1]
    assert found.question is None, found.question
    return found.problem


OPTIONS: dict[str, Row] = {
    "plain": {"options": TEXTS},
    "a)": {"options": [f"{letter}) {text}" for letter, text in zip("abcd", TEXTS, strict=True)]},
    "(A)": {"options": [f"({letter}) {text}" for letter, text in zip("ABCD", TEXTS, strict=True)]},
    "1.": {"options": [f"{number}. {text}" for number, text in enumerate(TEXTS, start=1)]},
    "choices": {"choices": TEXTS},
    "letters": {"choices": dict(zip("ABCD", TEXTS, strict=True))},
    "mixed order": {"choices": dict(zip("dbca", [TEXTS[3], TEXTS[1], TEXTS[2], TEXTS[0]], strict=True))},
    "ARC": {"choices": {"text": TEXTS, "label": list("ABCD")}},
    "TeleQnA": {f"option {number}": text for number, text in enumerate(TEXTS, start=1)},
    "option_a": {f"Option_{letter}": text for letter, text in zip("abcd", TEXTS, strict=True)},
    "OptionA": {f"Option{letter}": text for letter, text in zip("ABCD", TEXTS, strict=True)},
    "choice1": {f"choice{number}": text for number, text in enumerate(TEXTS, start=1)},
    "A": dict(zip("ABCD", TEXTS, strict=True)),
    "lines": {"options": "".join(f"({letter}) {text}\n" for letter, text in zip("abcd", TEXTS, strict=True))},
    "a list of Python's": {"options": str(TEXTS)},
    "lines of the question": {
        "question": "What carries BGP?\n\n" + "".join(f"{a}. {text}\n" for a, text in zip("ABCD", TEXTS, strict=True))
    },
    "a hole at the end": {f"option {number}": text for number, text in enumerate([*TEXTS, None], start=1)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    "answer",
    ["C", "c", "c)", "(C)", "C.", "SCTP", "sctp", " SCTP. ", "option 3", "Option 3: SCTP", "c) SCTP", "C: sctp"],
)
def test_every_shape_of_options_goes_with_every_way_to_name_one(options: Row, answer: str) -> None:
    question = read(ASKED | options | {"answer": answer})
    assert (question.kind, question.options, question.answer) == ("choice", TEXTS, "C")
    assert (question.family, question.question) == ("mine", "What carries BGP?")


@pytest.mark.parametrize(
    "key", ["answerKey", "Answer", "answer key", "correct answer", "correct_answer", "Correct", "answer_idx", "label"]
)
def test_the_answer_has_several_names(key: str) -> None:
    assert read(ASKED | {"options": TEXTS, key: ["A"]}).answer == "A"


def test_what_else_may_be_an_answer_is_none_beside_an_answer() -> None:
    found = convert(ASKED | {"options": TEXTS, "answer": "UDP", "answer_idx": "B", "label": "transport"})[0]
    assert found.question
    assert (found.question.answer, found.unused) == ("B", ["answer_idx", "label"])


def test_options_behind_the_question_are_told() -> None:
    found = convert({"question": "Which?\nA. TCP\nB. UDP", "answer": "B"})[0]
    assert found.notes == ["its last 2 lines are its options"]


@pytest.mark.parametrize(
    "question",
    [
        "Compare:\na) TCP\nb) UDP",
        "1. TCP\n2. UDP",
        "Which of these?\nb) TCP\nc) UDP",
        "\n".join(["In which order?", *(f"{number}. step {number}" for number in range(1, 13))]),
    ],
)
def test_a_list_in_an_open_question_stays_there(question: str) -> None:
    asked = read({"question": question, "answer": "a) is reliable,\nb) is not."})
    assert (asked.kind, asked.question) == ("open", question)


@pytest.mark.parametrize("answer", ["B", "(b)", "b.", "option 2"])
def test_a_letter_of_an_option_that_is_not_there_is_no_answer_to_an_open_question(answer: str) -> None:
    row = {"question": "Which one: a) TCP b) UDP", "answer": answer}
    assert "looks like the letter of an option, and there are none" in refuse(row)
    assert read(row | {"key_facts": ["UDP"]}).kind == "open"


def test_a_question_of_teleqna_is_read_with_its_five_options() -> None:
    found = convert(TELEQNA)[0]
    assert found.question
    assert found.question.answer == "B"
    assert len(found.question.options) == 5
    assert found.question.category == "Lexicon"
    assert found.unused == ["explanation"]


# --- indices


@pytest.mark.parametrize(("answers", "letters"), [([0, 2, "1"], "ACB"), ([4, "2", 1], "DBA")])
def test_an_index_counts_from_where_the_file_shows_it(answers: list[int | str], letters: str) -> None:
    rows = [ASKED | {"question": f"q {answer}", "options": TEXTS, "answer": answer} for answer in answers]
    assert "".join(each.question.answer for each in convert(*rows) if each.question) == letters


def test_an_index_that_may_count_from_0_or_1_is_refused_unless_the_user_says() -> None:
    row = ASKED | {"options": TEXTS, "answer": 2}
    assert "answer 2 is an index, and nothing in this file shows whether it counts from 0 or 1" in refuse(row)
    assert read(row, first_index=0).answer == "C"
    assert read(row, first_index=1).answer == "B"
    assert "names none of the 4 options" in refuse(ASKED | {"options": TEXTS, "answer": 0}, first_index=1)
    assert "names none of the 4 options" in refuse(ASKED | {"options": TEXTS, "answer": 4}, first_index=0)


@pytest.mark.parametrize("key", ["answer_index", "Answer_Idx", "correct index"])
def test_an_index_beside_numbered_options_is_not_taken_for_a_label(key: str) -> None:
    row = ASKED | OPTIONS["1."] | {key: 2}
    assert "2 may be an index or the number of an option; say --first-index 0 or 1" in refuse(row)
    assert read(row, first_index=0).answer == "C"
    assert read(row, first_index=1).answer == "B"
    assert read(ASKED | OPTIONS["1."] | {"answer": 2}).answer == "B"


def test_a_file_that_counts_from_both_is_refused_wherever_it_uses_an_index() -> None:
    rows = [ASKED | {"question": f"q {answer}", "options": TEXTS, "answer": answer} for answer in (0, 4, 1, "B")]
    found = convert(*rows)
    assert [each.question is None for each in found] == [True, True, True, False]
    assert found[2].problem == "answer 1 is an index, and line 1 counts from 0, line 2 from 1; write letters"


def test_numbers_before_the_options_are_labels_and_no_indices() -> None:
    labelled = ASKED | {"options": [f"{number}) {text}" for number, text in enumerate(TEXTS, start=1)]}
    assert read(labelled | {"answer": 2}).answer == "B"
    assert read(ASKED | {"question": "other", "options": TEXTS, "answer": 0}, labelled | {"answer": "2"}).answer == "B"


@pytest.mark.parametrize(
    "options",
    [
        {"options": [f"{number}) {text}" for number, text in enumerate(TEXTS, start=1)]},
        {f"option {number}": text for number, text in enumerate(TEXTS, start=1)},
    ],
)
def test_where_an_answer_0_shows_that_numbers_are_no_labels_they_are_refused_unless_the_user_says(options: Row) -> None:
    rows = [ASKED | options | {"question": f"q {answer}", "answer": answer} for answer in (0, 3, "B")]
    found = convert(*rows)
    assert [each.question.answer if each.question else "" for each in found] == ["A", "", "B"]
    assert "answer 3 may be a label or an index, since line 1 counts from 0" in found[1].problem
    given = convert(*rows, first_index=0)
    assert [each.question.answer for each in given if each.question] == ["A", "D", "B"]
    assert read(rows[1], first_index=0).answer == "D"
    assert "names none" in refuse(rows[1] | {"answer": 4}, first_index=0)
    assert read(rows[1]).answer == read(rows[1], first_index=1).answer == "C"


def test_an_option_that_is_a_number_is_named_by_it_where_it_can_be_no_index() -> None:
    ports = {"options": ["16", "19", "23", "179"]}
    assert read(ASKED | ports | {"answer": "19"}).answer == "B"
    assert read(ASKED | ports | {"answer": 179}).answer == "D"
    small = {"options": ["1", "2", "3", "4"], "answer": "2"}
    assert "is the text of an option, and may be an index" in refuse(ASKED | small)
    assert read(ASKED | small, first_index=1).answer == "B"
    assert "may be B by its text, C by its index" in refuse(ASKED | small, first_index=0)


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "has options and no answer"),
        ({"answer": "E"}, "answer 'E' names none of the 4 options"),
        ({"answer": "RIP"}, "answer 'RIP' names none of the 4 options"),
        ({"answer": 7}, "answer '7' names none of the 4 options"),
        ({"answer": "option 5"}, "names none of the 4 options"),
        ({"answer": "option 2: SCTP"}, "names an option and gives a text that is not the option's"),
        ({"answer": "b) TCP"}, "names an option and gives a text that is not the option's"),
        ({"answer": ["A", "B"]}, "has 2 right answers"),
        ({"answer": True}, "answer True is neither a text nor an index"),
        ({"answer": 1.0}, "answer 1.0 is neither a text nor an index"),
        ({"answer": {"text": "TCP"}}, "is neither a text nor an index"),
        ({"answer": "A", "correct answer": "B"}, "has answer and correct_answer, which mean the same"),
        ({"answer": "A", "Answer": "B"}, "has the key answer twice, in two spellings"),
        ({"answer": "A", "options": ["AAAA", "A", "MX", "NS"]}, "may be B by its text, A by its label"),
        ({"answer": "A", "options": ["TCP"]}, "1 option; a question has 2 to 10"),
        ({"answer": "A", "options": [str(number) for number in range(11)]}, "11 options; a question has 2 to 10"),
        ({"answer": "A", "options": ["TCP", "UDP", " TCP"]}, "two options are equal"),
        ({"answer": "A", "options": ["TCP", ""]}, "options[1] is empty"),
        ({"answer": "A", "options": ["TCP", None]}, "options[1] is empty"),
        ({"answer": "A", "options": ["TCP", ["UDP"]]}, "options[1] is not a text"),
        ({"answer": "A", "options": "a) TCP b) UDP"}, "options is a text; write a list, or a line each"),
        ({"answer": "A", "options": 5}, "options is neither a list nor an object"),
        ({"answer": "A", "options": "['TCP', "}, "options is a text; write a list, or a line each"),
        ({"answer": "A", "options": None, "A": "TCP", "B": "TCP"}, "two options are equal"),
        ({"answer": "A", "options": None, "A": "TCP", "B": "UDP", "D": "SCTP"}, "labels of options are a, b, d"),
        ({"answer": "B", "options": None, "question": "Which?\nA. x\nB. x"}, "two options are equal"),
        ({"answer": "D", "options": None, "question": "Which?\nA. x\nB. y"}, "looks like the letter of an option"),
        ({"answer": "b) x", "options": None, "question": "Which?\nA. x\nB. y"}, "a text that is not the option's"),
        ({"answer": "A", "options": ["a) TCP", "UDP"]}, "some options begin with a label and some don't"),
        ({"answer": "A", "options": ["a) TCP", "c) UDP"]}, "or not in order: a, c"),
        ({"answer": "A", "options": {"A": "TCP", "C": "UDP"}}, "labels of options are A, C"),
        ({"answer": "A", "options": {"first": "TCP", "second": "UDP"}}, "labels of options are first, second"),
        ({"answer": "A", "options": {"text": TEXTS, "label": ["A"]}}, "4 texts and 1 labels"),
        ({"answer": "A", "choices": TEXTS}, "options stand in options and in choices; keep one"),
        ({"answer": "A", "option 1": "TCP"}, "options stand in options and in option_1; keep one"),
        ({"answer": "A", "question": " "}, "has no question, statement or instruction"),
        ({"answer": "A", "question": 5.5, "statement": "x"}, "has question and statement, which mean the same"),
        ({"answer": "A", "question": ["x"]}, "question is not a text"),
        ({"answer": "A", "instruction": "x", "output": "y", "question": ""}, "belong to data/extra/"),
        ({"answer": "A", "category": {"a": 1}}, "category is not a text"),
    ],
)
def test_what_is_unclear_is_refused_with_its_reason(changes: Row, said: str) -> None:
    assert said in refuse(ASKED | {"options": TEXTS} | changes)


def test_an_entry_that_could_not_be_read_keeps_its_problem() -> None:
    assert convert_entries([Entry(3, {}, "not valid JSON")], "mine")[0].problem == "not valid JSON"


# --- kinds without options


@pytest.mark.parametrize("answer", [True, "True", "true", " TRUE. ", "T", "t"])
def test_true_is_a_statement_that_holds(answer: object) -> None:
    question = read({"statement": "BGP runs over TCP.", "answer": answer})
    assert (question.kind, question.answer, question.options) == ("true_false", "true", [])


@pytest.mark.parametrize("answer", [False, "False", "f"])
def test_false_is_one_that_does_not(answer: object) -> None:
    assert read({"question": "BGP runs over UDP.", "answer": answer}).answer == "false"


@pytest.mark.parametrize("answer", ["b", "False", False, "F", "f.", "option 2", "b) false"])
def test_true_and_false_as_options_make_a_statement(answer: object) -> None:
    question = read({"question": "BGP runs over UDP.", "options": ["a) True", "b) False"], "answer": answer})
    assert (question.kind, question.answer, question.options) == ("true_false", "false", [])


@pytest.mark.parametrize("answer", ["yes", "No", "Correct", "wrong.", 0, 1, 3.5])
def test_what_may_be_a_truth_value_and_may_be_not_is_refused(answer: object) -> None:
    assert refuse({"question": "Does BGP run over TCP?", "answer": answer})


@pytest.mark.parametrize("answer", ["0", "1"])
def test_a_digit_of_a_table_may_be_a_truth_value_of_a_statement(answer: str) -> None:
    assert "write a statement with true or false" in refuse({"question": "BGP runs over TCP.", "answer": answer})
    assert read({"question": "How many bits?", "answer": answer}).kind == "open"


@pytest.mark.parametrize("key", ["incorrect_answers", "distractor1", "wrong answer 2", "opt_a"])
def test_options_under_a_key_that_is_not_read_are_refused(key: str) -> None:
    said = refuse({"question": "What carries BGP?", "answer": "TCP", key: "UDP"})
    assert "write all options, the right one too, under options" in said


def test_a_letter_in_a_blank_without_options_needs_aliases() -> None:
    row = {"question": "BGP uses port ____. A) 22 B) 179", "answer": "B"}
    assert "looks like the letter of an option" in refuse(row)
    assert read({"question": "A ____ record.", "answer": "A", "aliases": ["address"]}).kind == "blank"


@pytest.mark.parametrize("run", ["__", "___", "____", "_" * 17])
def test_any_run_of_underscores_is_the_blank(run: str) -> None:
    question = read({"question": f"BGP uses port {run}.", "answer": 179, "aliases": ["TCP 179", "179"]})
    assert question.kind == "blank"
    assert question.question == "BGP uses port ____."
    assert (question.answer, question.aliases) == ("179", ["TCP 179"])


def test_a_run_of_three_is_a_blank_beside_letters_too() -> None:
    assert read({"question": "It is called ___init.", "answer": "__"}).question == "It is called ____init."


@pytest.mark.parametrize("name", ["__init__", "as_path", "_pybgpstream"])
def test_underscores_of_a_name_are_no_blank(name: str) -> None:
    assert read({"question": f"What is {name}?", "answer": "A name."}).kind == "open"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("From ____ to ____.", "has 2 blanks"),
        ("for _ in range(3) runs how often?", "a single _ may be a blank or a name"),
    ],
)
def test_blanks_that_are_unclear_are_refused(question: str, said: str) -> None:
    assert said in refuse({"question": question, "answer": "x"})


def test_several_answers_to_a_blank_are_aliases_and_noted() -> None:
    found = convert({"question": "The port is ____.", "answer": ["179", "TCP 179"]})[0]
    assert found.question
    assert (found.question.answer, found.question.aliases) == ("179", ["TCP 179"])
    assert found.notes == ["2 answers to one blank: each of them counts as right"]


def test_options_beside_a_blank_make_a_choice() -> None:
    assert read({"question": "BGP runs over ____.", "options": TEXTS, "answer": "A"}).kind == "choice"


def test_a_text_without_options_is_the_answer_to_an_open_question() -> None:
    found = convert({"question": "Why TCP?", "answer": "It is reliable.", "level": "Hard"})[0]
    assert found.question
    assert (found.question.kind, found.question.answer, found.question.difficulty) == (
        "open",
        "It is reliable.",
        "hard",
    )
    assert found.notes == ["no key_facts: the sentences of its answer are taken for them"]
    assert read({"question": "Why TCP?", "answer": "It is.", "key_facts": ["reliable"]}).key_facts == ["reliable"]


def test_task_name_level_and_instruction_make_a_code_task() -> None:
    row = {"task_name": "MOAS", "level": "Intermediate", "instruction": "Write a script."}
    found = convert(row)[0]
    assert found.question
    assert (found.question.kind, found.question.category, found.question.answer) == ("code", "MOAS", "")
    assert found.notes == [
        "no solution: it can be seen how far its code gets, not whether the result is right",
        "level 'Intermediate' is none of easy, medium, hard; left out",
    ]
    solved = read(row | {"level": "EASY", "canonical_solution": "print(1)\n"})
    assert (solved.answer, solved.difficulty) == ("print(1)", "easy")


def test_an_instruction_with_a_level_alone_is_no_code_task() -> None:
    assert read({"instruction": "Which TCP port does BGP use?", "answer": "179", "level": "easy"}).kind == "open"


def test_an_instruction_with_a_text_alone_is_a_question_like_others() -> None:
    assert read({"instruction": "BGP runs over TCP.", "answer": "true"}).kind == "true_false"


# --- ids


@settings(max_examples=50)
@given(st.permutations(range(6)))
def test_ids_depend_on_the_words_and_not_on_the_place(order: list[int]) -> None:
    rows = [ASKED | {"question": f"q {number}", "options": TEXTS, "answer": "A"} for number in range(6)]
    ids = {each.question.question: each.question.id for each in convert(*rows) if each.question}
    moved = [each.question for each in convert(*(rows[place] for place in order)) if each.question]
    assert {question.question: question.id for question in moved} == ids
    assert len(set(ids.values())) == 6
    assert all(name.startswith("q-mine-") for name in ids.values())


def test_a_row_of_ours_stays_as_it_is() -> None:
    ours = read(TELEQNA)
    assert read(ours.model_dump()) == ours
    assert "not the letter of an option" in refuse(ours.model_dump() | {"answer": "F"})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.floats(-2, 2)
    | st.sampled_from(["", "A", "b) x", "__", "true", "x", "x\nA. x\nB. y", "A. x\nB. y", "['x', 'y']"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "label", "A", "B"]), inner),
    max_leaves=4,
)
KEYS = ["question", "Question", "statement", "instruction", "options", "choices", "option 1", "option 2", "answer"]
KEYS += ["A", "B", "label", "correct"]
KEYS += ["answerKey", "task_name", "level", "solution", "category", "aliases", "key_facts", "kind", "id", "family"]


@given(rows=st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), max_size=3))
def test_whatever_a_row_holds_it_is_a_question_or_has_a_reason(rows: list[Row]) -> None:
    for each in convert(*rows):
        assert (each.question is None) == bool(each.problem)
        assert "\n" not in each.problem
        if each.question and each.question.kind == "choice":
            assert each.question.answer in LETTERS[: len(each.question.options)]
