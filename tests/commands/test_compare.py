"""`commands.compare`: an experiment, a branch or a commit against the workspace, out of git and DVC's cache."""

import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest

from commands.compare import main
from netllama.core.errors import StageError
from netllama.core.files import read_jsonl, write_json, write_jsonl, write_text
from netllama.core.records import parse_as
from netllama.scoring.comparison import as_rows, compare_groups, group_pairs, pair_scores
from netllama.scoring.score import Score
from tests.support.report_files import make_scores

RESULTS = Path("results")
DVC_YAML = """
stages:
  evaluate:
    cmd: "true"
    deps:
    - netllama/reading/answer_judgement.py
    params:
    - evaluate
    outs:
    - data/retrieved/questions.jsonl
    - models/base.json
    - results/base.jsonl
    - results/tuned.jsonl
"""


def write_answers(tuned: list[Score], base: list[Score]) -> None:
    write_jsonl(RESULTS / "base.jsonl", (score.model_dump() for score in base))
    write_jsonl(RESULTS / "tuned.jsonl", (score.model_dump() for score in tuned))
    write_json(RESULTS / "comparison.json", as_rows(compare_groups(group_pairs(pair_scores(base, tuned)))))


def run(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two states: the commit `main`, with answers like the base's, and the experiment `better`, which lies there."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{name}_NAME", "tester")
            patch.setenv(f"GIT_{name}_EMAIL", "tester@example.org")
        run("git", "init", "--quiet", "-b", "main")
        run("dvc", "init", "--quiet")
        random = Random(1)
        base, plain, tuned = (make_scores(side, random) for side in ("base", "base", "tuned"))
        write_answers(plain, base)
        write_jsonl("data/retrieved/questions.jsonl", [{"none": "no question"}])
        write_json("models/base.json", {"id": "tiny", "revision": "", "files": {"model.safetensors": "a"}})
        write_text("params.yaml", "evaluate:\n  num_open: 24\n")
        write_text("netllama/reading/answer_judgement.py", "RULES = 1\n")
        write_text("dvc.yaml", DVC_YAML)
        write_text(".gitignore", "/data/\n/models/\n/results/\n")
        run("dvc", "commit", "--quiet", "--force")
        run("git", "add", "--all")
        run("git", "commit", "--quiet", "-m", "first")
        write_answers(tuned, base)
        run("dvc", "commit", "--quiet", "--force")
        run("dvc", "exp", "save", "--quiet", "--name", "better")
    return folder


@pytest.fixture
def workspace(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy, symlinks=True)
    monkeypatch.chdir(copy)
    return copy


def test_a_commit_stands_beside_the_workspace_and_the_workspace_beside_its_experiment(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["main"])
    said = capsys.readouterr().out
    base, tuned = (
        read_jsonl(RESULTS / f"{side}.jsonl", lambda row: parse_as(Score, row)) for side in ("base", "tuned")
    )
    losses = [
        sum(score.value * score.measures["tokens"] for score in own) / sum(score.measures["tokens"] for score in own)
        for own in ([score for score in side if score.kind == "heldout"] for side in (base, tuned))
    ]
    row = next(line for line in said.splitlines() if line.startswith("loss on held-out answers"))
    assert row.split()[4] == f"{losses[0]:.3f}"
    assert row.split()[7:9] == [f"{losses[1]:.3f}", "▲"]
    assert row.endswith("better")
    assert "From main to workspace:\nBetter: loss on held-out answers" in said
    assert "\nWorse: nothing." in said
    assert max(map(len, said.splitlines()[: said.splitlines().index("")])) <= 140
    main(["better"])
    told = capsys.readouterr().out
    assert f"The two gave the same answers ({len(tuned)})." in told
    assert "older" not in told
    assert "other" not in told
    main(["better", "main"])
    assert "From better to main:\nBetter: nothing.\nWorse: loss on held-out answers" in capsys.readouterr().out


def test_the_report_of_the_workspace_has_a_section_on_it(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["main", "--report", "results/beside.html"])
    assert "report -> results/beside.html" in capsys.readouterr().out
    page = (RESULTS / "beside.html").read_text()
    section = page[page.index('<h2 id="beside">') : page.index('<h2 id="calibration">')]
    assert "Beside main" in section
    assert section.count("<svg") == 2
    assert "Differences workspace - main with 95% intervals" in section
    assert section.count('<th scope="row">') == len(compare_groups(group_pairs(pair_scores(*read_both()))))
    (RESULTS / "folder").mkdir()
    (RESULTS / "folder" / "thesis.txt").write_text("years of work")
    for refused in (
        ["main", "better", "--report", "results/beside.html"],
        ["main", "--report", "results/folder"],
        ["main", "--report", ""],
        ["main", "--report", "results/report.html"],  # DVC's
        [""],
    ):
        with pytest.raises(SystemExit):
            main(refused)
    assert (RESULTS / "folder" / "thesis.txt").read_text() == "years of work"


def read_both() -> tuple[list[Score], list[Score]]:
    base, tuned = (
        read_jsonl(RESULTS / f"{side}.jsonl", lambda row: parse_as(Score, row)) for side in ("base", "tuned")
    )
    return base, tuned


def test_what_is_not_there_is_named_with_a_way_out(workspace: Path) -> None:
    with pytest.raises(StageError, match="nonsense: no experiment, branch, tag or commit; `dvc exp list`"):
        main(["nonsense"])
    shutil.rmtree(workspace / ".dvc" / "cache")
    with pytest.raises(StageError, match=r"main: its models/base.json is neither in git nor in DVC's cache"):
        main(["main"])
    write_json("models/base.json", {"id": 3})
    with pytest.raises(StageError, match=r"models/base\.json: not a model reference"):
        main(["main"])
    (workspace / "results" / "tuned.jsonl").unlink()
    with pytest.raises(StageError, match=r"results/tuned.jsonl: not there; run `dvc repro`"):
        main(["main"])


def test_answers_older_than_the_params_or_by_other_code_are_named(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text("params.yaml", "evaluate:\n  num_open: 5\n")
    write_text("netllama/reading/answer_judgement.py", "RULES = 2\n")
    main(["better"])
    said = capsys.readouterr().out
    assert "The workspace's answers are older than its params: params.yaml: evaluate is {'num_open': 5}" in said
    assert "other params" not in said, "nothing has been evaluated with them"
    run("dvc", "commit", "--quiet", "--force")
    main(["better"])
    said = capsys.readouterr().out
    assert "They were evaluated with other params: evaluate.num_open 24 and 5." in said
    assert "They were evaluated by other code: netllama/reading/answer_judgement.py." in said
    write_jsonl(RESULTS / "tuned.jsonl", (score.model_dump() for score in read_both()[1][:-1]))
    main(["better"])
    assert "results/tuned.jsonl is not what dvc.lock records: `dvc repro`." in capsys.readouterr().out


def test_what_serves_remarks_alone_may_be_missing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "dvc.lock").unlink()
    (workspace / "data" / "retrieved" / "questions.jsonl").unlink()
    main(["main"])
    assert "It is not known whether both were evaluated with the same params and code." in capsys.readouterr().out


def test_a_state_that_other_code_wrote_is_refused_in_one_line_by_its_name(workspace: Path) -> None:
    rows = [{"item": "q", "newfield": 1}] * 3
    write_jsonl(RESULTS / "tuned.jsonl", rows)
    run("dvc", "commit", "--quiet", "--force")
    run("git", "commit", "--quiet", "--all", "-m", "rows of tomorrow")
    write_answers(read_both_of("main"), read_both_of("main"))
    expected = r"^HEAD: results/tuned.jsonl:1: .* \(and \d+ more such lines\); other code may have written it$"
    with pytest.raises(StageError, match=expected) as told:
        main(["HEAD"])
    assert "\n" not in str(told.value)


def read_both_of(revision: str) -> list[Score]:
    text = run("dvc", "get", ".", "results/base.jsonl", "--rev", revision, "--out", "base.jsonl", "--force")
    assert text is not None
    return read_jsonl("base.jsonl", lambda row: parse_as(Score, row))
