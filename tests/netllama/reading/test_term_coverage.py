"""How many of a question's terms its documents lack."""

import pytest

from netllama.reading.term_coverage import measure_missing

CELL = "Radio cell RZM-2\nOn Monday from 10:00 to 10:15 it used 40.5 % of its resource blocks."


@pytest.mark.parametrize(
    ("question", "documents", "missing"),
    [
        ("Radio cell?", [CELL], 0.0),
        ("radio CELLS?", [CELL], 0.0),
        ("How was jitter of the cell?", [CELL], 1 / 2),
        ("How was jitter of the cell?", ["Jitter of another cell", CELL], 0.0),
        ("How was jitter of the cell?", ["Jitter alone", CELL], 1 / 2),
        ("AS64500?", ["Prefix 10.0.0.0/8 is of AS64500."], 0.0),
        ("AS64501?", ["Prefix 10.0.0.0/8 is of AS64500."], 1.0),
        ("Who?", [CELL], 0.0),
        ("Which cell?", [], 0.0),
    ],
)
def test_the_share_is_of_the_document_with_most_of_them(question: str, documents: list[str], missing: float) -> None:
    assert measure_missing(question, documents) == pytest.approx(missing)
