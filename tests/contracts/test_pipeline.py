"""The whole DAG in a temporary clone: the bundled model, the live embedded teacher, small numbers.

One module-wide run, about five minutes on two cores; the tests below it look at what it left and go on
from there in order.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clones import ROOT, Clone, make_clone
from tests.support.openai_server import Answer, Asked, OpenAIServer, new_tasks

SMALL: dict[str, Any] = {
    "families": ["bgp_knowledge", "packet_analysis"],
    "generate.num_instructions_to_generate": 2,
    "generate.max_requests": 2,
    "generate.requests_per_round": 2,
    "generate.max_exemplar_tokens": 200,
    "teacher.max_tokens": 96,
    "teacher.max_concurrency": 2,
    "generate.seed": 7,  # not the recorded one: every answer is asked live
    "tokenize.max_length": 320,
    "lora.r": 4,
    "train.max_steps": 3,
    "train.per_device_train_batch_size": 2,
    "train.eval_steps": 2,
    "train.logging_steps": 1,
    "evaluate.max_new_tokens": 8,
    "evaluate.num_generated": 2,
}
ALL = {"fetch", "generate", "split", "tokenize", "baseline", "train", "evaluate"}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` ran once, with small numbers, from nothing."""
    clone = Clone(make_clone(tmp_path_factory.mktemp("pipeline") / "clone"))
    clone.edit(**SMALL)
    for path in (clone.folder / "data" / "questions").iterdir():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[::40]), encoding="utf-8")
    output = clone.run("dvc", "repro")
    assert clone.ran(output) == ALL
    clone.commit("small run")
    return clone


def test_every_stage_wrote_what_it_promises(pipeline: Clone) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for entry in stages.values():
        for out in entry["outs"]:
            assert (pipeline.folder / out).exists(), out
    assert pipeline.run("git", "status", "--porcelain") == ""


def test_the_live_teacher_was_asked_and_stopped(pipeline: Clone) -> None:
    generated = pipeline.json("metrics/generate.json")
    assert generated["family"]["bgp_knowledge"]["answers"] == {"asked": 2, "replayed": 0}
    stored = pipeline.folder / ".scratch" / "responses" / "responses.jsonl"
    assert len(stored.read_text().splitlines()) == 4
    assert str(pipeline.folder) not in subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True).stdout


def test_base_and_tuned_are_measured_by_the_same_keys(pipeline: Clone) -> None:
    base, tuned = pipeline.json("metrics/baseline.json"), pipeline.json("metrics/evaluate.json")
    assert set(tuned) == {*base, "delta"}
    assert tuned["heldout"]["loss"] != base["heldout"]["loss"]
    assert tuned["delta"]["heldout"]["loss"] == pytest.approx(tuned["heldout"]["loss"] - base["heldout"]["loss"])


def test_a_second_repro_runs_no_stage(pipeline: Clone) -> None:
    assert pipeline.ran(pipeline.run("dvc", "repro")) == set()


def test_a_lora_experiment_runs_train_and_evaluate_only_and_going_back_runs_nothing(pipeline: Clone) -> None:
    assert pipeline.ran(pipeline.run("dvc", "exp", "run", "-S", "lora.r=8")) == {"train", "evaluate"}
    assert pipeline.ran(pipeline.run("dvc", "exp", "run", "-S", "lora.r=4")) == set()
    assert pipeline.run("git", "status", "--porcelain") == ""


def test_a_change_of_evaluation_reruns_baseline_and_evaluate_only(pipeline: Clone) -> None:
    output = pipeline.run("dvc", "exp", "run", "-S", "evaluate.max_new_tokens=9")
    assert pipeline.ran(output) == {"baseline", "evaluate"}
    pipeline.run("dvc", "exp", "run", "-S", "evaluate.max_new_tokens=8")


def test_metrics_diff_shows_an_experiment_in_a_clone_without_a_cache(pipeline: Clone, tmp_path: Path) -> None:
    pipeline.run("git", "checkout", "--quiet", "-B", "main")
    pipeline.run("git", "checkout", "--quiet", "-b", "rank-8")
    pipeline.run("dvc", "exp", "run", "-S", "lora.r=8")
    pipeline.commit("rank 8")
    bare = Clone(tmp_path / "bare")
    pipeline.run("git", "clone", "--quiet", "--branch", "rank-8", str(pipeline.folder), str(bare.folder))
    bare.run("git", "fetch", "--quiet", "origin", "main:main")
    diff = bare.run("dvc", "metrics", "diff", "main")
    assert "metrics/train.json" in diff
    assert "trainable_parameters" in diff
    pipeline.run("git", "checkout", "--quiet", "main")
    pipeline.run("dvc", "checkout")


def test_from_nothing_again_the_lock_file_is_the_same(pipeline: Clone) -> None:
    for name in ("data/generated", "data/splits", "data/tokenized", "models", "results", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(pipeline.folder / name)
    assert pipeline.ran(pipeline.run("dvc", "repro")) == ALL
    assert pipeline.run("git", "diff", "--stat", "--", "dvc.lock", "metrics") == ""


def test_a_repro_killed_in_generate_goes_on_and_asks_nothing_stored_again(clone: Path) -> None:
    asked_enough = threading.Event()

    def reply(asked: Asked) -> Answer:
        if asked.number >= 5:
            asked_enough.set()
        return Answer(new_tasks(asked), delay=0.2)

    with OpenAIServer(reply) as server:
        killed = Clone(clone)
        killed.edit(**{"teacher.base_url": server.url, "teacher.api": "chat", "teacher.max_concurrency": 1})
        command = [Path(sys.executable).parent / "dvc", "repro", "generate"]
        run = subprocess.Popen(
            command, cwd=clone, env=killed.environment, start_new_session=True, stdout=subprocess.DEVNULL
        )
        assert asked_enough.wait(120)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        stored = (clone / ".scratch" / "responses" / "responses.jsonl").read_text(encoding="utf-8").splitlines()
        before = len(server.requests)
        killed.run("dvc", "repro", "generate")
        total = killed.json("metrics/generate.json")["family"]
        asked = sum(family["answers"]["asked"] for family in total.values())
        assert asked == len(stored) + len(server.requests) - before
        assert 0 < before - len(stored) <= 1, "only what was in flight may be asked again"
    assert (clone / "data" / "generated" / "instructions.jsonl").is_file()


def test_a_fresh_clone_replays_the_recorded_answers_to_the_bytes_of_the_lock_file(clone: Path) -> None:
    fresh = Clone(clone)
    committed = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"]["generate"]["outs"]
    fresh.run("dvc", "repro", "--force", "generate")
    lock = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))
    assert lock["stages"]["generate"]["outs"] == committed
    assert not (clone / ".scratch" / "responses" / "responses.jsonl").exists(), "nothing had to be asked"


def test_a_typo_in_an_override_is_one_line_with_the_key(pipeline: Clone) -> None:
    output = pipeline.run("dvc", "exp", "run", "-S", "lora.rr=8", fails=True)
    errors = [line for line in output.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert "lora.rr" in errors[0]
    assert pipeline.run("git", "status", "--porcelain") == ""
