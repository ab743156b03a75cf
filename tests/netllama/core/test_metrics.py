"""Metrics files: what a stage reads of another's is numbers, or one line that names the file."""

from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.core.metrics import read_details, read_numeric_details, write_metrics

GROUPS = {"choice": {"accuracy": 0.25, "questions": 312}, "heldout": {"family": {"bgp": {"loss": 2.5}}}}


def test_details_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_metrics(tmp_path / "baseline.json", {"choice": 0.25}, GROUPS)
    assert read_numeric_details(tmp_path / "baseline.json") == read_details(tmp_path / "baseline.json") == GROUPS


@pytest.mark.parametrize(
    "content",
    [
        *(
            "[]",
            "{}",
            "null",
            "",
            "1",
            '{"details": []}',
            '{"details": [[]]}',
            '{"details": {}}',
            '{"details": [{}, {}]}',
        ),
        '{"details": [{"choice": "0.25"}]}',
        '{"details": [{"choice": {"accuracy": null}}]}',
        '{"details": [{"choice": [0.25]}]}',
        '{"details": [{"choice": {"accuracy": NaN}}]}',
        '{"details": [{"choice": true}]}',
    ],
)
def test_anything_else_is_one_line_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(content)
    with pytest.raises(StageError, match=rf"^{path}:") as raised:
        read_numeric_details(path)
    assert "\n" not in str(raised.value)
