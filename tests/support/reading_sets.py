"""Small sets of reports and questions on them, and documents by id, to make material of and to judge answers by."""

from collections.abc import Sequence

from netllama.documents.document import Chunk
from netllama.reading.reading_records import Arm, ReadingQuestion
from netllama.scoring.refusal_balance import RefusalBalance
from testbed.reports.report_records import Report, ReportQuestion, ReportSet

REPORTS = tuple(
    Report(
        f"r{number}", "origin", f"Origin of 10.{number}.0.0/16", f"Prefix 10.{number}.0.0/16 is of AS{64500 + number}."
    )
    for number in range(6)
)


def make_report_question(number: int, answered: bool = True, distractors: Sequence[str] = ()) -> ReportQuestion:
    """Who originates the prefix of report `number`; if not `answered`, a prefix that no report is of."""
    subject = f"10.{number}.0.0/16" if answered else f"prefix 10.{90 + number}.0.0/16"
    others = [f"r{(number + step) % 6}" for step in range(1, 5)]
    return ReportQuestion(
        id=f"rq{number}" + "x" * (not answered),
        kind="origin",
        type="origin",
        question=f"Which AS originates {subject}?",
        answer=f"AS{64500 + number}" if answered else "",
        golden=(f"r{number}",) if answered else (),
        distractors=tuple(distractors or others),
        difficulty=1,
        absence="" if answered else "report",
        known_wording=True,
        choices=(),
    )


def make_set(answered: int = 4, unanswered: int = 2) -> ReportSet:
    questions = [make_report_question(number) for number in range(answered)]
    questions += [make_report_question(number, answered=False) for number in range(unanswered)]
    return ReportSet(REPORTS, tuple(questions))


def make_asked(number: int, found: Sequence[str], answered: bool = True) -> ReadingQuestion:
    """The same question as it is asked in every arm; `found`: what a search found."""
    made = make_report_question(number, answered)
    arms: dict[Arm, list[str]] = {"absent": list(found)}
    if answered:
        arms = {"closed": [], "oracle": list(made.golden), "retrieved": list(found), "distractors": ["r4", "r5"]}
    return ReadingQuestion(
        id=made.id,
        kind="report",
        family=made.kind,
        question=made.question,
        answer=made.answer,
        choices=[],
        golden=list(made.golden),
        arms=arms,
    )


def make_report_chunks() -> list[Chunk]:
    return [
        Chunk(id=report.id, document="network_reports/origin", headings=[report.title], text=report.text, tokens=9)
        for report in REPORTS
    ]


def make_balance(adapter: str) -> RefusalBalance:
    """How readily the adapter of this hash refuses."""
    return RefusalBalance(
        adapter=adapter,
        token=7,
        bias=1.25,
        missing_weight=4.0,
        told_apart=0.9,
        told_apart_by_model=0.8,
        told_apart_by_terms=0.75,
        answered=20,
        false_refusals=0.05,
        false_refusals_without=0.0,
        unanswered=10,
        right_refusals=0.8,
        right_refusals_without=0.7,
    )
