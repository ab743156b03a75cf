"""What the README says is so: its figures, its picture of the DAG, its tables and its commands."""

import json
import re
import shlex
from typing import Any

import pytest
import yaml

from netllama.core.params import Params
from tests.support.clones import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
STAGES: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_results_are_those_of_the_committed_metrics() -> None:
    base, tuned = (json.loads((ROOT / "metrics" / f"{name}.json").read_text()) for name in ("baseline", "evaluate"))
    choice, true_false = (base[kind]["questions"] for kind in ("choice", "true_false"))
    keys = {
        "held-out loss (nats a token)": ("heldout", "loss"),
        "held-out perplexity": ("heldout", "perplexity"),
        "held-out loss, hand-written rows only": ("heldout", "source", "seed", "loss"),
        f"four-choice accuracy ({choice} questions, chance 0.25)": ("choice", "accuracy"),
        f"true/false accuracy ({true_false} questions, chance 0.5)": ("true_false", "accuracy"),
        "ROUGE-L F1 of written answers": ("generation", "rougeL"),
    }
    rows = table("Results of the embedded default")
    assert [row[0] for row in rows] == list(keys)
    for name, before, after, _ in rows:
        expected = []
        for metrics in (base, tuned):
            value: Any = metrics
            for key in keys[name]:
                value = value[key]
            expected.append(value)
        assert [float(before), float(after)] == expected, name


def test_the_training_rows_are_counted_as_they_were_split() -> None:
    rows = json.loads((ROOT / "metrics" / "split.json").read_text())["source"]["train"]
    text = " ".join(section("Results of the embedded default").split())
    assert f"trained for {PARAMS['train']['max_steps']} steps on {rows['seed']} hand-written tasks" in text
    assert f"and {rows['generated']} of its own making" in text


def test_the_tuned_model_has_the_lower_test_loss() -> None:
    base, tuned = (json.loads((ROOT / "metrics" / f"{name}.json").read_text()) for name in ("baseline", "evaluate"))
    assert tuned["heldout"]["loss"] < base["heldout"]["loss"]


def test_the_picture_of_the_dag_has_the_edges_of_dvc_yaml() -> None:
    producer = {
        (path if isinstance(path, str) else next(iter(path))): stage
        for stage, entry in STAGES.items()
        for path in entry["outs"] + entry.get("metrics", [])
    }
    edges = {(producer[dep], stage) for stage, entry in STAGES.items() for dep in entry["deps"] if dep in producer}
    assert set(re.findall(r"(\w+) --> (\w+)", section("The DAG"))) == edges


def test_the_params_table_shows_the_defaults() -> None:
    for names, defaults, _ in table("The params that matter"):
        for name, default in zip(re.findall(r"`([\w.]+)`", names), defaults.split(", "), strict=True):
            area, _, key = name.partition(".")
            value = PARAMS[area][key]
            empty = "(empty)" if value in ("", None) else str(value)
            shown = f"{len(value)} of them" if isinstance(value, list) else empty
            assert shown == default, name


def test_the_tree_names_what_there_is() -> None:
    tree = section("The tree").split("```")[1]
    for line in tree.splitlines()[1:]:
        name = line.split()[0] if line.strip() else ""
        if re.fullmatch(r"[\w.]+(/|\.\w+)", name) and not line.startswith("    "):
            written = name in ("models/", "metrics/")  # a stage makes these
            assert written or (ROOT / name).exists() or (ROOT / "stages" / name).exists(), name


def test_the_two_commands_are_the_promised_ones() -> None:
    assert "pip install -r requirements.txt && dvc repro" in commands()
    assert "pip install -r requirements.txt && pytest" in commands()


@pytest.mark.parametrize("command", commands())
def test_a_command_names_what_exists(command: str) -> None:
    for override in re.findall(r"-S '?([\w.]+)=", command):
        area, _, key = override.partition(".")
        annotation: Any = Params.model_fields[area].annotation
        assert key in annotation.model_fields
    for path in re.findall(r"profiles/[\w.-]+\.yaml|requirements\.txt", command):
        assert (ROOT / path).is_file()
    for name in re.findall(r"python -m (stages\.\w+)", command):
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file()
    if command.startswith("dvc "):
        from dvc.cli.parser import get_main_parser

        words = shlex.split(command)[1:]
        get_main_parser().parse_args(words)
