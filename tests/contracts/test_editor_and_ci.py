"""The files for editors, commits and CI say the same as the repository: versions, commands, paths.

They are read as their programs read them: YAML 1.2 (`on` is a word), JSON without comments.
"""

import copy
import json
import re
import shlex
import stat
import subprocess
import tomllib
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.support.clones import ROOT
from tests.support.pages import read_page


def read_yaml(path: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / path).read_text(encoding="utf-8"))


def read_json(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


WORKFLOW: dict[str, Any] = read_yaml(".github/workflows/ci.yml")
PRE_COMMIT: dict[str, Any] = read_yaml(".pre-commit-config.yaml")
DEVCONTAINER: dict[str, Any] = read_json(".devcontainer/devcontainer.json")
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", REQUIREMENTS, re.MULTILINE))
OF_THE_RUNNER = {"pip", "git", "gh", "cat"}
"""Programs that are there before anything is installed."""

STEP = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "if": {"type": "string"},
        "uses": {"type": "string", "pattern": r"^[\w-]+/[\w-]+@v\d+$"},
        "with": {"type": "object"},
        "run": {"type": "string", "minLength": 1},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "additionalProperties": False,
    "oneOf": [
        {"required": ["uses"], "not": {"required": ["run"]}},
        {"required": ["run"], "not": {"anyOf": [{"required": ["uses"]}, {"required": ["with"]}]}},
    ],
}
PERMISSIONS = {"type": "object", "additionalProperties": {"enum": ["read", "write", "none"]}}
JOB = {
    "type": "object",
    "properties": {
        "if": {"type": "string"},
        "runs-on": {"const": "ubuntu-latest"},
        "timeout-minutes": {"type": "integer", "minimum": 1, "maximum": 360},
        "permissions": PERMISSIONS,
        "strategy": {
            "type": "object",
            "properties": {
                "fail-fast": {"type": "boolean"},
                "matrix": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
            },
            "required": ["matrix"],
            "additionalProperties": False,
        },
        "steps": {"type": "array", "items": STEP, "minItems": 1},
    },
    "required": ["runs-on", "timeout-minutes", "steps"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "on": {"type": "object", "required": ["push", "pull_request"]},
        "permissions": {"const": {"contents": "read"}},
        "concurrency": {"type": "object", "required": ["group", "cancel-in-progress"]},
        "jobs": {"type": "object", "additionalProperties": JOB, "minProperties": 1},
    },
    "required": ["name", "on", "permissions", "jobs"],
    "additionalProperties": False,
}
"""What GitHub's own schema allows of the keys that this workflow uses, and no other key."""


def list_steps(job: str | None = None) -> list[dict[str, Any]]:
    jobs = [WORKFLOW["jobs"][job]] if job else WORKFLOW["jobs"].values()
    return [step for each in jobs for step in each["steps"]]


def list_commands(script: str) -> list[list[str]]:
    """The words of each simple command of a script, those in `{ }` and `$( )` too; `echo` and redirections are not."""
    inner = re.findall(r"\$\(([^()]*)\)", script)
    outer = re.sub(r"\$\([^()]*\)", "INNER", script)
    parts = [part for text in [outer, *inner] for line in text.splitlines() for part in re.split(r"[;|]|&&", line)]
    words = [shlex.split(re.sub(r">+\s*\S+", "", part).strip(" {}"), comments=True) for part in parts]
    return [each for each in words if each and each[0] not in ("echo", "grep")]


COMMANDS = [command for step in list_steps() if "run" in step for command in list_commands(step["run"])]


# --- the workflow


def test_the_workflow_has_the_structure_that_github_reads() -> None:
    jsonschema.validate(WORKFLOW, SCHEMA)


def break_key(workflow: dict[str, Any]) -> None:
    workflow["jobs"]["test"]["run-on"] = workflow["jobs"]["test"].pop("runs-on")


def break_step(workflow: dict[str, Any]) -> None:
    workflow["jobs"]["check"]["steps"][0]["run"] = "true"


def break_action(workflow: dict[str, Any]) -> None:
    workflow["jobs"]["check"]["steps"][0]["uses"] = "actions/checkout"


def break_rights(workflow: dict[str, Any]) -> None:
    workflow["permissions"] = "write-all"


def break_trigger(workflow: dict[str, Any]) -> None:
    workflow[True] = workflow.pop("on")


@pytest.mark.parametrize("damage", [break_key, break_step, break_action, break_rights, break_trigger])
def test_a_broken_workflow_would_be_noticed(damage: Callable[[dict[str, Any]], None]) -> None:
    workflow = copy.deepcopy(WORKFLOW)
    damage(workflow)
    with pytest.raises((jsonschema.ValidationError, TypeError)):
        jsonschema.validate(workflow, SCHEMA)


def test_it_checks_lint_types_the_dag_and_all_tests() -> None:
    for wanted in ("ruff check .", "ruff format --check .", "mypy", "dvc repro --dry --allow-missing", "pytest -m ''"):
        assert shlex.split(wanted) in COMMANDS, wanted
    assert ["dvc", "metrics", "diff", "main", "--md"] in COMMANDS


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_the_workflow_exists_and_takes_its_words(command: list[str]) -> None:
    name, *words = command
    assert name in OF_THE_RUNNER or name in PINS, f"{name} is not installed"
    if name == "dvc":
        from dvc.cli.parser import get_main_parser

        get_main_parser().parse_args(words)
    if name == "pip":
        files = [words[at + 1] for at, word in enumerate(words) if word == "-r"]
        assert all((ROOT / file).is_file() for file in files)
        assert files or "INNER" in words


def test_what_a_job_installs_in_part_is_a_pin_of_the_requirements() -> None:
    patterns = re.findall(r"grep '(\S+)' requirements\.txt", json.dumps(list_steps("metrics")))
    assert len(patterns) == 1
    assert re.findall(patterns[0] + r"\S+", REQUIREMENTS, re.MULTILINE) == [f"dvc=={PINS['dvc']}"]


def list_pythons(job: str) -> list[str]:
    """The versions that a job runs with."""
    [setup] = [step for step in list_steps(job) if step.get("uses", "").startswith("actions/setup-python")]
    version = setup["with"]["python-version"]
    return WORKFLOW["jobs"][job]["strategy"]["matrix"]["python"] if version == "${{ matrix.python }}" else [version]


def test_the_tests_run_with_both_pythons_of_the_readme_and_all_else_with_the_older_one() -> None:
    [pythons] = re.findall(r"Python (3\.\d+) \(CI runs the tests with (3\.\d+), too\)", read_page(ROOT / "README.md"))
    assert list_pythons("test") == list(pythons)
    assert {version for job in WORKFLOW["jobs"] if job != "test" for version in list_pythons(job)} == {pythons[0]}
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + pythons[0].replace(".", "")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == pythons[0]


def test_every_job_keeps_what_pip_loads() -> None:
    for job in WORKFLOW["jobs"]:
        (python,) = [
            step["with"] for step in list_steps(job) if step.get("uses", "").startswith("actions/setup-python")
        ]
        assert python["cache"] == "pip"
        assert all((ROOT / file).is_file() for file in python["cache-dependency-path"].split())


def test_the_job_that_compares_with_main_has_main_and_alone_may_write_a_comment() -> None:
    job = WORKFLOW["jobs"]["metrics"]
    assert job["steps"][0]["with"]["fetch-depth"] == 0
    assert ["git", "fetch", "origin", "main:main"] in COMMANDS
    assert WORKFLOW["on"]["push"]["branches"] == ["main"]
    assert [name for name, each in WORKFLOW["jobs"].items() if "write" in each.get("permissions", {}).values()] == [
        "metrics"
    ]


def test_a_value_of_the_event_reaches_a_script_through_the_environment_only() -> None:
    """A title or branch name in `${{ }}` inside a script would be run as code."""
    assert not [step["run"] for step in list_steps() if "${{" in step.get("run", "")]


def test_the_script_for_a_machine_of_your_own_runs_what_the_workflow_runs() -> None:
    path = ROOT / ".ci" / "run"
    assert path.stat().st_mode & stat.S_IXUSR
    script = path.read_text(encoding="utf-8").splitlines()
    here = [shlex.split(line) for line in script if line.split(" ")[0] in ("ruff", "mypy", "pytest", "pip")]
    assert [command[0] for command in here] == ["pip", "ruff", "ruff", "mypy", "pytest"]
    assert all(command in COMMANDS for command in here)


# --- commits and editors


def test_pre_commit_lints_and_lays_out_with_the_ruff_of_the_requirements() -> None:
    hooks = [hook for repository in PRE_COMMIT["repos"] for hook in repository["hooks"]]
    assert [repository["repo"] for repository in PRE_COMMIT["repos"]] == ["local"]
    assert [shlex.split(hook["entry"])[:2] for hook in hooks] == [["ruff", "check"], ["ruff", "format"]]
    for hook in hooks:
        assert hook["additional_dependencies"] == [f"ruff=={PINS['ruff']}"]
        assert hook["language"] == "python"


def test_editor_and_container_recommend_the_same_extensions() -> None:
    wanted = ["iterative.dvc", "ms-python.python", "charliermarsh.ruff"]
    assert read_json(".vscode/extensions.json") == {"recommendations": wanted}
    assert DEVCONTAINER["customizations"]["vscode"]["extensions"] == wanted


def test_the_container_has_the_python_of_the_workflow_and_installs_the_requirements() -> None:
    assert [DEVCONTAINER["image"].rpartition(":")[2]] == list_pythons("check")
    commands = [part.split() for part in DEVCONTAINER["postCreateCommand"].split(" && ")]
    assert commands[0] == ["pip", "install", "-r", "requirements.txt"]
    assert ["pre-commit", "install"] in commands


def test_git_does_not_ignore_what_the_team_shares() -> None:
    shared = [".devcontainer/devcontainer.json", ".vscode/extensions.json", ".pre-commit-config.yaml", ".ci/run"]
    ignored = subprocess.run(["git", "check-ignore", "--no-index", *shared], cwd=ROOT, capture_output=True, text=True)
    assert (ignored.returncode, ignored.stdout) == (1, "")
