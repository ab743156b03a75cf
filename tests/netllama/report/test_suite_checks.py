"""What stands beside the verdicts: the scores without items that the training data share text with, and guessing."""

import re
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest

from netllama.core.files import read_json, read_jsonl, write_json
from netllama.report.comparison_inputs import read_suite_notes
from netllama.report.page import build_report
from netllama.report.report_inputs import ReportPaths
from netllama.report.suite_checks import make_suite_checks
from netllama.scoring.clean_items import compare_clean, note_suites
from netllama.scoring.comparison import as_rows, compare_groups, group_pairs, pair_scores
from netllama.scoring.score import Score
from tests.support.report_files import write_evaluation

HIT = "q-bgp-000"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> ReportPaths:
    return write_evaluation(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def page(evaluation: ReportPaths) -> str:
    return build_report(evaluation)


def read_cells(page: str, table: str, row: str) -> list[str]:
    """The texts of a row, without its name."""
    body = page.split(f'aria-label="Table of {table}"')[1].split("</table>")[0]
    cells = body.split(f'<th scope="row">{row}</th>')[1].split("</tr>")[0]
    return re.findall(r"<td[^>]*>(.*?)</td>", cells)


def test_a_suite_with_hits_is_shown_once_more_without_them(page: str, evaluation: ReportPaths) -> None:
    rows = [
        [row for row in read_jsonl(path) if row["item"].startswith("q-bgp-")]
        for path in (evaluation.base, evaluation.tuned)
    ]
    whole = [mean(row["value"] for row in side) for side in rows]
    clean = [mean(row["value"] for row in side if row["item"] != HIT) for side in rows]
    assert whole != clean
    items, hits, base, tuned, difference, with_all, verdict = read_cells(page, "clean items", "four-choice questions")
    assert (items, hits) == ("59", "1")
    assert [float(side.split(" ")[0]) for side in (base, tuned)] == pytest.approx(clean, abs=6e-4)
    assert float(difference.split(" ")[0]) == pytest.approx(clean[1] - clean[0], abs=6e-4)
    assert float(with_all) == pytest.approx(whole[1] - whole[0], abs=6e-4)
    assert verdict in ("▲ better", "▼ worse", "○ can&#39;t be told")


def test_the_other_suites_say_why_they_are_not(page: str) -> None:
    clean = page.split("share text with the training data</h3>")[1].split("<div")[0]
    assert (
        "There are none in true/false questions, blanks, code questions, general questions, how far code gets." in clean
    )
    assert "Not looked for in loss on held-out answers, ROUGE-L of written answers: rows of the split, which" in clean


def test_guessing_stands_beside_the_closed_scores(page: str, evaluation: ReportPaths) -> None:
    head = page.split('aria-label="Table of guessing"')[1].split("</thead>")[0]
    assert re.findall(r'scope="col">(.*?)<', head)[1:-2] == ["drawing an option", "always the same answer"]
    accuracy = mean(row["value"] for row in read_jsonl(evaluation.tuned) if row["kind"] == "true_false")
    chance, majority, _, tuned = read_cells(page, "guessing", "true/false questions")
    assert (chance, majority) == ("0.500", "1.000")
    assert float(tuned) == pytest.approx(accuracy, abs=6e-4)
    assert read_cells(page, "guessing", "four-choice questions")[:2] == ["0.250", "-"]
    assert '<th scope="row">blanks</th>' not in page.split('aria-label="Table of guessing"')[1].split("</table>")[0]


def test_a_suite_that_is_all_hits_has_a_sentence_and_no_row(evaluation: ReportPaths, tmp_path: Path) -> None:
    base, tuned = (
        [Score.model_validate(row) for row in read_jsonl(path)] for path in (evaluation.base, evaluation.tuned)
    )
    pairs = pair_scores(base, tuned)
    clean = compare_clean(pairs, {score.item for score in base if score.kind == "blank"})
    rows = as_rows(compare_groups(group_pairs(pairs)), note_suites(pairs, clean))
    write_json(path := tmp_path / "comparison.json", rows)
    checks = make_suite_checks(read_suite_notes(path))
    assert "There are no others in blanks." in checks.remarks
    assert checks.clean == []


def test_a_comparison_without_notes_has_neither_part(evaluation: ReportPaths, tmp_path: Path) -> None:
    rows = [
        {key: value for key, value in row.items() if key not in ("clean", "guessing")}
        for row in read_json(evaluation.comparison)
    ]
    write_json(bare := tmp_path / "comparison.json", rows)
    page = build_report(replace(evaluation, comparison=bare))
    assert "Table of scores" in page
    assert "training data</h3>" not in page
    assert "Table of guessing" not in page
