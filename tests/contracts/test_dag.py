"""dvc.yaml and the code say the same: imports, params, paths; outs are DVC's, metrics are git's."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from netllama.core.params import Params, View
from tests.support.clones import ROOT, Clone
from tests.support.source_tree import data_paths, fields_read, import_closure, imported_modules

PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES: dict[str, Any] = PIPELINE["stages"]


PARAMS_FILES = ["params.yaml", *sorted(f"profiles/{path.name}" for path in (ROOT / "profiles").glob("*.yaml"))]


def module(stage: str) -> Path:
    return ROOT / "stages" / f"{stage}.py"


def closure(stage: str) -> frozenset[str]:
    return import_closure(module(stage))


def is_code(dep: str) -> bool:
    return dep.startswith(("netllama/", "stages/")) or dep == "testbed"


def names(entries: list[Any]) -> list[str]:
    """Paths of an outs, metrics or plots list, whose items are a path or {path: options}."""
    return [path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)]


def override(name: str, assignment: str, folder: Path) -> Path:
    """A copy of a params file as `dvc exp run -S` writes it."""
    from dvc.utils.hydra import apply_overrides

    copy = folder / "params.yaml"
    shutil.copy(ROOT / name, copy)
    apply_overrides(copy, [assignment])
    return copy


def git(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_every_stage_module_is_a_stage_of_the_dag() -> None:
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert modules == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_as_a_module_from_the_root(stage: str) -> None:
    launcher = "${launch.train}" if stage == "train" else "python"
    assert STAGES[stage]["cmd"] == f"{launcher} -m stages.{stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_every_module_that_a_stage_imports_lies_under_a_dep_and_no_dep_is_unused(stage: str) -> None:
    code = [dep for dep in STAGES[stage]["deps"] if is_code(dep)]
    owners = {name: {dep for dep in code if name == dep or name.startswith(f"{dep}/")} for name in closure(stage)}
    assert {name for name, deps in owners.items() if len(deps) != 1} == set()
    assert set().union(*owners.values()) == set(code)


@pytest.mark.parametrize("stage", STAGES)
def test_params_declared_are_params_read(stage: str) -> None:
    fields = getattr(importlib.import_module(f"stages.{stage}"), "Needs", View).model_fields
    assert list(fields) == STAGES[stage].get("params", [])
    for name, field in fields.items():
        assert field.annotation == Params.model_fields[name].annotation
    read = {name for path in closure(stage) for name in fields_read(ROOT / path, "needs")}
    assert read == set(fields)


def test_a_mistyped_param_is_a_mypy_error(tmp_path: Path) -> None:
    """In a view as every stage has one. A stage's own would have mypy read torch, too: a minute."""
    (path := tmp_path / "reads_params.py").write_text(
        "from netllama.core.params import View\n"
        "from netllama.core.sections import TrainParams\n"
        "class Needs(View):\n"
        "    train: TrainParams\n"
        "print(Needs.load().train.max_steps)\n"
        "print(Needs.load().train.max_stepz)\n"
    )
    run = subprocess.run([sys.executable, "-m", "mypy", str(path)], cwd=ROOT, capture_output=True, text=True)
    errors = [line.partition("reads_params.py:")[2] for line in run.stdout.splitlines() if "reads_params.py:" in line]
    assert [error.partition(";")[0] for error in errors] == ['6: error: "TrainParams" has no attribute "max_stepz"']


@pytest.mark.parametrize("stage", STAGES)
def test_paths_in_dvc_yaml_are_the_paths_in_the_code(stage: str) -> None:
    entry = STAGES[stage]
    data = {dep for dep in entry["deps"] if not is_code(dep)}
    written = {name for kind in ("outs", "metrics", "plots") for name in names(entry.get(kind, []))}
    assert data | written == data_paths(module(stage))


def test_rooms_hold_no_paths_of_data() -> None:
    rooms = list((ROOT / "netllama").rglob("*.py"))
    assert len(rooms) > 10
    assert {path.name: data_paths(path) for path in rooms if data_paths(path)} == {}


def test_no_stage_imports_another() -> None:
    for stage in STAGES:
        others = {f"stages/{other}.py" for other in STAGES} - {f"stages/{stage}.py"}
        assert not others & closure(stage)


def test_no_stage_imports_scikit_learn_which_takes_a_second_for_what_the_standard_library_has() -> None:
    modules = {name for stage in STAGES for path in closure(stage) for name in imported_modules(ROOT / path)}
    assert {"torch", "transformers"} < modules
    assert not {name for name in modules if name.partition(".")[0] == "sklearn"}


def test_package_files_are_empty_so_that_they_need_no_dep() -> None:
    packages = [path for room in ("stages", "netllama") for path in (ROOT / room).rglob("__init__.py")]
    assert all(not path.read_text() for path in packages)


@pytest.mark.parametrize("stage", STAGES)
def test_outs_are_ignored_by_git(stage: str) -> None:
    for out in names(STAGES[stage]["outs"]):
        assert git("check-ignore", "--quiet", out).returncode == 0, f"{out} is not in .gitignore"


def test_git_keeps_every_folder_that_is_a_dep_even_where_its_data_are_removed() -> None:
    """A queued experiment runs in a checkout of git's files, and git keeps no empty folder."""
    deps = {dep for stage in STAGES.values() for dep in stage["deps"]}
    kept = git("ls-files", "data").stdout.splitlines()
    for folder in ("data/extra", "data/recorded"):  # of the others, an empty one is an error of the stage
        assert folder in deps
        assert f"{folder}/README.md" in kept


@pytest.mark.parametrize("stage", STAGES)
def test_metrics_and_plots_are_in_git_and_out_of_the_cache(stage: str) -> None:
    for kind in ("metrics", "plots"):
        for entry in STAGES[stage].get(kind, []):
            ((path, options),) = entry.items()
            assert options["cache"] is False
            assert git("check-ignore", "--quiet", path).returncode == 1
            assert git("ls-files", "--error-unmatch", path).returncode == 0, f"{path} is not committed"


@pytest.mark.parametrize("name", PARAMS_FILES)
def test_an_override_changes_one_line_of_a_params_file(name: str, tmp_path: Path) -> None:
    """DVC writes the file anew. It loses a comment or a blank line that stands after an item of a list."""
    copy = override(name, "lora.r=77", tmp_path)
    before, after = (path.read_text(encoding="utf-8").splitlines() for path in (ROOT / name, copy))
    assert [new for new, old in zip(after, before, strict=True) if new != old] == ["  r: 77"]


@pytest.mark.parametrize("name", PARAMS_FILES)
def test_an_override_can_empty_each_list_of_a_params_file(name: str, tmp_path: Path) -> None:
    """Where a comment stands beside the key of a list with items, what DVC writes is no YAML any more."""
    content = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    sections = [("", content), *((f"{key}.", value) for key, value in content.items() if isinstance(value, dict))]
    for prefix, values in sections:
        for key in [key for key, value in values.items() if isinstance(value, list)]:
            values[key], kept = [], values[key]
            written = override(name, f"{prefix}{key}=[]", tmp_path).read_text(encoding="utf-8")
            assert yaml.safe_load(written) == content, f"{prefix}{key}"
            values[key] = kept


def test_the_baseline_depends_on_nothing_that_a_lora_experiment_changes() -> None:
    reached, queue = set(), ["baseline"]
    producers = {out: stage for stage, entry in STAGES.items() for out in names(entry["outs"])}
    while queue:
        stage = queue.pop()
        reached.add(stage)
        queue += [producers[dep] for dep in STAGES[stage]["deps"] if dep in producers and producers[dep] not in reached]
    assert "train" not in reached
    assert not any(param.split(".")[0] in ("lora", "train") for stage in reached for param in STAGES[stage]["params"])


def test_only_retrieve_reads_the_corpus_so_that_an_edited_note_generates_and_splits_nothing_anew() -> None:
    assert [
        stage for stage, entry in STAGES.items() if any(dep.startswith("data/corpus") for dep in entry["deps"])
    ] == ["retrieve"]
    producers = {out: stage for stage, entry in STAGES.items() for out in names(entry["outs"])}
    before = {stage: {producers[dep] for dep in entry["deps"] if dep in producers} for stage, entry in STAGES.items()}
    # Generate's deps lead to fetch at most, never to retrieve.
    assert before["generate"] <= {"fetch"}
    assert "retrieve" not in before["split"]


def test_the_standard_librarys_tokenize_is_not_shadowed() -> None:
    code = "import stages.tokenize, tokenize, inspect, linecache; print(tokenize.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "stages" not in Path(found.stdout.strip()).parts


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_resolves_its_dag(profile: Path, clone: Path, warm_dvc: Path) -> None:
    shutil.copy(profile, clone / "params.yaml")
    typed = Clone(clone, warm_dvc)
    assert typed.ran(typed.run("dvc", "repro", "--dry", "--force")) == set(STAGES)
