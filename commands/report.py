"""Write the report: base against tuned in words, charts and answers, in one HTML file that needs no network.

Reads  results/base.jsonl, results/tuned.jsonl, results/comparison.json, the curves of the training in metrics/,
       data/questions/, data/splits/test.jsonl; what is not there is left out, and the page says what to run
Writes results/report.html
Run    python -m commands.report
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from netllama.core.errors import run_stage
from netllama.core.files import write_text
from netllama.report.page import build_report
from netllama.report.report_inputs import ReportPaths

PATHS = ReportPaths(
    base=Path("results/base.jsonl"),
    tuned=Path("results/tuned.jsonl"),
    comparison=Path("results/comparison.json"),
    train_loss=Path("metrics/train_loss.csv"),
    val_loss=Path("metrics/val_loss.csv"),
    learning_rate=Path("metrics/learning_rate.csv"),
    grad_norm=Path("metrics/grad_norm.csv"),
    questions=Path("data/questions"),
    tasks=Path("data/splits/test.jsonl"),
)
REPORT = Path("results/report.html")


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.report"
    )
    parser.parse_args(arguments)
    write_text(REPORT, build_report(PATHS))
    print(f"report -> {REPORT}; open it in a browser")


if __name__ == "__main__":
    run_stage(main)
