"""The whole DAG in a temporary clone: a tiny model, a teacher on a loopback port, small numbers.

One run for all tests (`small_run`): those of this module look at what it left, and go on from a copy of it. That the
same holds for the bundled model and its embedded teacher, one slow test shows.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.clones import ROOT, Clone
from tests.support.openai_server import Answer, Asked, OpenAIServer, new_tasks
from tests.support.small_runs import ALL, assert_the_teacher_was_asked, make_small_clone, run_small
from tests.support.warm_programs import STAGE_LIBRARIES, open_warm_program

pytestmark = pytest.mark.timeout(1800)  # the first test waits for the whole DAG, on a machine that may be busy

FEW = {
    "teacher.max_tokens": 64,
    "tokenize.max_length": 224,
    "train.max_steps": 2,
    "evaluate.num_generated": 1,
    "evaluate.num_reports": 1,
    "evaluate.num_val_reports": 2,
    "evaluate.num_with_documents": 1,
}
"""Of what takes the bundled model seconds."""


@pytest.fixture(scope="module")
def pipeline(small_run: Path, warm_dvc: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """Its stages are forked from another process than those of `small_run`: with another hash seed, for one."""
    folder = shutil.copytree(small_run, tmp_path_factory.mktemp("pipeline") / "clone", symlinks=True)
    with open_warm_program("python", STAGE_LIBRARIES) as warm_python:
        yield Clone(folder, warm_dvc, warm_python)


def test_every_stage_wrote_what_it_promises(pipeline: Clone) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        for out in stage["outs"]:
            assert (pipeline.folder / out).exists(), out
    assert pipeline.run("git", "status", "--porcelain") == ""


def test_the_teacher_was_asked_and_its_answers_are_stored(pipeline: Clone) -> None:
    assert_the_teacher_was_asked(pipeline)


def test_base_and_tuned_are_measured_by_the_same_keys(pipeline: Clone) -> None:
    base, tuned = pipeline.details("metrics/baseline.json"), pipeline.details("metrics/evaluate.json")
    assert set(tuned) == {*base, "delta", "verdicts"}
    assert tuned["heldout"]["loss"] != base["heldout"]["loss"]
    assert tuned["delta"]["heldout"]["loss"] == pytest.approx(tuned["heldout"]["loss"] - base["heldout"]["loss"])


def test_a_second_repro_runs_no_stage(pipeline: Clone) -> None:
    assert pipeline.ran(pipeline.run("dvc", "repro")) == set()


def test_a_lora_experiment_runs_train_and_what_follows_and_going_back_runs_nothing(pipeline: Clone) -> None:
    assert pipeline.ran(pipeline.run("dvc", "exp", "run", "-S", "lora.r=8")) == {"train", "evaluate", "judge", "report"}
    assert pipeline.ran(pipeline.run("dvc", "exp", "run", "-S", "lora.r=4")) == set()
    assert pipeline.run("git", "diff") == ""


def test_a_change_of_evaluation_reruns_baseline_and_evaluate_only(pipeline: Clone) -> None:
    pipeline.edit(**{"evaluate.max_new_tokens": 9})
    assert pipeline.ran(pipeline.run("dvc", "repro", "--dry")) == {"baseline", "evaluate"}
    pipeline.run("git", "checkout", "--quiet", "params.yaml")


def test_metrics_diff_shows_an_experiment_in_a_clone_without_a_cache(
    pipeline: Clone, warm_dvc: Path, tmp_path: Path
) -> None:
    pipeline.run("git", "checkout", "--quiet", "-B", "main")
    pipeline.run("git", "checkout", "--quiet", "-b", "rank-8")
    pipeline.run("dvc", "exp", "run", "-S", "lora.r=8")
    experiments = pipeline.run("dvc", "exp", "show", "--no-pager", "--only-changed", "--drop", ".*/.*")
    pipeline.commit("rank 8")
    bare = Clone(tmp_path / "bare", warm_dvc)
    pipeline.run("git", "clone", "--quiet", "--branch", "rank-8", str(pipeline.folder), str(bare.folder))
    bare.run("git", "fetch", "--quiet", "origin", "main:main")
    diff = bare.run("dvc", "metrics", "diff", "main")
    assert "metrics/train.json" in diff
    assert "val_loss" in diff
    assert {"val_loss", "test_loss", "lora.r"} <= set(experiments.split())
    shown = pipeline.run("dvc", "metrics", "show")
    for table in (diff, experiments, shown):
        assert max(map(len, table.splitlines())) <= 160, "a terminal of 160 columns shows dots or breaks lines"
    numbers = shown.splitlines()[0].split()[1:]
    assert len(numbers) == len(set(numbers)) <= 16
    pipeline.run("git", "checkout", "--quiet", "main")
    pipeline.run("dvc", "checkout")


@pytest.mark.slow
def test_from_nothing_again_the_lock_file_is_the_same(pipeline: Clone) -> None:
    made = [f"data/{name}" for name in ("generated", "splits", "retrieved", "tokenized")]
    for name in (*made, "models", "results", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(pipeline.folder / name)
    assert pipeline.ran(pipeline.run("dvc", "repro")) == ALL
    assert pipeline.run("git", "diff", "--stat", "--", "dvc.lock", "metrics") == ""


def test_a_repro_killed_in_generate_goes_on_and_asks_nothing_stored_again(clone: Path) -> None:
    asked_enough, died = threading.Event(), threading.Event()

    def reply(asked: Asked) -> Answer:
        if asked.number >= 5:
            asked_enough.set()
        return Answer(new_tasks(asked), delay=0.0 if died.is_set() else 0.2)

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
        died.set()
        stored = (clone / ".scratch" / "responses" / "responses.jsonl").read_text(encoding="utf-8").splitlines()
        before = len(server.requests)
        killed.run("dvc", "repro", "generate")
        total = killed.details("metrics/generate.json")["family"]
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


@pytest.mark.slow
def test_the_bundled_model_and_its_embedded_teacher_take_the_whole_way_and_the_teacher_is_stopped(
    tmp_path: Path,
) -> None:
    # Processes of their own, as a user's are: what a stage forgets to import is there in a fork of a warm one.
    bundled = run_small(make_small_clone(tmp_path / "clone", **FEW))
    assert_the_teacher_was_asked(bundled)
    assert str(bundled.folder) not in subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True).stdout
    base, tuned = bundled.details("metrics/baseline.json"), bundled.details("metrics/evaluate.json")
    assert tuned["heldout"]["loss"] != base["heldout"]["loss"]
    assert bundled.run("git", "status", "--porcelain") == ""
    assert bundled.ran(bundled.run("dvc", "repro")) == set()
