"""The stage that writes the report from the files of the run."""

from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.report.page import build_report
from stages.report import PATHS, REPORT, main
from tests.support.report_files import write_evaluation


def test_the_report_is_written_from_the_standard_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_evaluation(tmp_path / "made")
    monkeypatch.chdir(tmp_path)
    for name, path in vars(PATHS).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if getattr(made, name).exists():
            getattr(made, name).rename(path)
    main()
    page = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert page == build_report(PATHS)
    assert "is not there" not in page
    said, better, worse, doubt = capsys.readouterr().out.splitlines()
    assert said == "report -> results/report.html; open it in a browser"
    assert [line.split(":")[0] for line in (better, worse, doubt)] == ["Better", "Worse", "Can't be told"]


def test_a_broken_file_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main()
    before = REPORT.read_bytes()
    PATHS.comparison.write_text("[{", encoding="utf-8")
    with pytest.raises(StageError, match=r"comparison\.json:1: not valid JSON"):
        main()
    assert REPORT.read_bytes() == before
