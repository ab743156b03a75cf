"""dvc.lock as the witness that adapter and numbers are of one run."""

from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from netllama.core.errors import StageError
from netllama.publishing.recorded_run import (
    hash_as_dvc,
    list_data_hashes,
    read_recorded_hashes,
    require_one_run,
    require_recorded_params,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_stages(**stages: dict[str, dict[str, str]]) -> Path:
    """dvc.lock of stages that are {"deps": {path: md5}, "outs": {path: md5}}."""
    lists = {
        stage: {
            kind: [{"path": path, "hash": "md5", "md5": md5} for path, md5 in paths.items()]
            for kind, paths in own.items()
        }
        for stage, own in stages.items()
    }
    (lock := Path("dvc.lock")).write_text(yaml.safe_dump({"schema": "2.0", "stages": lists}), encoding="utf-8")
    return lock


@pytest.mark.parametrize(
    "files",
    [
        {"a": b""},
        {"b.txt": b"one\r\ntwo\n", "a.bin": bytes(range(256))},
        {"x/y/z.json": b"{}", "x/y.json": b"[]", "x-y": b"1", "x/ü 中.txt": b"2", "Z": b"3"},
    ],
)
def test_a_folder_has_the_hash_that_dvc_gives_it(
    folder: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for name, content in files.items():
        (path := folder / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with Repo.init(str(folder), no_scm=True) as repo:
        (stage,) = repo.add(["made"])
        assert hash_as_dvc(folder / "made") == stage.outs[0].hash_info.value


def test_files_as_recorded_are_of_one_run(folder: Path) -> None:
    Path("scores.json").write_text("{}")
    lock = write_stages(evaluate={"outs": {"scores.json": "99914b932bd37a50b983c5e7c90ae93b"}})
    require_one_run(lock, [Path("scores.json")])
    Path("scores.json").write_text("{ }")
    with pytest.raises(StageError, match=r"^scores\.json: not of the run that dvc\.lock records"):
        require_one_run(lock, [Path("scores.json")])


def test_an_adapter_that_was_trained_again_but_not_evaluated_is_not_of_one_run(folder: Path) -> None:
    """Its train is the newest, its evaluate saw another one: whichever is there, one of them records another hash."""
    Path("adapter").write_text("{}")
    here = "99914b932bd37a50b983c5e7c90ae93b"
    lock = write_stages(train={"outs": {"adapter": here}}, evaluate={"deps": {"adapter": "0" * 32}})
    with pytest.raises(StageError, match="not of the run"):
        require_one_run(lock, [Path("adapter")])


def test_what_no_stage_made_is_not_of_one_run(folder: Path) -> None:
    Path("scores.json").write_text("{}")
    with pytest.raises(StageError, match="not of the run"):
        require_one_run(write_stages(evaluate={}), [Path("scores.json")])


def test_only_hashes_of_data_are_listed_in_order(folder: Path) -> None:
    lock = write_stages(
        split={
            "deps": {"data/seeds": "1.dir", "netllama/core": "2.dir", "database": "5"},
            "outs": {"data/splits/train.jsonl": "3"},
        },
        generate={"outs": {"data/generated/a.jsonl": "4"}},
    )
    assert list(list_data_hashes(lock, Path("data")).items()) == [
        ("data/generated/a.jsonl", "4"),
        ("data/seeds", "1.dir"),
        ("data/splits/train.jsonl", "3"),
    ]


RECORDED = """
stages:
  generate: {params: {params.yaml: {families: [a, b], teacher: {model_name: x, stop: []}}}}
  split: {params: {params.yaml: {families: [a, b]}}}
  train: {params: {launch.yaml: {families: [c]}}}
  report: {}
"""


def test_params_as_recorded_or_of_no_stage_pass(folder: Path) -> None:
    (lock := Path("dvc.lock")).write_text(RECORDED)
    require_recorded_params(lock, {"families": ["a", "b"], "teacher.model_name": "x"})
    require_recorded_params(lock, {"prompt.template": "chat", "teacher.mode": "live", "families.a": "b"})


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"families": ["a"]}, "families is ['a'], and dvc.lock records that the stage generate ran with ['a', 'b']"),
        ({"families": ["b", "a"]}, "families is ['b', 'a'], and dvc.lock records that the stage generate ran with"),
        (
            {"families": ["a", "b"], "teacher.model_name": "y"},
            "teacher.model_name is 'y', and dvc.lock records that the stage generate ran with 'x'",
        ),
    ],
)
def test_another_value_than_a_stage_ran_with_is_refused(folder: Path, params: dict[str, object], said: str) -> None:
    (lock := Path("dvc.lock")).write_text(RECORDED)
    with pytest.raises(StageError) as caught:
        require_recorded_params(lock, params)
    assert str(caught.value).startswith(f"params.yaml: {said}")
    assert str(caught.value).endswith("; run `dvc repro`, or set it back")


def test_every_stage_is_asked(folder: Path) -> None:
    (lock := Path("dvc.lock")).write_text(RECORDED.replace("[a, b]}}}", "[c]}}}"))
    with pytest.raises(StageError, match=r"the stage split ran with \['c'\]"):
        require_recorded_params(lock, {"families": ["a", "b"]})


NO_LOCKS = ["", "stages: 3", "- a", "stages: {evaluate: {outs: [{path: x}]}}", "a: [", "{", "\0"]
RUBBISH = ["[" * 100_000, "stages: 2024-13-45", f"stages: {'9' * 5000}"]


@pytest.mark.parametrize("text", [*NO_LOCKS, *RUBBISH], ids=map(str, range(10)))
def test_what_is_no_lock_is_one_line(folder: Path, text: str) -> None:
    Path("dvc.lock").write_text(text)
    with pytest.raises(StageError, match=r"^dvc\.lock: not a lock file of DVC; run `dvc repro`$"):
        read_recorded_hashes(Path("dvc.lock"))


def test_without_a_lock_nothing_is_recorded(folder: Path) -> None:
    with pytest.raises(StageError, match=r"^dvc\.lock: no such file"):
        read_recorded_hashes(Path("dvc.lock"))
