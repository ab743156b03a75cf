"""A team shares what DVC keeps: a second clone pulls it and runs nothing, and no key is in what was pushed.

Git's remote is a bare repository, DVC's remote a folder or an S3 server on loopback. The S3 test needs
tests/s3-requirements.txt; without them it is skipped.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clones import Clone
from tests.support.openai_server import Answer, OpenAIServer, new_tasks
from tests.support.small_runs import PLANTED, REQUESTS, invent_key, make_small_clone, plant_keys, with_tiny_model

NEIGHBOUR, STORAGE_KEY = invent_key("params.local.yaml"), invent_key("config.local")
KEYS = [*PLANTED.values(), NEIGHBOUR, STORAGE_KEY]
RANKS = ["8", "16", "32"]
QUEUE_SECONDS = 900
pytestmark = pytest.mark.timeout(QUEUE_SECONDS + 300)  # the first test of the queue waits for its three experiments


def publish_git(author: Clone, origin: Path) -> None:
    """A bare repository as the origin of `author`, whose branch becomes main."""
    author.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(origin))
    author.run("git", "checkout", "--quiet", "-B", "main")
    author.run("git", "remote", "set-url", "origin", str(origin))
    author.run("git", "push", "--quiet", "origin", "main")


def clone_origin(origin: Path, folder: Path, *programs: Path) -> Clone:
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
    clone = Clone(folder, *programs)
    clone.run("git", "config", "user.email", "colleague@localhost")
    clone.run("git", "config", "user.name", "colleague")
    return clone


def plant_all_keys(author: Clone) -> None:
    """Keys where people leave them: .env, the environment, a file beside params.yaml, DVC's private settings."""
    plant_keys(author)
    (author.folder / "params.local.yaml").write_text(f"teacher:\n  api_key: {NEIGHBOUR}\n", encoding="utf-8")
    author.run("dvc", "remote", "add", "--local", "archive", "https://archive.example.org")
    author.run("dvc", "remote", "modify", "--local", "archive", "password", STORAGE_KEY)


def read_git_objects(repository: Path) -> bytes:
    """All objects of a repository, unpacked."""
    command = ["git", "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True).stdout


def read_folder(folder: Path) -> bytes:
    """The names and bytes of all files."""
    return b"\n".join(
        os.fsencode(path) + b"\n" + path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    )


def find_keys(pushed: bytes) -> list[str]:
    return [key for key in KEYS if key.encode() in pushed]


def hash_outs(clone: Clone) -> Any:
    """By stage, what dvc.lock says of its outs."""
    stages = yaml.safe_load((clone.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {name: stage["outs"] for name, stage in stages.items()}


def assert_all_is_there_and_nothing_runs(colleague: Clone, author: Clone) -> None:
    assert colleague.ran(colleague.run("dvc", "repro")) == set()
    assert hash_outs(colleague) == hash_outs(author)
    for name in ("models/adapter", "results", "data/splits"):
        for path in (author.folder / name).rglob("*"):
            if path.is_file():
                assert (colleague.folder / path.relative_to(author.folder)).read_bytes() == path.read_bytes()
    assert colleague.run("git", "status", "--porcelain") == ""


# --- outs


@dataclass(frozen=True)
class Team:
    author: Clone
    origin: Path
    """Git's remote."""
    storage: Path
    """DVC's remote."""


@pytest.fixture(scope="module")
def team(small_run: Path, warm_dvc: Path, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """An author with a finished run who has pushed it, with keys in all places."""
    folder = tmp_path_factory.mktemp("team")
    author = Clone(shutil.copytree(small_run, folder / "author", symlinks=True), warm_dvc)
    author.run("dvc", "remote", "add", "--default", "storage", str(folder / "storage"))
    author.run("git", "commit", "--quiet", "-am", "Remote of the team")
    publish_git(author, folder / "origin")
    plant_keys(author)
    author.run("dvc", "push")
    return Team(author, folder / "origin", folder / "storage")


def test_a_second_clone_pulls_and_runs_nothing(team: Team, warm_dvc: Path, tmp_path: Path) -> None:
    colleague = clone_origin(team.origin, tmp_path / "colleague", warm_dvc)
    colleague.run("dvc", "pull")
    assert_all_is_there_and_nothing_runs(colleague, team.author)


def test_repro_with_pull_fetches_what_is_missing_and_runs_nothing(team: Team, warm_dvc: Path, tmp_path: Path) -> None:
    colleague = clone_origin(team.origin, tmp_path / "colleague", warm_dvc)
    assert colleague.ran(colleague.run("dvc", "repro", "--pull")) == set()
    assert_all_is_there_and_nothing_runs(colleague, team.author)


def test_a_clone_without_data_knows_whether_its_lock_file_is_of_its_code(
    team: Team, warm_dvc: Path, tmp_path: Path
) -> None:
    """The check of the GitHub workflow."""
    check = ("dvc", "repro", "--dry", "--allow-missing")
    fresh = clone_origin(team.origin, tmp_path / "fresh", warm_dvc)
    assert fresh.ran(fresh.run(*check)) == set()
    fresh.edit(**{"lora.r": 5})
    assert "train" in fresh.run(*check, fails=True)


def test_no_key_is_in_what_was_pushed(team: Team) -> None:
    pushed = read_folder(team.storage), read_git_objects(team.origin)
    assert b"lora_dropout" in pushed[0], "the adapter's record is among it"
    assert b"def invent_key" in pushed[1], "this code is among it"
    assert [find_keys(each) for each in pushed] == [[], []]


@pytest.mark.slow
def test_a_key_would_be_found(team: Team, warm_dvc: Path, tmp_path: Path) -> None:
    """The search itself: the key of .env in a file that DVC pushes, and in a commit."""
    author = Clone(shutil.copytree(team.author.folder, tmp_path / "author", symlinks=True), warm_dvc)
    leaked = author.folder / "data" / "extra" / "leaked.txt"
    leaked.write_text((author.folder / ".env").read_text(encoding="utf-8"), encoding="utf-8")
    author.run("dvc", "remote", "modify", "storage", "url", str(tmp_path / "storage"))
    author.run("git", "remote", "set-url", "origin", str(tmp_path / "origin"))
    author.run("git", "init", "--quiet", "--bare", str(tmp_path / "origin"))
    author.run("git", "add", "--force", ".env")
    author.run("git", "commit", "--quiet", "-m", "A mistake")
    author.run("git", "push", "--quiet", "origin", "main")
    author.run("dvc", "add", "--quiet", str(leaked))
    author.run("dvc", "push", str(leaked))
    found = [find_keys(read_folder(tmp_path / "storage")), find_keys(read_git_objects(tmp_path / "origin"))]
    assert found == [[PLANTED["OPENAI_API_KEY"]]] * 2


# --- experiments


@dataclass(frozen=True)
class Sweep:
    author: Clone
    origin: Path
    storage: Path
    prompts: list[str]
    """What the teacher was asked by all three experiments."""


def list_experiments(clone: Clone) -> list[dict[str, str]]:
    """The rows of `dvc exp show`, without workspace and branch."""
    rows = csv.DictReader(io.StringIO(clone.run("dvc", "exp", "show", "--csv", "--num", "1")))
    return [row for row in rows if row["rev"] != "workspace" and row["typ"] != "baseline"]


@pytest.fixture(scope="module")
def sweep(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """Three queued experiments of two workers, in a clone in which nothing has run."""
    if "NETLLAMA_TEST_QUEUE" not in os.environ:
        # DVC 3.67: two workers now and then start in each other's folder, and one experiment fails.
        pytest.skip("set NETLLAMA_TEST_QUEUE=1 to run two workers of dvc queue, which DVC 3.67 does not always manage")
    folder = tmp_path_factory.mktemp("sweep")
    with OpenAIServer(lambda asked: Answer(new_tasks(asked), delay=0.5)) as teacher:
        author = make_small_clone(folder / "author", **with_tiny_model(tiny_model_folder, teacher))
        author.run("dvc", "remote", "add", "--default", "storage", str(folder / "storage"))
        author.run("git", "commit", "--quiet", "-am", "Remote of the team")
        publish_git(author, folder / "origin")
        plant_all_keys(author)
        author.environment |= {"OMP_NUM_THREADS": "1"}
        author.run("dvc", "exp", "run", "--queue", "-S", f"lora.r={','.join(RANKS)}")
        try:
            finish_queue(author)
            yield Sweep(author, folder / "origin", folder / "storage", teacher.prompts)
        finally:
            author.run("dvc", "queue", "stop", "--kill")


def finish_queue(clone: Clone) -> None:
    """Two workers, until each rank is an experiment.

    They get commands through files, which one of them may read before they are written whole, and then ends after its
    task (DVC 3.67). So they are asked for their state rarely, and started again where tasks are left.
    """
    end = time.monotonic() + QUEUE_SECONDS
    clone.run("dvc", "queue", "start", "--jobs", "2")
    asked = time.monotonic()
    while len(clone.run("dvc", "exp", "list", "--name-only").split()) < len(RANKS):
        assert time.monotonic() < end, read_logs(clone)
        time.sleep(5)
        if time.monotonic() - asked > 60:
            status, asked = clone.run("dvc", "queue", "status"), time.monotonic()
            assert "Failed" not in status, read_logs(clone)
            if "0 active" in status and "Running" not in status:
                clone.run("dvc", "queue", "start", "--jobs", "2")


def read_logs(clone: Clone) -> str:
    """What failed tasks of the queue printed."""
    logs = (clone.folder / ".dvc" / "tmp" / "exps" / "run").rglob("*.out")
    return "\n".join(path.read_text(encoding="utf-8", errors="replace")[-2000:] for path in logs)


@pytest.mark.slow
def test_two_workers_make_three_experiments_and_ask_nothing_twice(sweep: Sweep) -> None:
    experiments = list_experiments(sweep.author)
    assert sorted(int(row["lora.r"]) for row in experiments) == sorted(map(int, RANKS))
    assert len({row["val_loss"] for row in experiments}) == len(RANKS)
    assert len({row["data/generated/instructions.jsonl"] for row in experiments}) == 1, "they share the answers"
    assert len(sweep.prompts) == len(set(sweep.prompts)) == REQUESTS
    assert not list((sweep.author.folder / ".scratch" / "train").glob("*/")), "no checkpoint is left"
    assert sweep.author.run("git", "status", "--porcelain", "--untracked-files=no") == ""


@pytest.mark.slow
def test_the_table_of_experiments_fits_a_terminal_and_names_what_differs(sweep: Sweep) -> None:
    terminal = Clone(sweep.author.folder)
    terminal.environment["COLUMNS"] = "180"  # every number differs from the baseline's, whose questions are others
    columns = ("--only-changed", "--drop", ".*/.*|testbed|Created|State|Executor")
    table = terminal.run("dvc", "exp", "show", "--no-pager", *columns)
    assert {"lora.r", "val_loss", "test_loss", *RANKS} <= set(table.split())
    assert "…" not in table
    rows = [line for line in table.splitlines() if line.strip(" ─")]
    assert len(rows) == len(["head", "workspace", "main", *RANKS]), "no row is broken in two"


@pytest.mark.slow
def test_a_plot_shows_the_curves_of_two_experiments_beside_each_other(sweep: Sweep) -> None:
    names = [row["Experiment"] for row in list_experiments(sweep.author)][:2]
    sweep.author.run("dvc", "plots", "diff", *names)
    page = (sweep.author.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    plots = json.loads(sweep.author.run("dvc", "plots", "diff", "--json", *names))["data"]
    curves = ["train_loss", "val_loss", "learning_rate", "grad_norm"]
    assert set(plots) == {f"metrics/{name}.csv" for name in ("generate_funnel", "tokenize_lengths", *curves)}
    for name in curves:
        assert f"#metrics_{name}_csv" in page
        (plot,) = plots[f"metrics/{name}.csv"]
        points = plot["content"]["data"]["values"]
        assert {point["rev"] for point in points} == set(names)
        if name == "train_loss":
            one, other = ([point["loss"] for point in points if point["rev"] == revision] for revision in names)
            assert one != other


@pytest.mark.slow
def test_a_colleague_pulls_an_experiment_and_applies_it_and_runs_nothing(sweep: Sweep, tmp_path: Path) -> None:
    chosen = next(row for row in list_experiments(sweep.author) if row["lora.r"] == "16")
    sweep.author.run("dvc", "exp", "push", "origin", chosen["Experiment"])
    colleague = clone_origin(sweep.origin, tmp_path / "colleague")
    assert chosen["Experiment"] in colleague.run("dvc", "exp", "list", "origin")
    colleague.run("dvc", "exp", "pull", "origin", chosen["Experiment"])
    assert [row["val_loss"] for row in list_experiments(colleague)] == [chosen["val_loss"]]
    colleague.run("dvc", "exp", "apply", chosen["Experiment"])
    assert colleague.ran(colleague.run("dvc", "repro")) == set()
    assert (colleague.folder / "models" / "adapter" / "adapter_model.safetensors").is_file()
    pushed = read_folder(sweep.storage), read_git_objects(sweep.origin)
    assert b"val_loss" in pushed[1]
    assert [find_keys(each) for each in pushed] == [[], []]


# --- S3


@pytest.mark.slow
def test_a_second_clone_pulls_from_s3_and_no_key_is_in_the_bucket(
    small_run: Path, warm_dvc: Path, tmp_path: Path
) -> None:
    pytest.importorskip("dvc_s3", reason="pip install -r tests/s3-requirements.txt")
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        given = {"aws_access_key_id": "colleagues", "aws_secret_access_key": STORAGE_KEY, "region_name": "us-east-1"}
        s3 = boto3.client("s3", endpoint_url=url, **given)
        s3.create_bucket(Bucket="team")

        author = Clone(shutil.copytree(small_run, tmp_path / "author", symlinks=True), warm_dvc)
        author.run("dvc", "remote", "add", "--default", "storage", "s3://team/netllama")
        author.run("dvc", "remote", "modify", "storage", "endpointurl", url)
        author.run("git", "commit", "--quiet", "-am", "Remote of the team")
        publish_git(author, tmp_path / "origin")
        plant_all_keys(author)
        log_in(author)
        author.run("dvc", "push")

        colleague = clone_origin(tmp_path / "origin", tmp_path / "colleague", warm_dvc)
        log_in(colleague)
        assert colleague.ran(colleague.run("dvc", "repro", "--pull")) == set()
        assert_all_is_there_and_nothing_runs(colleague, author)

        listed = [each["Key"] for page in pages_of(s3) for each in page["Contents"]]
        bucket = b"\n".join(name.encode() + s3.get_object(Bucket="team", Key=name)["Body"].read() for name in listed)
        assert b"lora_dropout" in bucket
        assert [find_keys(each) for each in (bucket, read_git_objects(tmp_path / "origin"))] == [[], []]
    finally:
        server.stop()


def log_in(clone: Clone) -> None:
    clone.run("dvc", "remote", "modify", "--local", "storage", "access_key_id", "colleagues")
    clone.run("dvc", "remote", "modify", "--local", "storage", "secret_access_key", STORAGE_KEY)


def pages_of(s3: Any) -> Any:
    return s3.get_paginator("list_objects_v2").paginate(Bucket="team")
