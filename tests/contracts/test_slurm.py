"""profiles/launch/slurm.sh: what it tells torchrun, that the params take its launch command, that SLURM takes it."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from netllama.core.sections import LaunchParams
from tests.support.clones import ROOT
from tests.support.pages import list_blocks

SCRIPT = ROOT / "profiles" / "launch" / "slurm.sh"
TEXT = SCRIPT.read_text(encoding="utf-8")
DIRECTIVES = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", TEXT, re.MULTILINE))
LAUNCH = next(iter(re.findall(r"^#   launch\.train: (.+)$", TEXT, re.MULTILINE)))
SCALE = ROOT / "docs" / "scale.md"


def write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def run_script(folder: Path, *arguments: str, **variables: str) -> dict[str, str]:
    """The environment that the script starts `dvc` in, of a job of SLURM with these variables; `dvc` for its words."""
    write_program(folder / "scontrol", '[ "$*" = "show hostnames gpu[07-08]" ] && printf "gpu07\\ngpu08\\n"')
    write_program(folder / "dvc", 'echo "dvc=$*"; env')
    job = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "gpu[07-08]",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_PER_TASK": DIRECTIVES["cpus-per-task"],
    }
    environment = job | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"} | variables
    done = subprocess.run(
        ["bash", str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def parse_torchrun(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Any:
    """What torchrun makes of the launch command of the DAG in this environment."""
    from torch.distributed.run import get_args_parser

    for name, value in environment.items():
        if name.startswith("PET_"):
            monkeypatch.setenv(name, value)
    command = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["cmd"]
    words = command.replace("${launch.train}", LAUNCH).split()
    assert words[:2] == ["srun", "torchrun"]
    return get_args_parser().parse_args(words[2:])


def test_the_launch_command_of_the_script_is_one_that_the_params_take() -> None:
    assert LaunchParams(train=LAUNCH).train == "srun torchrun"


def test_the_processes_of_all_nodes_meet_at_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = run_script(tmp_path, "--pull", "train", SLURM_GPUS_ON_NODE="8")
    assert environment["dvc"] == "repro --pull train"
    assert environment["SRUN_CPUS_PER_TASK"] == DIRECTIVES["cpus-per-task"]
    found = parse_torchrun(monkeypatch, environment)
    assert (found.module, found.training_script) == (True, "stages.train")
    assert (found.nnodes, found.nproc_per_node) == ("2", "8")
    assert (found.rdzv_backend, found.rdzv_id) == ("c10d", "4711")
    assert found.rdzv_endpoint == "gpu07:30211"


def test_a_node_without_gpus_has_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_torchrun(monkeypatch, run_script(tmp_path)).nproc_per_node == "1"


def test_a_job_goes_on_where_a_stopped_one_was_and_its_log_is_not_for_git() -> None:
    assert {"requeue", "open-mode"} <= DIRECTIVES.keys()
    log = DIRECTIVES["output"].replace("%j", "4711")
    assert subprocess.run(["git", "check-ignore", "--quiet", log], cwd=ROOT).returncode == 0
    # One task a node: torchrun starts the processes.
    assert DIRECTIVES["ntasks-per-node"] == "1"


def list_jobs() -> list[str]:
    """The commands of the pages that submit a job, each on one line."""
    blocks = list_blocks(SCALE, "bash")
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("sbatch ")]


def has_slurm() -> bool:
    """Whether a controller answers."""
    return bool(shutil.which("sbatch")) and not subprocess.run(["scontrol", "ping"], capture_output=True).returncode


@pytest.mark.skipif(not has_slurm(), reason="no SLURM here")
def test_slurm_takes_the_script() -> None:
    # As many GPUs as any node has: none.
    command = ["sbatch", "--test-only", "--gpus-per-node=0", str(SCRIPT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Job \d+ to start at", done.stderr)


@pytest.mark.skipif(not has_slurm(), reason="no SLURM here")
def test_slurm_takes_the_jobs_of_the_page() -> None:
    jobs = [job for job in list_jobs() if "--nodes" not in job]
    assert jobs
    for job in jobs:
        here = re.sub(r"--gpus-per-node=\d+ ", "", job)
        command = here.replace("sbatch ", "sbatch --test-only --gpus-per-node=0 ", 1)
        done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
