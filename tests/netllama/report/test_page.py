"""The page as a whole: what stands in it, what is left out, the same bytes, and no way out of it."""

import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import inf
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.core.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from netllama.report.code_ladder_figure import FailureCount, make_code_ladder
from netllama.report.comparison_inputs import parse_comparison, read_comparisons, read_suite_notes
from netllama.report.page import average_chances, build_report, write_headline, write_p_value
from netllama.report.report_inputs import ReportPaths, read_curve, read_inputs
from netllama.scoring.clean_items import compare_clean, note_suites
from netllama.scoring.comparison import as_rows, compare_groups, group_pairs, pair_scores
from tests.support.report_files import make_paths, make_score, read_embedded, write_evaluation


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> ReportPaths:
    return write_evaluation(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def page(evaluation: ReportPaths) -> str:
    return build_report(evaluation)


class Outline(HTMLParser):
    """Elements, headings, ids and what is labelled by them."""

    VOID = ("meta", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_element_is_closed_headings_go_step_by_step_and_each_part_has_a_name(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    levels = [int(tag[1]) for tag, _ in outline.starts if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in outline.starts if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["aria-labelledby"] for tag, attributes in outline.starts if tag == "section"} <= set(ids)
    assert all(attributes.get("aria-label") for tag, attributes in outline.starts if tag == "svg")
    assert sum(tag == "svg" for tag, _ in outline.starts) == 10
    assert all(attributes.get("scope") for tag, attributes in outline.starts if tag == "th")


def test_nothing_comes_from_elsewhere_and_an_answer_ends_no_script(page: str) -> None:
    outline = Outline(page)
    assert not [tag for tag, attributes in outline.starts if {"src", "onerror", "style"} & attributes.keys()]
    assert {attributes["href"] for _, attributes in outline.starts if "href" in attributes} == {
        "#verdicts",
        "#scores",
        "#code",
        "#calibration",
        "#training",
        "#answers",
    }
    assert sum(tag == "script" for tag, _ in outline.starts) == 2
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_verdicts_stand_in_words_under_the_comparisons_own(page: str, evaluation: ReportPaths) -> None:
    comparisons = read_comparisons(evaluation.comparison)
    assert {each.verdict for each in comparisons} == {"better", "worse", "inconclusive"}
    for number, word in enumerate(("better", "worse", "inconclusive")):
        group = page.split(f'<div class="group {word}">')[1].split("</div>")[0]
        named = re.findall(r"<strong>(.*?)</strong>", group)
        assert named == [each.suite for each in comparisons if each.verdict == word], number
    assert write_headline(comparisons) in page.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["better", "inconclusive"], "Of 2 measurements, the tuned model is better in 1 and worse in none; in 1 it"),
        (["worse"], "Of 1 measurement, the tuned model is better in none and worse in 1; in none it can't be told."),
    ],
)
def test_the_headline_counts(verdicts: list[str], said: str, evaluation: ReportPaths) -> None:
    row = read_json(evaluation.comparison)[0]
    assert write_headline([parse_comparison(row | {"verdict": verdict}) for verdict in verdicts]).startswith(said)


def test_the_browser_has_every_answer_with_what_was_asked(page: str, evaluation: ReportPaths) -> None:
    rows = {row["item"]: row for row in read_embedded(page)}
    scores = read_jsonl(evaluation.tuned)
    assert list(rows) == [score["item"] for score in scores if score["kind"] != "heldout"]
    assert str(rows["q-bgp-000"]["question"]).startswith("How long is a marker? </script>")
    assert str(rows["q-bgp-000"]["question"]).endswith("D) 29 octets")
    assert rows["pybgpstream-000"]["question"] == "Print all elements.\nrrc00"
    assert rows["q-bgp-001"]["question"] == ""


def test_the_same_inputs_give_the_same_bytes_wherever_they_lie(page: str, tmp_path: Path) -> None:
    assert build_report(write_evaluation(tmp_path)) == page


def test_the_comparisons_are_read_as_they_were_written() -> None:
    base, tuned = [
        [make_score(f"q{number}", "blank", value, "x", cluster="one") for number in range(3)] for value in (0, 1)
    ]
    pairs = pair_scores(base, tuned)
    notes = note_suites(pairs, compare_clean(pairs, {"q1"}))
    [row] = as_rows(compare_groups(group_pairs(pairs)), notes)
    assert row["difference"]["low"] is None
    read = parse_comparison(row)
    assert (read.difference.low, read.difference.high, read.detectable) == (-inf, inf, inf)
    assert as_rows([read], notes) == [row]


@pytest.mark.parametrize(
    ("part", "remedy", "lost"),
    [
        ("comparison", "dvc repro evaluate", "Differences tuned - base"),
        ("base", "dvc repro baseline", 'id="filters"'),
        ("tuned", "dvc repro evaluate", 'id="filters"'),
        ("grad_norm", "dvc repro train", "Norm of the gradient"),
        ("questions", "git checkout data/questions", "How long is a marker"),
        ("tasks", "dvc repro split", "Print all elements"),
    ],
)
def test_what_is_missing_is_left_out_with_a_line_that_says_what_to_run(
    part: str, remedy: str, lost: str, page: str, evaluation: ReportPaths, tmp_path: Path
) -> None:
    lacking = build_report(replace(evaluation, **{part: tmp_path / "nothing"}))
    note = f"{tmp_path / 'nothing'} is not there: run `{remedy}`"
    assert note in lacking
    assert note not in page
    assert lost in page
    assert lost not in lacking
    assert Outline(lacking).open == []


def test_a_page_of_nothing_says_what_to_run(tmp_path: Path) -> None:
    page = build_report(make_paths(tmp_path))
    assert Outline(page).open == []
    assert "<svg" not in page
    assert "<script" not in page
    for remedy in ("dvc repro evaluate", "dvc repro baseline", "dvc repro train"):
        assert remedy in page


def test_a_judge_is_quoted_where_one_was_asked(page: str, evaluation: ReportPaths, tmp_path: Path) -> None:
    assert "judge" not in page
    judged = replace(evaluation, judge=tmp_path / "judge.json")
    write_json(judged.judge, {"enabled": False})
    assert build_report(judged) == page
    write_json(judged.judge, {"enabled": True, "said": ["judge: of 3 questions it prefers <tuned> in 2"]})
    assert "<li>of 3 questions it prefers &lt;tuned&gt; in 2</li>" in build_report(judged)
    write_json(judged.judge, {"enabled": True})
    with pytest.raises(StageError, match=r"judge\.json: no sentences of a judge; run `dvc repro judge`"):
        build_report(judged)


def test_curves_without_a_number_are_left_out(evaluation: ReportPaths, tmp_path: Path) -> None:
    write_text(empty := tmp_path / "val_loss.csv", "")
    page = build_report(replace(evaluation, val_loss=empty))
    assert "holds no number: this run measured none." in page
    assert "training" in page
    assert ">validation<" not in page
    write_text(path := tmp_path / "x.csv", "step,loss\n1,2.5\n2,nan\n3,2.25\n")
    assert read_curve(path, "loss") == [(1.0, 2.5), (3.0, 2.25)]
    write_text(path, "step,loss\n1,2.5\n2,much\n")
    with pytest.raises(StageError, match=r"x\.csv:3: no number under step and loss; run `dvc repro train`"):
        read_curve(path, "loss")


@pytest.mark.parametrize("row", ["inf,2.5", "nan,2.5", "1," + "9" * 200_000, "1"])
def test_a_row_of_a_curve_that_is_none_is_named(row: str, tmp_path: Path) -> None:
    write_text(path := tmp_path / "x.csv", f"step,loss\n0,3\n{row}\n")
    with pytest.raises(StageError, match=r"x\.csv:3: no number under step and loss"):
        read_curve(path, "loss")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "good"}, "suite 1: verdict: input should be"),
        ({"difference": None}, "suite 1: not a suite"),
        ({"items": "many"}, "suite 1: items: input should be"),
        ({"clean": {"suite": "x"}}, "suite 1: no 'base'"),
        ({"clean": 3}, "suite 1: not a suite"),
        ({"guessing": {"chance": "often"}}, "suite 1: chance: input should be"),
    ],
)
def test_a_broken_comparison_is_one_clear_line(
    change: dict[str, object], said: str, evaluation: ReportPaths, tmp_path: Path
) -> None:
    write_json(path := tmp_path / "comparison.json", [read_json(evaluation.comparison)[0] | change])
    with pytest.raises(StageError, match=f"comparison.json: {said}.*; run `dvc repro evaluate`"):
        read_suite_notes(path)
    write_json(path, {"suite": "x"})
    with pytest.raises(StageError, match="not a list of suites"):
        read_comparisons(path)


def test_scores_of_other_items_are_refused(evaluation: ReportPaths, tmp_path: Path) -> None:
    write_jsonl(fewer := tmp_path / "tuned.jsonl", read_jsonl(evaluation.tuned)[1:])
    with pytest.raises(StageError, match="was not asked this time; run `dvc repro baseline`"):
        build_report(replace(evaluation, tuned=fewer))


def test_guessing_is_averaged_by_suite_and_left_out_where_an_item_does_not_say() -> None:
    scores = [make_score(f"q{number}", "choice", 0, measures={"chance": 1 / number}) for number in (2, 4)]
    assert average_chances(scores) == {"four-choice questions": 0.375}
    assert average_chances([*scores, make_score("q9", "choice", 0)]) == {}


@pytest.mark.parametrize(
    ("p", "said"), [(0.0, "under 0.0001"), (0.0001, "0.0001"), (0.04999, "0.0500"), (1.0, "1.0000")]
)
def test_a_small_p_value_is_not_zero(p: float, said: str) -> None:
    assert write_p_value(p) == said


def test_the_ladder_counts_who_comes_how_far_and_what_stops_the_others(page: str, evaluation: ReportPaths) -> None:
    inputs = read_inputs(evaluation)
    ladder = make_code_ladder(inputs.pairs)
    assert ladder is not None
    assert ladder.failures == [FailureCount("wrong API", 6, 4)]
    # Rungs of base: 3 4 5 3 4 5; of tuned: 7 7 5 3 4 5.
    for said in ("runs: base 0.667, tuned 0.833", "wrote a valid result: base 0.000, tuned 0.333"):
        assert said in ladder.figure.chart
        assert said in page
    assert '<th scope="row">wrong API</th><td>6</td><td>4</td>' in page
    assert make_code_ladder([pair for pair in inputs.pairs if pair[0].kind != "code"]) is None
