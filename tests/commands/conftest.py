"""A finished run and a Hub on loopback, for the commands that publish and fetch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.finished_runs import finish_run
from tests.support.hub_server import WRITE, HubServer


@pytest.fixture
def run_dir(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workdir with a finished run; caches of huggingface_hub in it."""
    monkeypatch.setenv("HF_HOME", str(tiny_base / "huggingface"))
    for name in ("HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tiny_base / "huggingface" / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tiny_base / "huggingface" / "token"))
    # The client waits 1, 2, 4, 8 and 8 seconds between its tries.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    finish_run()
    return tiny_base


@pytest.fixture
def hub(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        server.reach_from_here(monkeypatch)
        monkeypatch.setenv("HF_TOKEN", WRITE)
        yield server
