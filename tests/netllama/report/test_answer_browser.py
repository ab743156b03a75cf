"""What the browser of answers gets: pairs, marked words, JSON that can't end its element."""

import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from netllama.core.records import Instruction, Question
from netllama.report.answer_browser import (
    embed_json,
    list_answers,
    make_pair,
    mark_differences,
    phrase_question,
    phrase_task,
)
from tests.support.report_files import HOSTILE, make_score

TEXTS = st.text(alphabet="ab .<\n", max_size=30) | st.text(max_size=20)


def count_common_words(one: list[str], other: list[str]) -> int:
    """The length of a longest common subsequence, by the textbook's table."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = row
        row = [0]
        for place, against in enumerate(other):
            row.append(before[place] + 1 if word == against else max(before[place + 1], row[-1]))
    return row[-1]


@given(TEXTS, TEXTS)
def test_pieces_put_together_are_the_texts_and_the_common_ones_are_equal(base: str, tuned: str) -> None:
    before, after = mark_differences(base, tuned)
    assert ("".join(before), "".join(after)) == (base, tuned)
    assert "".join(before[::2]) == "".join(after[::2])
    assert all(before[1:])
    assert all(after[1:])


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_what_is_common_is_as_long_as_it_can_be(one: list[str], other: list[str]) -> None:
    before, _ = mark_differences(".".join(one), ".".join(other))
    words = [list(".".join(each)) for each in (one, other)]
    assert len("".join(before[::2])) == count_common_words(*words)


def test_only_the_words_that_differ_are_marked() -> None:
    assert mark_differences("AS 64500 announces it", "AS 64511 announces it now") == (
        ["AS ", "64500", " announces it"],
        ["AS ", "64511", " announces it", " now"],
    )
    assert mark_differences("16", "19") == (["", "16"], ["", "19"])
    assert mark_differences("same", "same") == (["same"], ["same"])
    assert mark_differences("", "new") == ([], ["", "new"])


def test_a_pair_says_how_score_and_answer_changed() -> None:
    worse = make_pair(make_score("q", "blank", 1, "a"), make_score("q", "blank", 0, "b"), {"q": "Which?"})
    assert (worse.change, worse.differs, worse.question) == ("worse", True, "Which?")
    better = make_pair(make_score("q", "open", 0.2, "a"), make_score("q", "open", 0.4, "a"), {})
    assert (better.change, better.differs, better.question) == ("better", False, "")
    equal = make_pair(make_score("q", "blank", 0, "a"), make_score("q", "blank", 0, "b"), {})
    assert (equal.change, equal.differs) == ("equal", True)


def test_held_out_losses_have_no_answer_to_show() -> None:
    loss, blank = make_score("r", "heldout", 2.5), make_score("q", "blank", 1, "a")
    assert [pair.item for pair in list_answers([(loss, loss), (blank, blank)], {})] == ["q"]


@given(st.text(max_size=40) | st.sampled_from([HOSTILE, "<!--", "</ScRiPt >", "&lt;", "\\u003c", "\ud7ff\u2029"]))
def test_embedded_json_is_the_same_text_without_a_sign_of_html(answer: str) -> None:
    score = make_score("q", "blank", 1, answer)
    text = embed_json([make_pair(score, score, {"q": answer})])
    assert not set("<>&\u2028\u2029") & set(text)
    [row] = json.loads(text)
    assert ("".join(row["base"]["parts"]), row["question"]) == (answer, answer)

    class Scripts(HTMLParser):
        ended = 0

        def handle_endtag(self, tag: str) -> None:
            self.ended += tag == "script"

    (parser := Scripts()).feed(f"<script>{text}</script>")
    assert parser.ended == 1


def test_a_question_stands_with_its_lettered_options_and_a_task_with_its_input() -> None:
    row = {"id": "q", "family": "f", "kind": "choice", "question": "Which?", "options": ["x", "y"], "answer": "A"}
    empty = {"aliases": [], "key_facts": [], "reference": "", "cluster": ""}
    assert phrase_question(Question.model_validate(row | empty)) == "Which?\nA) x\nB) y"
    task = Instruction(id="t", family="f", instruction="Do it.", input="data", output="done", source="extra")
    assert phrase_task(task) == "Do it.\ndata"
    assert phrase_task(task.model_copy(update={"input": ""})) == "Do it."
