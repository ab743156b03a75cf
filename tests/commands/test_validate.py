"""`python -m commands.validate`: which planted faults it finds, and how well rules without knowledge guess."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.validate import PER_SUITE, find_malformed_questions, find_unread_seeds, main
from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.errors import StageError
from netllama.core.files import write_jsonl
from netllama.core.params import read_params
from netllama.core.records import Question, SeedTask
from netllama.validation.overlap import find_alike_questions, find_alike_seeds, find_given_away_questions
from netllama.validation.shortcuts import measure_learned_guesses, measure_suites
from netllama.validation.source_references import list_reference_problems
from tests.support.clones import ROOT
from tests.support.shipped_data import load_shipped_questions
from tests.support.stage_runs import run_here

Row = dict[str, Any]
RUN_OF_EIGHT = "the leftmost AS number of the path is the"


def question(number: int, **changes: Any) -> Question:
    row: Row = {
        "id": f"q-{number}",
        "family": "bgp_knowledge",
        "kind": "choice",
        "question": f"Question {number}?",
        "options": ["one", "two", "three", "four"],
        "answer": "A",
        "aliases": [],
        "key_facts": [],
        "reference": "RFC 4271 section 4.3",
        "cluster": "",
    }
    return Question.model_validate(row | changes)


def seed(number: int, instruction: str, output: str = "An answer.") -> SeedTask:
    return SeedTask(
        id=f"s-{number}",
        category="c",
        instruction=instruction,
        input="",
        output=output,
        reference="RFC 4271 section 4.3",
    )


def problems_found(*arguments: str) -> str:
    """The error that the command ends with, run in this process."""
    with pytest.raises(StageError) as raised:
        main(arguments)
    return str(raised.value)


@pytest.fixture
def edit(workdir: Path) -> Callable[[str, Callable[[list[Row]], None]], None]:
    """`edit("questions/pybgpstream", change)`: the rows of a data file as `change` leaves them."""

    def edited(name: str, change: Callable[[list[Row]], None]) -> None:
        path = workdir / "data" / f"{name}.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        change(rows)
        write_jsonl(path, rows)

    return edited


def test_the_content_of_the_repository_has_no_problems(workdir: Path) -> None:
    done = run_here(main)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "no problems; --run also runs the scripts"


def test_no_rule_that_knows_nothing_beats_chance_by_three_points_in_any_suite() -> None:
    """Stricter than the command, which allows one question more than chance."""
    questions = load_shipped_questions()
    measured = measure_suites(questions)
    assert len(measured) == 17
    for suite in measured:
        beaten = {rule: suite.rules[rule] for rule in PER_SUITE if suite.rules.get(rule, 0) > suite.chance + 0.03}
        assert beaten == {}, (suite.family, suite.kind)
    for suite in measure_suites([question.model_copy(update={"family": "all"}) for question in questions]):
        assert suite.find_best_rule()[1] <= 0.03, suite.find_best_rule()


def test_every_fault_of_the_content_is_listed_in_one_run(workdir: Path, edit: Any) -> None:
    def spoil_questions(rows: list[Row]) -> None:
        choices = [row for row in rows if row["kind"] == "choice"]
        for row in choices:  # every answer becomes B
            right = "ABCD".index(row["answer"])
            row["options"][right], row["options"][1] = row["options"][1], row["options"][right]
            row["answer"] = "B"
        choices[0]["reference"] = "RFC 4271"
        choices[1]["options"][:2] = ["Same ", "same"]
        choices[2]["question"], choices[2]["options"] = choices[3]["question"], choices[3]["options"]
        blank = next(row for row in rows if row["kind"] == "blank")
        blank["question"] = "____ and ____ to fill in."
        blank["scenario"] = "no_such_place"

    def spoil_seeds(rows: list[Row]) -> None:
        rows[0]["instruction"] = rows[1]["instruction"]
        rows[2]["output"] = "```python\nprint(\n```"

    edit("questions/packet_analysis", spoil_questions)
    edit("seeds/packet_analysis", spoil_seeds)
    found = problems_found()
    for said in (
        "'RFC 4271': name the place",
        "two options are equal",
        "questions are alike",
        "write the blank as ____, exactly once",
        "unknown scenario 'no_such_place'",
        "packet_analysis-003: the filter broken_code rejects it",
        "packet_analysis-001 and packet_analysis-002: instructions are alike",
        "packet_analysis, choice: the rule 'majority' scores 1.000, chance 0.250",
        "packet_analysis, choice: right answers are unevenly spread",
    ):
        assert said in found, said


def test_a_row_that_is_none_is_named_with_its_line(workdir: Path) -> None:
    path = workdir / "data" / "questions" / "pybgpstream.jsonl"
    lines = path.read_text(encoding="utf-8").count("\n")
    with path.open("a", encoding="utf-8") as file:
        file.write('{"id": "cut')
    done = run_here(main)
    assert done.returncode == 1
    assert f"pybgpstream.jsonl:{lines + 1}: not valid JSON" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_small_family_of_a_user_passes(workdir: Path, set_params: Callable[..., None]) -> None:
    """One seed with the keys that must be there, in an editor's UTF-8 with CRLF; a question, or none."""
    set_params(**{"families": ["mine"]})
    for folder, name in (("prompts", "mine.txt"), ("seeds", "mine.jsonl"), ("questions", "mine.jsonl")):
        for path in (workdir / "data" / folder).iterdir():
            path.unlink()
        row: Row = {
            "id": "m-1",
            "category": "größe",
            "instruction": "Explain the größe of a packet.",
            "input": "",
            "output": "Its length in octets.",
            "reference": "RFC 791 section 3.1",
        }
        if folder == "questions":
            row = question(1, family="mine").model_dump(exclude={"category", "difficulty", "scenario"})
        text = "Write tasks about packets." if folder == "prompts" else json.dumps(row, ensure_ascii=False)
        (workdir / "data" / folder / name).write_bytes(b"\xef\xbb\xbf" + f"{text}\r\n".encode())
    main([])
    other = question(2, family="other").model_dump()
    write_jsonl(workdir / "data" / "questions" / "mine.jsonl", [other])
    assert problems_found().startswith("1 problem in")
    (workdir / "data" / "questions" / "mine.jsonl").unlink()
    assert problems_found().startswith("data/questions: no questions")


def test_a_mistyped_filter_is_one_line_before_anything_is_computed(
    workdir: Path, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "commands.validate.measure_learned_guesses", lambda questions: pytest.fail("classifiers were fitted")
    )
    set_params(**{"filters.enabled": ["near_questoin"]})
    found = problems_found()
    assert "\n" not in found
    assert "near_question" in found
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "code", "options": [], "answer": " "}, "answer is empty"),
        ({"kind": "code", "options": ["a"], "answer": "pass"}, "options: only choice questions have it"),
        (
            {"kind": "true_false", "options": ["true", "false"], "answer": "true"},
            "options: only choice questions have it",
        ),
        ({"aliases": ["a"]}, "aliases: only blank questions have it"),
        ({"key_facts": ["a"]}, "key_facts: only open questions have it"),
        ({"scenario": "moas"}, "scenario: only code questions have it"),
        ({"cluster": "alone"}, "is alone in cluster alone"),
        ({"kind": "open", "options": [], "answer": "It is."}, "key_facts is empty"),
    ],
)
def test_what_a_kind_lacks_or_must_not_have_is_said(changes: Row, said: str) -> None:
    assert any(said in problem for problem in find_malformed_questions([question(1, **changes)], ["bgp_knowledge"]))
    assert list(find_malformed_questions([question(1)], ["bgp_knowledge"])) == []


def test_a_family_that_is_neither_of_the_params_nor_a_suite_is_said() -> None:
    found = list(find_malformed_questions([question(1, family="bpg_knowledge")], ["bgp_knowledge"]))
    assert found == ["q-1: family bpg_knowledge is neither in `families` in params.yaml nor a file of data/questions/"]


def test_a_suite_that_is_no_family_passes(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [question(n, family="mine", answer="ABCD"[n % 4], question=f"{n * 7919} and {n}?") for n in range(8)]
    options = [[f"{letter}{n}" for letter in "wxyz"] for n in range(8)]
    written = [row.model_dump() | {"options": own} for row, own in zip(rows, options, strict=True)]
    write_jsonl(workdir / "data" / "questions" / "mine.jsonl", written)
    main([])
    assert re.search(r"^mine +0 +8 +0", capsys.readouterr().out, re.MULTILINE)


def test_scripts_that_fail_or_are_constants_are_found_when_run(
    workdir: Path, edit: Any, networks: Callable[[int], Path]
) -> None:
    (workdir / ".scratch").mkdir()
    (workdir / ".scratch" / "network").symlink_to({networks(seed).parent for seed in (1, 2)}.pop())

    def spoil_seeds(rows: list[Row]) -> None:
        with_code = [row for row in rows if "```python" in row["output"]][:2]
        with_code[0]["output"] = "```python\nraise SystemExit(7)\n```"
        with_code[1]["output"] = (
            "```python\nimport pybgpstream\nstream = pybgpstream.BGPStream(project='ris', "
            "from_time='2024-03-05 08:00', until_time='2024-03-05 08:01', filter='peer 1,2 or 3')\n```"
        )
        rows[:] = with_code

    def spoil_questions(rows: list[Row]) -> None:
        code = [row for row in rows if row["kind"] == "code"][:2]
        code[0]["answer"] = "open('result.json', 'w').write('{}')"
        code[1]["answer"] = "print('nothing')"
        rows[:] = code

    for family in ("bgp_knowledge", "pybgpstream_realtime", "packet_analysis", "performance_analysis"):
        edit(f"seeds/{family}", lambda rows: rows.__setitem__(slice(None), rows[:1]))
        edit(f"questions/{family}", lambda rows: rows.__setitem__(slice(None), []))
    edit("seeds/pybgpstream", spoil_seeds)
    edit("questions/pybgpstream", spoil_questions)
    found = problems_found("--run")
    assert "on network 1: exit 7" in found
    assert "on network 2: exit 1 ValueError" in found
    assert "same result on both networks, so a constant passes" in found
    assert "on network 2: no result.json" in found


@pytest.mark.parametrize(
    "reference",
    [
        "RFC 4271 section 4.3",
        "RFC 4271 sections 4.2, 4.3 and 9.1.2.2 (a)",
        "RFC 4271 sections 9.1.2.2 (c) and (e)",
        "RFC 3550 section 6.4.1 and appendix A.8",
        "RFC 792, Time Exceeded Message",
        "3GPP TS 23.501 table 5.7.4-1 and clauses 5.7.3.3 and 5.7.3.4",
        "3GPP TS 23.501 clause 5.7.2.4.1a",
        "ITU-T Y.1541 table 1; IEEE 802.1Q-2018 clause 9.6; ITU-T G.107.1 clause 7",
        "3GPP TR 38.913 clause 7; 3GPP TS 38.521-1 clause 6; RFC 1191 figure 1",
        "httpx documentation: Client",
        "PyBGPStream API, BGPElem.fields; run with pandas 3.1",
        "pandas documentation: DataFrame.groupby; arithmetic on the given numbers",
    ],
)
def test_a_reference_that_names_the_place_is_well_formed(reference: str) -> None:
    assert list_reference_problems(reference) == []


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "RFC 4271",
        "RFC 04271 section 1",
        "RFC 4271 section",
        "RFC 4271 section 4.3 (the answer is B)",
        "TS 23.501 clause 5.7",
        "3GPP TS 23501 clause 5.7",
        "pandas",
        "RFC 4271 section 4.3;RFC 1997 section 1",
        "RFC 4271 section 4.3; ",
        "RFC 4271 section 4.3.",
        "the tutorial, at https://example.org",
        "FRRouting documentation, BGP (next-hop-self",
    ],
)
def test_a_reference_without_a_place_is_a_problem(reference: str) -> None:
    assert list_reference_problems(reference)


def test_a_reference_that_is_not_there_is_said_to_be_empty() -> None:
    assert list_reference_problems(" ") == [
        "is empty; name the source and the place in it, as in `RFC 4271 section 4.3`"
    ]


@given(answers=st.lists(st.sampled_from("ABCD"), min_size=4, max_size=60))
def test_rules_on_choices_are_what_a_plain_count_says(answers: list[str]) -> None:
    rows = [question(number, answer=answer) for number, answer in enumerate(answers)]
    (suite,) = measure_suites(rows)
    assert suite.chance == 0.25
    assert suite.rules["majority"] == max(answers.count(letter) for letter in "ABCD") / len(answers)
    assert suite.rules["first"] == answers.count("A") / len(answers)
    assert suite.rules["longest"] == pytest.approx(answers.count("C") / len(answers))
    assert suite.rules["shortest"] == pytest.approx(sum(a in "AB" for a in answers) / 2 / len(answers))


@given(st.lists(st.booleans(), min_size=3, max_size=40))
def test_a_rule_on_statements_and_its_reverse_share_out_all_of_them(truths: list[bool]) -> None:
    rows = [
        question(
            number,
            kind="true_false",
            options=[],
            answer=str(truth).lower(),
            question="It is not so." if truth else "It is always so.",
        )
        for number, truth in enumerate(truths)
    ]
    (suite,) = measure_suites(rows)
    assert suite.rules["majority"] == max(sum(truths), len(truths) - sum(truths)) / len(truths)
    assert suite.rules["negation is false"] == 0
    assert suite.rules["negation is false, reversed"] == 1
    assert suite.rules["absolute is false"] == 1


def test_the_text_that_fits_most_blanks_counts_with_its_aliases() -> None:
    rows = [
        question(1, kind="blank", question="One: ____", options=[], answer="3", aliases=["three"]),
        question(2, kind="blank", question="Two: ____", options=[], answer="Three", aliases=["3"]),
        question(3, kind="blank", question="Three: ____", options=[], answer="AS_PATH"),
    ]
    (suite,) = measure_suites(rows)
    assert (suite.rules["majority"], suite.chance) == (2 / 3, 1 / 3)


def test_evenness_is_chi_square_over_the_positions_that_there_are() -> None:
    even = measure_suites([question(number, answer="ABCD"[number % 4]) for number in range(40)])[0]
    skewed = measure_suites([question(number, answer="A") for number in range(40)])[0]
    assert even.p_even == 1.0
    assert skewed.p_even < 1e-20
    of_two = [question(number, answer="AB"[number % 2], options=["yes", "no"]) for number in range(40)]
    mixed = measure_suites([*of_two, *(question(40 + number, answer="ABCD"[number % 4]) for number in range(40))])[0]
    assert mixed.p_even == pytest.approx(1.0)
    assert mixed.chance == 0.375


@pytest.mark.parametrize("kind", ["choice", "true_false"])
def test_a_bag_of_words_finds_wording_that_gives_the_answer_away_and_nothing_in_noise(kind: str) -> None:
    def row(number: int, told: bool) -> Question:
        if kind == "choice":
            options = [f"word{number * 4 + place}" for place in range(4)]
            options[number % 4] += " surely" if told else ""
            return question(number, options=options, answer="ABCD"[number % 4])
        text = f"Statement {number}." if number % 2 or not told else f"Statement {number}, surely."
        return question(number, kind=kind, options=[], question=text, answer=str(number % 2 == 0).lower())

    told, untold = (
        measure_learned_guesses([row(number, give) for number in range(60)], repeats=2)[kind] for give in (True, False)
    )
    assert told > 0.95
    assert untold < 0.7
    assert measure_learned_guesses([row(number, True) for number in range(9)]) == {}


def test_a_bag_of_words_that_saw_one_answer_alone_says_that() -> None:
    rows = [question(number, kind="true_false", options=[], answer="true") for number in range(20)]
    assert measure_learned_guesses(rows, repeats=1) == {"true_false": 1.0}


def given_away(tasks: Sequence[SeedTask], questions: Sequence[Question]) -> list[str]:
    limits = read_params(ROOT / "params.yaml").contamination
    return list(find_given_away_questions(tasks, Evaluation(questions, limits, strict=True)))


def test_a_sentence_of_a_seed_inside_a_question_is_found_and_one_word_less_is_not() -> None:
    tasks = [seed(1, "Explain it.", f"Indeed {RUN_OF_EIGHT} peer, as everywhere.")]
    eight = question(1, question=f"Is it true that {RUN_OF_EIGHT} peer's own?")
    seven = question(2, question=f"Is it true that {RUN_OF_EIGHT.removeprefix('the ').removesuffix(' the')}?")
    first = RUN_OF_EIGHT.lower().removesuffix(" the")
    said = f"s-1: repeats evaluation question q-1: {first!r}; reword or remove one of them"
    assert given_away(tasks, [eight, seven]) == [said]
    assert given_away(tasks, [seven]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "blank", "question": f"Indeed {RUN_OF_EIGHT.replace('AS', '____')} peer.", "answer": "AS"},
        {"kind": "open", "answer": f"Since {RUN_OF_EIGHT} peer."},
        {"kind": "open", "answer": "So.", "key_facts": [f"that {RUN_OF_EIGHT} peer"]},
        {"kind": "choice", "options": [f"{RUN_OF_EIGHT} origin", "it is not"], "answer": "B"},
    ],
)
def test_a_sentence_of_a_seed_is_found_with_a_gap_in_it_and_in_options_key_facts_and_answers(changes: Row) -> None:
    tasks = [seed(1, "Explain it.", f"Indeed {RUN_OF_EIGHT} peer, as everywhere.")]
    assert len(given_away(tasks, [question(1, **{"options": []} | changes)])) == 1


def test_a_seed_that_asks_a_question_of_the_benchmark_is_found() -> None:
    asked = question(1, question="How long is the header of a BGP message?")
    (said,) = given_away([seed(1, "How long is the header of each BGP message?")], [asked])
    assert said.startswith("s-1: near evaluation question q-1 (ROUGE-L 0.")


def test_alike_seeds_are_a_problem_whatever_their_families() -> None:
    tasks = [seed(number, "How long is the header of a BGP message?") for number in (1, 2)]
    assert len(list(find_alike_seeds(tasks, 0.7))) == 1
    assert list(find_alike_seeds([tasks[0], seed(2, "Explain it.")], 0.7)) == []


def test_alike_questions_are_a_problem_unless_they_stand_in_one_cluster() -> None:
    rows = [question(number, question="How long is the header of a BGP message?") for number in (1, 2)]
    assert len(list(find_alike_questions(rows, 0.7))) == 1
    assert list(find_alike_questions([row.model_copy(update={"cluster": "header"}) for row in rows], 0.7)) == []


def test_broken_lines_of_all_files_and_files_that_are_not_read_are_listed_at_once(
    workdir: Path, edit: Callable[[str, Callable[[list[Row]], None]], None]
) -> None:
    edit("seeds/pybgpstream", lambda rows: rows[2].update(output=""))
    edit("seeds/packet_analysis", lambda rows: rows[0].pop("reference"))
    edit("questions/pybgpstream", lambda rows: rows[1].update(answer=5))
    edit("questions/bgp_knowledge", lambda rows: (rows[0].update(kind="guess"), rows[9].update(question=" ")))
    (workdir / "data" / "questions" / "mine.json").write_text("[]")
    found = problems_found().splitlines()
    assert [line.removeprefix("data/").partition(": ")[0] for line in found] == [
        "seeds/pybgpstream.jsonl:3", "seeds/packet_analysis.jsonl:1", "questions/bgp_knowledge.jsonl:1",
        "questions/bgp_knowledge.jsonl:10", "questions/mine.json", "questions/pybgpstream.jsonl:2",
    ]  # fmt: skip


def test_a_file_of_seeds_that_no_family_reads_is_a_problem(workdir: Path) -> None:
    families = read_params().families
    assert [*find_unread_seeds(families)] == []
    (workdir / "data" / "seeds" / "README.md").write_text("About.")
    for name in ("mine.jsonl", "pybgpstream.json"):
        (workdir / "data" / "seeds" / name).write_text("[]")
    found = [*find_unread_seeds(families)]
    assert [line.partition(": ")[0] for line in found] == ["data/seeds/mine.jsonl", "data/seeds/pybgpstream.json"]
    assert "is not read; name it like a family of `families` in params.yaml" in found[0]
