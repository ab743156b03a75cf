"""dvc.yaml's artifacts: what DVC's registry finds by name is the adapter that the stage train makes."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from tests.support.clones import make_clone


def ask_git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a version registered as docs/publishing.md says."""
    folder = make_clone(tmp_path_factory.mktemp("registry") / "clone")
    ask_git(folder, "tag", "-a", "network-analyst@v1.0.0", "-m", "first")
    return folder


def test_each_artifact_is_an_out_of_the_dag_and_has_a_type(registry: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Repo(str(registry)) as repo:
        artifacts = repo.artifacts.read()["dvc.yaml"]
        makers = {str(out.def_path): stage.name for stage in repo.index.stages for out in stage.outs}
    assert {name: (makers.get(found.path), found.type) for name, found in artifacts.items()} == {
        "network-analyst": ("train", "model")
    }
    assert all(found.desc for found in artifacts.values())
    assert not [record for record in caplog.records if "artifact name" in record.message]


def test_a_registered_version_is_found_by_its_name(registry: Path) -> None:
    with Repo(str(registry)) as repo:
        revisions = {repo.artifacts.get_rev("network-analyst", version) for version in (None, "v1.0.0")}
        assert Path(str(repo.artifacts.get_path("network-analyst"))).as_posix() == "models/adapter"
    assert {ask_git(registry, "rev-parse", f"{revision}^{{commit}}") for revision in revisions} == {
        ask_git(registry, "rev-parse", "HEAD")
    }
