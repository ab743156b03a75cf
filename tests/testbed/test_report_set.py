"""Report sets: disjoint sides, balanced answers, one right report, look-alikes that hold no answer, short texts."""

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.reports import report_draft
from testbed.reports import report_set as set_module
from testbed.reports.answer_balance import LARGEST_SHARE, balance_answers
from testbed.reports.report_catalogue import KINDS
from testbed.reports.report_draft import estimate_tokens
from testbed.reports.report_reader import answer_question, read_question
from testbed.reports.report_records import Part, Report, ReportQuestion, ReportSet
from testbed.reports.report_set import MOST_TOKENS, make_report_set
from testbed.reports.report_wording import compile_wording, list_fields
from tests.support.clones import ROOT
from tests.support.pages import list_blocks, list_tables, read_page
from tests.support.report_heuristics import find_form, score_guesses, score_majority
from tests.support.workers import make_once

PAGE = ROOT / "docs" / "reports.md"

NAMES = {
    "AS number": r"AS\d+",
    "IPv4 prefix": r"(?<![\w.])\d+(?:\.\d+){3}/\d+",
    "IPv6 prefix": r"(?<![\w:])[\da-f]+:[\da-f:]+/\d+",
    "cell": r"(?<!\w)[A-Z]{3}-\d",
}


@pytest.fixture(scope="module", autouse=True)
def _each_network_once() -> Iterator[None]:
    """A network is simulated once a process: that is most of a set's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_draft, "simulate_network", cache(report_draft.simulate_network))
        yield


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> ReportSet:
    return make_once(tmp_path_factory, "reports of training", lambda: make_report_set(1, 3, "train"))


@pytest.fixture(scope="module")
def test_side(tmp_path_factory: pytest.TempPathFactory) -> ReportSet:
    return make_once(tmp_path_factory, "reports of the test", lambda: make_report_set(1, 2, "test"))


@pytest.fixture(scope="module", params=["train", "test_side"])
def report_set(request: pytest.FixtureRequest) -> ReportSet:
    result: ReportSet = request.getfixturevalue(request.param)
    return result


def index_reports(report_set: ReportSet) -> dict[str, Report]:
    return {report.id: report for report in report_set.reports}


def list_names(report_set: ReportSet, pattern: str) -> set[str]:
    texts = [f"{report.title} {report.text}" for report in report_set.reports]
    texts += [each.question for each in report_set.questions]
    return {name for text in texts for name in re.findall(pattern, text)}


def list_words(report_set: ReportSet) -> set[str]:
    """The invented names of collectors, clusters, cars, phones, slices and groups in the questions."""
    read = [asked for each in report_set.questions if (asked := read_question(each.question))]
    return {
        asked.fields[name]
        for asked in read
        for name in ("collector", "cluster", "car", "phone", "slice", "group")
        if name in asked.fields
    }


def test_a_set_has_reports_and_questions_of_every_kind_and_type(report_set: ReportSet) -> None:
    asked = Counter((each.kind, each.type) for each in report_set.questions if not each.absence)
    assert set(asked) == {(kind.name, each.name) for kind in KINDS for each in kind.types}
    assert {report.kind for report in report_set.reports} == {kind.name for kind in KINDS}
    assert sum(each.difficulty == 3 and not each.absence for each in report_set.questions) > len(asked) / 2


def test_the_same_arguments_give_the_same_bytes_in_another_process() -> None:
    code = (
        "import json, dataclasses; from testbed.reports.report_set import make_report_set; "
        "print(json.dumps(dataclasses.asdict(make_report_set(5, 1, 'test'))))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == json.dumps(asdict(make_report_set(5, 1, "test")))


def test_two_processes_simulate_what_one_does(test_side: ReportSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_module, "PARALLEL_NETWORKS", 2)
    monkeypatch.setattr(set_module, "count_cores", lambda: 2)
    assert make_report_set(1, 2, "test") == test_side


def test_other_seeds_give_other_questions(train: ReportSet) -> None:
    other = make_report_set(2, 1, "train")
    assert not {each.question for each in other.questions} & {each.question for each in train.questions}


@pytest.mark.parametrize("kind", [*NAMES, "word"])
def test_no_name_number_or_prefix_is_on_both_sides(kind: str, train: ReportSet, test_side: ReportSet) -> None:
    ours, others = (
        list_words(each) if kind == "word" else list_names(each, NAMES[kind]) for each in (train, test_side)
    )
    assert min(len(ours), len(others)) >= 10
    assert ours & others == set()


def list_patterns(part: Part) -> list[re.Pattern[str]]:
    """All that this part alone may ask, as patterns."""
    return [
        compile_wording(wording.replace("{scope}", scope), r"\S+?")
        for kind in KINDS
        for asked in kind.types
        for wording in asked.list_wordings(part)
        for scope in kind.list_scopes(part)
    ]


def test_validation_and_test_ask_most_questions_in_wordings_of_their_own(
    train: ReportSet, test_side: ReportSet
) -> None:
    trained = list_patterns("train")
    assert all(each.known_wording for each in train.questions)
    sets: dict[Part, ReportSet] = {"train": train, "val": make_report_set(1, 1, "val"), "test": test_side}
    for part, asked in sets.items():
        own = list_patterns(part)
        for each in asked.questions:
            assert any(pattern.fullmatch(each.question) for pattern in trained) == each.known_wording
            assert each.known_wording or any(pattern.fullmatch(each.question) for pattern in own)
        new = sum(not each.known_wording for each in asked.questions)
        assert part == "train" or 0.65 < new / len(asked.questions) < 0.85


def test_the_wordings_of_a_type_are_shared_out() -> None:
    for kind in KINDS:
        for each in kind.types:
            parts = [each.list_wordings(part) for part in get_args(Part)]
            assert sorted(itertools.chain(*parts)) == sorted(each.wordings)
            assert [len(own) for own in parts] == [len(each.wordings) - 4, 2, 2]
        assert [kind.list_scopes(part)[2:] for part in get_args(Part)] == [(), kind.scopes[2:3], kind.scopes[3:]]


def test_ids_are_unique_and_lead_to_reports(report_set: ReportSet) -> None:
    reports = index_reports(report_set)
    assert len(reports) == len(report_set.reports)
    assert len({each.id for each in report_set.questions}) == len(report_set.questions)
    assert len({each.question for each in report_set.questions}) == len(report_set.questions)
    for each in report_set.questions:
        named = [*each.golden, *each.distractors]
        assert len(set(named)) == len(named) >= 4
        assert set(named) <= reports.keys()
        assert len(each.golden) == (not each.absence)
        assert bool(each.answer) == bool(each.golden)
        assert len(each.answer.split()) <= 15


def test_look_alikes_come_first(report_set: ReportSet) -> None:
    reports = index_reports(report_set)
    for each in report_set.questions:
        same = [reports[name].kind == each.kind for name in each.distractors]
        assert same == sorted(same, reverse=True)
    alike = [sum(reports[name].kind == each.kind for name in each.distractors) for each in report_set.questions]
    assert sum(count >= 3 for count in alike) > 0.95 * len(alike)


def test_the_reader_answers_every_question_from_the_texts_and_refuses_the_others(report_set: ReportSet) -> None:
    reports = index_reports(report_set)
    for each in report_set.questions:
        shown = [*each.distractors, *each.golden]
        reading = answer_question(each.question, [reports[name].text for name in shown])
        found = reading and (reading.answer, (shown[reading.document],))
        assert found == ((each.answer, each.golden) if each.golden else None), each


def test_no_report_of_the_set_but_the_golden_one_answers_the_question(report_set: ReportSet) -> None:
    for each in report_set.questions:
        others = [report.text for report in report_set.reports if report.id not in each.golden]
        assert answer_question(each.question, others) is None, each


def test_no_distractor_is_about_what_the_question_names(report_set: ReportSet) -> None:
    reports = index_reports(report_set)
    for each in report_set.questions:
        asked = read_question(each.question)
        assert asked
        subject = {asked.fields[name] for name in asked.kind.subject}
        about = [
            name for name in each.distractors if subject <= set(re.split(r"[\s,;()]+|[.:](?:\s|$)", reports[name].text))
        ]
        assert about == (list(each.distractors[:1]) if each.absence == "fact" else []), each


def test_a_fifth_of_the_questions_have_no_answer(report_set: ReportSet) -> None:
    counts = Counter(each.absence for each in report_set.questions)
    assert 0.15 < (counts["report"] + counts["fact"]) / counts.total() < 0.25
    assert min(counts["report"], counts["fact"]) > 0.06 * counts.total()


def count_answers(questions: tuple[ReportQuestion, ...]) -> dict[tuple[str, str], tuple[ReportQuestion, Counter[str]]]:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for each in questions:
        if each.answer:
            counts[each.kind, each.type][each.answer] += 1
    first = {(each.kind, each.type): each for each in questions}
    return {key: (first[key], found) for key, found in counts.items()}


def test_no_answer_is_frequent_and_choices_are_even(report_set: ReportSet) -> None:
    for question, counts in count_answers(report_set.questions).values():
        if question.choices:
            assert counts.keys() <= set(question.choices)
            assert max(counts.values()) - min(counts[choice] for choice in question.choices) <= 1
        else:
            assert max(counts.values()) <= max(1, 0.15 * counts.total())


@given(
    st.lists(st.sampled_from("aabbbbbcdefghij")), st.integers(0, 40), st.sampled_from([(), ("a", "b"), ("a", "b", "c")])
)
def test_balanced_answers_are_the_first_that_keep_the_share(
    answers: list[str], quota: int, choices: tuple[str, ...]
) -> None:
    answers = [each for each in answers if not choices or each in choices]
    chosen = balance_answers(answers, quota, choices)
    counts = Counter(answers[index] for index in chosen)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= quota
    if choices:
        assert max(counts[choice] for choice in choices) - min(counts[choice] for choice in choices) <= 1
    elif chosen:
        assert max(counts.values()) <= max(1, LARGEST_SHARE * len(chosen))
    assert bool(chosen) == bool(answers and quota)
    if len(set(answers)) == len(answers) and not choices:
        assert chosen == list(range(min(len(answers), quota)))


def test_reports_are_short(report_set: ReportSet) -> None:
    for report in report_set.reports:
        assert estimate_tokens(report) <= MOST_TOKENS
        assert len(report.text.split()) <= 110


@pytest.mark.slow
def test_reports_have_fewer_than_160_tokens_of_the_bundled_model(report_set: ReportSet) -> None:
    from transformers import AutoTokenizer

    from netllama.models import bundled
    from netllama.models.model_reference import find_cache_folder

    tokenizer: Any = AutoTokenizer.from_pretrained(bundled.ensure(find_cache_folder()))
    for report in report_set.reports:
        assert len(tokenizer(f"{report.title}\n{report.text}").input_ids) < 160


def test_guesses_without_reading_are_seldom_right(train: ReportSet, test_side: ReportSet) -> None:
    scores = score_guesses(test_side)
    assert scores.pop("first of the form in the golden report") < 0.4
    assert max(scores.values()) < 0.2
    assert score_majority(train.questions, test_side.questions) < 0.1


def test_every_type_has_eight_wordings_that_differ_and_name_the_subject() -> None:
    for kind in KINDS:
        for each in kind.types:
            assert len(set(each.wordings)) >= 8
            assert len({list_fields(wording) for wording in each.wordings}) == 1
            assert "scope" in list_fields(each.wordings[0])
        assert len(kind.openings) >= 3 <= len(kind.scopes)
    assert sum(len(kind.types) for kind in KINDS) > 70


@pytest.mark.parametrize("question", ["Who are you?", "How many announcements were there of 22.0.0.0/8?"])
def test_the_reader_refuses_questions_in_other_words(question: str, train: ReportSet) -> None:
    assert read_question(question) is None
    assert answer_question(question, [report.text for report in train.reports]) is None


def test_the_page_shows_a_report_and_its_questions_as_they_are(test_side: ReportSet) -> None:
    (block,) = list_blocks(PAGE, "text")
    report_text, *asked = block.strip().split("\n\n")
    title, text = report_text.split("\n", 1)
    (report,) = (each for each in test_side.reports if each.title == title and each.text == text.replace("\n", " "))
    shown = {(each.question, each.answer) for each in test_side.questions if each.golden == (report.id,)}
    assert {tuple(each.split("\n")) for each in asked} == shown


def test_the_page_lists_the_kinds_and_what_guesses_reach(test_side: ReportSet) -> None:
    kinds, guesses = list_tables(read_page(PAGE))
    assert {row[0].strip("`"): int(row[2]) for row in kinds[1:]} == {kind.name: len(kind.types) for kind in KINDS}
    assert {row[0]: float(row[1]) for row in guesses[1:]} == score_guesses(test_side)
    formed = sum(find_form(each.answer) is not None for each in test_side.questions)
    assert f"Of the {formed} " in " ".join(read_page(PAGE).split())


def test_a_shorter_report_states_less_of_the_same_and_is_no_longer_than_it_may_be() -> None:
    whole = make_report_set(1, 1, "test")
    texts = {report.id: set(report.text.split()) for report in whole.reports}
    for most in (60, 75):
        short = make_report_set(1, 1, "test", most_tokens=most)
        assert max(map(estimate_tokens, short.reports)) <= most < max(map(estimate_tokens, whole.reports))
        both = [report for report in short.reports if report.id in texts]
        assert len(both) > len(short.reports) / 2
        assert all(set(report.text.split()) <= texts[report.id] for report in both)
