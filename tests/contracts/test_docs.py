"""What the pages say is so: their commands, links, paths, params, figures, pictures. Numbers are tested, not prose."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from netllama.code_checks.code_run import CodeFinding
from netllama.core.generate_section import FilterName
from netllama.core.metrics import read_details
from netllama.core.params import Params, parse_yaml
from netllama.scoring.comparison import ARM_NAMES, LADDER, NAMES
from netllama.selfinstruct.yield_report import PARSER_PROBLEMS
from tests.support.clones import ROOT
from tests.support.pages import (
    PAGES,
    list_anchors,
    list_blocks,
    list_commands,
    list_figures,
    list_links,
    list_spans,
    list_tables,
    read_page,
    read_section,
)

README, GENERATING = ROOT / "README.md", ROOT / "docs" / "generating.md"
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS_FILES: list[Any] = [parse_yaml(path) for path in (ROOT / "params.yaml", *(ROOT / "profiles").glob("*.yaml"))]
COMMANDS = sorted({(command, page.relative_to(ROOT).as_posix()) for page in PAGES for command in list_commands(page)})
YOURS = ("script.py", "answer.md")
"""Files that a reader has, in commands."""
SERVERS = ("ollama", "transformers")
"""Programs that a reader has."""
EXPORTED = ("models/merged", "models/gguf-")
"""What begins the names of folders that are no outs of the DAG: the commands merge and export_gguf make them."""
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def outs_of(stage: str) -> list[str]:
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in STAGES[stage].get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


OUTS = [out for stage in STAGES for out in outs_of(stage)]


def check_param(name: str, value: object = None) -> None:
    """`section.key` is a param, and `value`, if given, is one that it takes in some committed params file."""
    section, _, key = name.partition(".")
    model: Any = Params.model_fields[section].annotation
    assert key in model.model_fields, f"no param {name}"
    if value is not None:
        assert any(_takes(model, file[section] | {key: value}) for file in PARAMS_FILES), f"{name} can't be {value}"


def _takes(model: Any, section: dict[str, Any]) -> bool:
    with contextlib.suppress(ValidationError):
        return bool(model.model_validate(section))
    return False


def is_there(path: str) -> bool:
    """A path of the repository, of a stage's outs, of scratch; F and NAME stand for a family."""
    for placeholder in ("F", "NAME"):
        path = re.sub(rf"\b{placeholder}\b", "pybgpstream", path)
    made = path.startswith((".scratch/", ".dvc/cache", ".dvc/tmp", *EXPORTED)) or any(
        out.startswith(path) or path.startswith(f"{out}/") for out in OUTS
    )
    return made or (ROOT / path).exists()


# --- commands


@pytest.mark.parametrize(("command", "page"), COMMANDS)
def test_a_command_names_what_exists(command: str, page: str) -> None:
    for part in command.split(" && "):
        name, *words = shlex.split(part)
        if name == "dvc":
            from dvc.cli.parser import get_main_parser

            get_main_parser().parse_args(words)
            for override in [words[at + 1] for at, word in enumerate(words) if word == "-S"]:
                key, _, value = override.partition("=")
                for one in [value] if value.startswith('"') else value.split(","):
                    check_param(key, yaml.safe_load(one))
        elif name == "python":
            assert words.pop(0) == "-m"
            module = ROOT / f"{words.pop(0).replace('.', '/')}.py"
            source = module.read_text(encoding="utf-8")
            for word in words:
                assert not word.startswith("--") or f'"{word}"' in source, f"{module.name} has no {word}"
                assert Path(word).suffix not in (".py", ".md") or word in YOURS
        elif name == "rm":
            assert words == [".dvc/tmp/rwlock"] or (words[0] == "-rf" and words[1].startswith(".scratch/"))
        elif name in ("pip", "cp", "bash"):
            assert all(is_there(word) for word in words if "/" in word or "." in word)
        elif name in SERVERS:
            assert all(is_there(word) for word in words if "/" in word)
        elif name == "sbatch":  # tests/contracts/test_slurm.py asks SLURM, where there is one
            scripts = [word for word in words if word.endswith(".sh")]
            assert all(is_there(script) for script in scripts)
            assert scripts or words[-2] == "--wrap"
        elif [name, *words[:1]] == ["git", "checkout"]:
            assert all(is_there(word) for word in words[1:])
        elif name in ("git", "pre-commit"):
            assert words[0] in ("pull", "install")
        else:
            assert name == "pytest", f"{page}: no test knows what {name} does"


@each_page
def test_the_shell_can_read_every_block_of_commands(page: Path) -> None:
    for block in list_blocks(page, "bash"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("command", "said"),
    [("python -m commands.replay --list", "route_leak"), ("python -m stages.generate --estimate", "at most")],
)
def test_a_command_that_is_quick_and_changes_nothing_runs(command: str, said: str, tmp_path: Path) -> None:
    assert command in {command for command, _ in COMMANDS}
    environment = os.environ | {"DVC_ROOT": str(tmp_path)}
    words = [sys.executable, *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_a_scenario_in_a_command_is_one_of_the_testbed() -> None:
    from testbed.internet.scenarios import ROUTING

    named = {name for command, _ in COMMANDS for name in re.findall(r"--scenario (\w+)", command)}
    assert named
    assert named <= set(ROUTING)


def test_the_two_commands_are_the_promised_ones() -> None:
    promised = {"pip install -r requirements.txt && dvc repro", "pip install -r requirements.txt && pytest"}
    assert promised <= set(list_commands(README))


# --- names


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in list_links(page):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in list_anchors(target), link


def test_the_readme_links_every_page() -> None:
    linked = {(README.parent / link.partition("#")[0]).resolve() for link in list_links(README)}
    assert set(PAGES) - linked - {README, ROOT / "data" / "extra" / "README.md"} == set()


@each_page
def test_a_path_in_a_page_exists_or_is_made(page: Path) -> None:
    folders = r"(?:data|docs|stages|commands|netllama|testbed|tests|bench|profiles|metrics|models|results|\.\w+)"
    for span in list_spans(page):
        if re.fullmatch(rf"{folders}/[\w./-]*", span):
            assert is_there(span), span


@each_page
def test_a_param_in_a_page_exists_and_takes_the_value_beside_it(page: Path) -> None:
    for span in list_spans(page):
        found = re.fullmatch(r"([a-z]+)\.([a-z]\w*)(?:: (.+))?", span, re.IGNORECASE)
        if found and found[1] in Params.model_fields and Path(span).suffix != ".py":
            check_param(f"{found[1]}.{found[2]}", yaml.safe_load(found[3]) if found[3] else None)
    for block in list_blocks(page, "yaml"):
        for section, values in yaml.safe_load(block).items():
            for key, value in values.items():
                check_param(f"{section}.{key}", value)


def test_the_tree_names_what_there_is() -> None:
    tree = read_section(README, "The tree").split("```")[1]
    columns = [line[:24] for line in tree.splitlines()[1:] if line[:1].strip()]
    named = [name for column in columns for name in column.split()]
    assert all(is_there(name) for name in named)
    assert {"stages/", "commands/", "netllama/", "testbed/", "data/", "docs/", "tests/"} <= set(named)
    for room in ("netllama", "testbed"):
        listed = re.search(rf"^{room}/ .*?(?=^\w)", tree, re.DOTALL | re.MULTILINE)
        folders = {path.parent.name for path in (ROOT / room).glob("*/*") if path.parent.name != "__pycache__"}
        assert listed
        assert set(re.findall(r"(\w+)/", listed[0])) - {room} == folders
    for room in ("stages", "commands"):
        listed = re.search(rf"^{room}/ .*", tree, re.MULTILINE)
        assert listed
        assert set(listed[0].split(": ")[1].split()) == {path.stem for path in (ROOT / room).glob("[!_]*.py")}


# --- figures


@each_page
def test_every_figure_is_that_of_its_file(page: Path) -> None:
    wrong = [figure for figure in list_figures(page) if not figure.is_true]
    assert [(figure, figure.find_value()) for figure in wrong] == []


def test_the_results_have_their_figures_checked() -> None:
    metrics = {(figure.file, figure.key) for page in PAGES for figure in list_figures(page)}
    for key in ("heldout.loss", "code.climbed", "choice.accuracy", "true_false.accuracy", "generation.rougeL"):
        assert {("metrics/baseline.json", key), ("metrics/evaluate.json", key)} <= metrics
    reasons = read_details(ROOT / "metrics/generate.json")["rejected_for"]
    assert {("metrics/generate.json", f"rejected_for.{reason}") for reason in reasons} <= metrics


def test_the_verdicts_in_the_readme_are_those_of_the_evaluation() -> None:
    verdicts = read_details(ROOT / "metrics/evaluate.json")["verdicts"]
    suites = {"general.accuracy": "general questions", "code.climbed": LADDER}
    suites |= {f"reading.{arm}.accuracy": f"{NAMES['report']} {name}" for arm, name in ARM_NAMES.items()}
    suites |= {f"reading.choice_{arm}.accuracy": f"{NAMES['choice']} {name}" for arm, name in ARM_NAMES.items()}
    (header, *rows), *_ = list_tables(read_section(README, "Results of the embedded default"))
    shown = {suites.get(key := row[1].strip("`"), NAMES.get(key.split(".")[0], "")): row[-1] for row in rows}
    assert header[-1] == "verdict"
    assert shown.items() <= verdicts.items()
    assert len(shown) == len(rows)


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "evaluating.md"], ids=lambda page: page.name)
def test_the_interval_is_the_wilson_interval_of_the_accuracy(page: Path) -> None:
    from scipy.stats import binomtest

    choice = read_details(ROOT / "metrics/evaluate.json")["choice"]
    right = round(choice["accuracy"] * choice["questions"])
    interval = binomtest(right, choice["questions"]).proportion_ci(method="wilson")
    text = " ".join(read_page(page).split())
    assert re.findall(r"(0\.\d\d) to (0\.\d\d)", text) == [(f"{interval.low:.2f}", f"{interval.high:.2f}")]


def test_the_tuned_model_has_the_lower_test_loss() -> None:
    base, tuned = (read_details(ROOT / "metrics" / f"{name}.json") for name in ("baseline", "evaluate"))
    assert tuned["heldout"]["loss"] < base["heldout"]["loss"]


# --- pictures and tables


def test_the_picture_of_the_dag_has_the_edges_of_dvc_yaml_and_what_is_on_them() -> None:
    makers = {out: stage for stage in STAGES for out in outs_of(stage)}
    drawn: dict[tuple[str, str], str] = {}
    for line in list_blocks(README, "mermaid")[0].splitlines():
        if edge := re.fullmatch(r'\s*(\w+)(?:\["[^"]*"\])? -- "([^"]*)" --> ([\w &]+)(?:\[.*\])?', line):
            for reader in edge[3].split(" & "):
                drawn[edge[1], reader] = drawn.get((edge[1], reader), "") + edge[2]
    deps = {
        (makers[dep], stage): [other for other in entry["deps"] if makers.get(other) == makers[dep]]
        for stage, entry in STAGES.items()
        for dep in entry["deps"]
        if dep in makers
    }
    assert {edge for edge in drawn if set(edge) <= set(STAGES)} == set(deps)
    for edge, handed in deps.items():
        for path in handed:
            assert Path(path).name in drawn[edge], f"{edge}: {path}"


def test_every_filter_and_every_reason_before_it_is_documented_in_order() -> None:
    reasons, filters = list_tables(read_section(GENERATING, "What is rejected, and why"))[:2]
    assert [row[0].strip("`") for row in reasons[1:]] == list(PARSER_PROBLEMS)
    assert [row[0].strip("`") for row in filters[1:]] == list(get_args(FilterName))


def test_every_fault_of_a_script_is_documented() -> None:
    [(_, *rows), *_] = list_tables(read_section(GENERATING, "Its Python must run"))
    assert sorted(re.findall(r"`([^`]+)`", " ".join(row[0] for row in rows))) == sorted(
        set(get_args(CodeFinding)) - {"holds"}
    )


def test_the_messages_of_a_stopped_run_are_those_of_the_code() -> None:
    rooms = [*(ROOT / "netllama/training").glob("*.py"), ROOT / "stages/train.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in rooms)
    (_, *rows), *_ = list_tables(read_section(ROOT / "docs" / "training.md", "A run that stopped by itself"))
    for row in rows:
        for message in re.findall(r"`([^`]+)`", row[0]):
            assert re.sub(r"(nan|inf|0|\.\.\.)$", "", message) in code, message


def test_the_readme_is_short() -> None:
    assert len(read_page(README).splitlines()) <= 150
