"""The report: base against tuned in words, charts and answers, in one HTML file that needs no network.

Reads  results/base.jsonl, results/tuned.jsonl, results/comparison.json, results/judge.json, the curves in metrics/,
       metrics/retrieve.json, results/refusals.json, data/questions/, data/retrieved/, data/splits/test.jsonl; what is
       not there is left out, and the page says what to run
Writes results/report.html
Run    python -m stages.report
"""

from pathlib import Path

from netllama.core.errors import run_stage
from netllama.core.files import write_text
from netllama.report.comparison_inputs import read_comparisons
from netllama.report.page import build_report
from netllama.report.report_inputs import ReportPaths
from netllama.statistics.verdicts import write_sentences

PATHS = ReportPaths(
    base=Path("results/base.jsonl"),
    tuned=Path("results/tuned.jsonl"),
    comparison=Path("results/comparison.json"),
    judge=Path("results/judge.json"),
    train_loss=Path("metrics/train_loss.csv"),
    val_loss=Path("metrics/val_loss.csv"),
    learning_rate=Path("metrics/learning_rate.csv"),
    grad_norm=Path("metrics/grad_norm.csv"),
    questions=Path("data/questions"),
    tasks=Path("data/splits/test.jsonl"),
    asked=Path("data/retrieved/questions.jsonl"),
    chunks=Path("data/retrieved/chunks.jsonl"),
    search=Path("metrics/retrieve.json"),
    refusals=Path("results/refusals.json"),
)
REPORT = Path("results/report.html")


def main() -> None:
    write_text(REPORT, build_report(PATHS))
    print(f"report -> {REPORT}; open it in a browser")
    if PATHS.comparison.is_file():
        # The last words of `dvc repro`: an evaluation that did not run again has not said them.
        sentences = write_sentences(read_comparisons(PATHS.comparison))
        print(f"{sentences.better}\n{sentences.worse}\n{sentences.inconclusive}")


if __name__ == "__main__":
    run_stage(main, __doc__)
