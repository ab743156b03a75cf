"""Rows that give an evaluation question away are found; tasks that only share a subject or boilerplate are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.records import Instruction, Question
from netllama.core.sections import ContaminationParams
from netllama.selfinstruct.output_contract import Candidate
from netllama.selfinstruct.task_pool import TaskPool
from netllama.splitting.pool_rows import PoolRow, drop_given_away
from tests.support.families import params
from tests.support.given_away import LIMITS, judge_slowly, make_question, make_row, score

QUESTIONS = [
    make_question(
        0, "What value does the Length field of a KEEPALIVE message hold?", "choice", "B", ["16", "19", "23", "29"]
    ),
    make_question(1, "Which port does BGP use?", "choice", "A", ["TCP 179", "UDP 53"]),
    make_question(
        2, "A BGP speaker with no route to the ____ of an UPDATE does not install the route.", "blank", "next hop"
    ),
    make_question(3, "The hold timer is never zero.", "true_false", "false"),
    make_question(4, "What is a route leak?"),
    make_question(5, "Routers of one confederation prefer external paths.", "true_false", "true"),
    make_question(
        6,
        "How does damping treat flapping prefixes?",
        answer="Each flap adds to a penalty that decays with its half-life and suppresses the route while it is high.",
        key_facts=["a route above the suppress limit is not used until its penalty falls below the reuse limit"],
    ),
    make_question(
        7,
        "Which list comes back?",
        "choice",
        "A",
        ["the peers in the order in which their sessions came up", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"],
    ),
    make_question(8, "Which two lists are the same?", "choice", "A", ["1 2 3 4 5 6", "9 8 7 6 5 4"]),
    make_question(9, "Write every prefix into result.json.", "code", "print()"),
]
FILLER = " ".join(f"filler{number}" for number in range(60))
ORDER = "Read what follows with care, think about it, and give a short answer in one sentence."

GIVEN_AWAY = [
    (make_row("What value does the length field of a Keepalive message hold?"), "q-0", "near"),
    (make_row("what VALUE does the Length field of a keepalive\u200b message hold"), "q-0", "near"),
    (make_row("Answer this.", "What value does the Length field of a KEEPALIVE message hold?"), "q-0", "near"),
    (make_row(ORDER, "What value has the Length field of a KEEPALIVE message?"), "q-0", "near"),
    (make_row("What value does the Length field of a KEEPALIVE message hold? 16 19 23 29"), "q-0", "near"),
    (make_row("What value does the Length field of the OPEN message hold?"), "q-0", "near"),
    (make_row(FILLER, "", f"x What value does the Length field of a KEEPALIVE message hold? {FILLER}"), "q-0", "words"),
    (
        make_row(FILLER, "", f"A BGP speaker with no route to the next hop of an UPDATE does not install it {FILLER}"),
        "q-2",
        "words",
    ),
    (make_row(FILLER, "", f"Which port does BGP use? {FILLER} TCP 179."), "q-1", "answer"),
    (make_row(FILLER, "", f"{FILLER} The hold timer is never zero: that is false."), "q-3", "answer"),
    (make_row(FILLER, "", f"{FILLER} Routers of one confederation prefer external paths."), "q-5", "answer"),
    (make_row("What is a route leak?"), "q-4", "near"),
    (make_row(FILLER, "", f"So {QUESTIONS[6].key_facts[0]}, {FILLER}"), "q-6", "words"),
    (make_row(FILLER, "", f"So {QUESTIONS[6].answer} {FILLER}"), "q-6", "words"),
    (make_row(FILLER, "", f"It is {QUESTIONS[7].options[0].upper()}. {FILLER}"), "q-7", "words"),
]


@pytest.mark.parametrize(("task", "question_id", "measure"), GIVEN_AWAY)
def test_a_question_is_found(task: Instruction, question_id: str, measure: str) -> None:
    found = Evaluation(QUESTIONS, LIMITS).find_given_away(task)
    assert found
    assert (found.question, found.measure) == (question_id, measure)


HARMLESS = [
    make_row(FILLER),
    make_row(FILLER, "", f"Which port does BGP use? {FILLER} TCP 1790."),
    make_row(FILLER, "", f"{FILLER} The hold timer is never zero."),
    make_row(FILLER, "", f"{FILLER} What is a route leak?"),
    make_row(FILLER, "", f"{FILLER} Write every prefix into result.json."),
    make_row(FILLER, "", f"A BGP speaker with no route to the peer of an UPDATE does not install it {FILLER}"),
    make_row("How long is a KEEPALIVE?", "", "Nothing but the header, whose Length field is 19."),
    make_row(FILLER, "", f"{FILLER} 1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    make_row(FILLER, "", f"{FILLER} the peers in the order in which their names stand"),
    make_row("Which of these paths does the filter let pass?", "1: 3 7 9 4 2\n2: 6 4 4\n3: 8 1 5 5"),
]


@pytest.mark.parametrize("task", HARMLESS)
def test_a_shared_subject_a_short_phrase_or_a_table_of_numbers_gives_nothing_away(task: Instruction) -> None:
    assert Evaluation(QUESTIONS, LIMITS).find_given_away(task) is None


def test_a_score_at_the_threshold_is_too_near_even_where_it_is_rounded_below() -> None:
    asked, task = make_question(0, "route leak peer"), make_row("route leak and peer too")  # 3 in common of 3 and 5
    assert score(asked.question, task.instruction) < 0.75
    for threshold, near in ((0.75, True), (0.7501, False)):
        limits = ContaminationParams(similarity_threshold=threshold, ngram=13)
        assert bool(Evaluation([asked], limits).find_given_away(task)) is near


def test_it_is_said_which_question_and_how() -> None:
    evaluation = Evaluation(QUESTIONS, LIMITS)
    said = [str(evaluation.find_given_away(GIVEN_AWAY[place][0])) for place in (0, 7, 8)]
    assert said == [
        "near evaluation question q-0 (ROUGE-L 1.00)",
        "repeats evaluation question q-2: 'a bgp speaker with no route to the next hop of an update'",
        "states evaluation question q-1 with its answer",
    ]


def test_half_of_the_runs_of_a_long_question_are_too_many() -> None:
    said = [f"word{number}" for number in range(40)]
    limits = ContaminationParams(similarity_threshold=0.9, ngram=13)
    evaluation = Evaluation([make_question(0, " ".join(said))], limits)  # 28 runs of 13 words
    found = evaluation.find_given_away(make_row(FILLER, "", f"{' '.join(said[:26])} {FILLER}"))  # 14 of them
    assert found
    assert found.score == 0.5
    assert evaluation.find_given_away(make_row(FILLER, "", f"{' '.join(said[:25])} {FILLER}")) is None


def test_a_name_with_underscores_is_one_word() -> None:
    limits = ContaminationParams(similarity_threshold=0.9, ngram=8)
    columns = ["dl_throughput_mbps", "ul_throughput_mbps", "packet_loss_pct"]
    evaluation = Evaluation([make_question(0, f"Plot {columns[0]} and {columns[1]} over {columns[2]} now.")], limits)
    assert evaluation.find_given_away(make_row(FILLER, "", f"{' '.join(columns)} {FILLER}")) is None
    assert evaluation.find_given_away(make_row(FILLER, "", f"plot {' and '.join(columns)} over {columns[2]}")) is None


def test_content_that_is_written_by_hand_may_not_share_eight_words_in_a_row() -> None:
    said = [f"word{number}" for number in range(40)]
    strict = Evaluation([make_question(0, " ".join(said))], LIMITS, strict=True)
    (found,) = strict.list_given_away(make_row(FILLER, "", f"{' '.join(said[20:28])} {FILLER}"))
    assert (found.measure, found.repeated) == ("words", " ".join(said[20:28]))
    assert strict.list_given_away(make_row(FILLER, "", f"{' '.join(said[20:27])} {FILLER}")) == []


def test_all_questions_that_are_given_away_are_listed_once() -> None:
    task = make_row(QUESTIONS[0].question, "", f"{QUESTIONS[2].question.replace('____', 'next hop')} {FILLER}")
    task = task.model_copy(
        update={"output": f"{task.output} Which port does BGP use? TCP 179. {QUESTIONS[0].question}"}
    )
    found = Evaluation(QUESTIONS, LIMITS).list_given_away(task)
    assert [(each.question, each.measure) for each in found] == [("q-0", "near"), ("q-2", "words"), ("q-1", "answer")]


WORDS = st.sampled_from(["bgp", "Hold", "7", "10.0.0.1", "é", "route", "leak", "peer", "as_path", "路由"])
TEXT = st.lists(WORDS, min_size=1, max_size=14).map(" ".join)
LISTED = st.lists(TEXT, min_size=2, max_size=4, unique=True)
ASKED = st.one_of(
    st.builds(lambda text: (text, "true_false", "true", [], []), TEXT),
    st.builds(lambda text: (text, "true_false", "false", [], []), TEXT),
    st.builds(lambda text, options: (text, "choice", "B", options, []), TEXT, LISTED),
    st.builds(lambda one, other, gap: (f"{one} ____ {other}", "blank", gap, [], []), TEXT, TEXT, TEXT),
    st.builds(lambda text, answer, facts: (text, "open", answer, [], facts), TEXT, TEXT, LISTED),
    st.builds(lambda text, answer: (text, "code", answer, [], []), TEXT, TEXT),
)
ANY_QUESTIONS = st.lists(ASKED, min_size=1, max_size=5).map(
    lambda listed: [make_question(number, *asked) for number, asked in enumerate(listed)]
)
FIELDS = st.tuples(TEXT, st.just("") | TEXT, st.lists(TEXT, min_size=1, max_size=3).map(" false ".join))
ANY_LIMITS = st.builds(
    ContaminationParams, similarity_threshold=st.sampled_from([0.5, 0.7, 0.75, 0.9]), ngram=st.integers(2, 13)
)


@given(questions=ANY_QUESTIONS, fields=FIELDS, limits=ANY_LIMITS, strict=st.booleans())
def test_what_is_found_is_what_plain_loops_find(
    questions: list[Question], fields: tuple[str, str, str], limits: ContaminationParams, strict: bool
) -> None:
    task = make_row(*fields)
    expected = judge_slowly(task, questions, limits, strict)
    found = Evaluation(questions, limits, strict=strict).list_given_away(task)
    near = [each for each in found if each.measure == "near"]
    assert len(near) == bool(expected.nearest)
    for each in near:
        assert each.question in expected.nearest
        assert each.score == pytest.approx(expected.near)
    ids = [each.question for each in near]
    repeated = [name for name in expected.repeated if name not in ids]
    assert [each.question for each in found if each.measure == "words"] == repeated
    stated = [name for name in expected.stated if name not in [*ids, *repeated]]
    assert [each.question for each in found if each.measure == "answer"] == stated
    assert Evaluation(questions, limits, strict=strict).find_given_away(task) == (found[0] if found else None)


@given(questions=ANY_QUESTIONS, fields=FIELDS, limits=ANY_LIMITS)
def test_generate_rejects_exactly_the_rows_that_split_would_drop_and_validate_complains_of_them_all(
    questions: list[Question], fields: tuple[str, str, str], limits: ContaminationParams
) -> None:
    evaluation = Evaluation(questions, limits)
    settings = params(enabled=["near_question"]).filters
    verdict = TaskPool("bgp", [], "", evaluation, settings).judge_candidate(Candidate(*fields))
    row = make_row(*fields).model_copy(update={"source": "generated"})
    screened = drop_given_away([PoolRow(row)], questions, limits)
    expected = judge_slowly(row, questions, limits)
    given_away = bool(expected.nearest or expected.repeated or expected.stated)
    assert (verdict.reason == "near_question") == (not screened.kept) == given_away
    if given_away:
        assert [drop.of for drop in screened.drops] == [(verdict.nearest[0],)]
        assert Evaluation(questions, limits, strict=True).list_given_away(row)
