"""The embedded teacher: it answers, it says why it can't, and it never outlives the stage."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from clones import ROOT

from stages.core.errors import StageError
from stages.teacher.client import Teacher
from stages.teacher.embedded import serve, serving_folder
from stages.teacher.store import Request, ResponseStore

MEMORY = 3e9
"""Bytes that the server of a tiny model may take: its cache is bounded, whatever the machine has."""

PARENT = """
import sys, time
from pathlib import Path
from stages.teacher.embedded import serve
with serve(Path(sys.argv[1]), Path("server.log")) as url:
    print("serving", url, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _importable_by_the_server(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def servers() -> list[psutil.Process]:
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and "stages.teacher.server_process" in process.cmdline()
    ]


def test_the_embedded_teacher_answers_and_is_gone_afterwards(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.weights.bundled.ensure", lambda cache: tiny_model_folder)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # a proxy that the loopback must not go through
    requests = [
        Request(
            teacher="embedded",
            model="smollm2-135m-instruct",
            api="completions",
            prompt="1. Instruction:",
            temperature=1.0,
            top_p=1.0,
            max_tokens=12,
            draw=f"family/0/{slot}",
        )
        for slot in range(3)
    ]

    async def ask() -> None:
        async with Teacher("", ResponseStore(Path("responses.jsonl")), 3) as teacher:
            responses = await teacher.ask_all(requests)
            [server] = servers()
            assert server.memory_info().rss < MEMORY
            assert [response.key for response in responses] == [request.key for request in requests]
            for response in responses:
                assert 0 < response.completion_tokens <= 12
                assert (response.finish_reason == "length") == (response.completion_tokens == 12)
            assert len({response.text for response in responses}) > 1, "it samples: equal prompts are different draws"
            assert await teacher.ask_all(requests) == responses

    asyncio.run(ask())
    assert servers() == []


def test_a_broken_model_is_one_line_with_the_servers_own_words_and_leaves_no_process(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(StageError, match="ended with exit code 1") as error, serve(folder, tmp_path / "server.log"):
        pass
    assert "config.json" in str(error.value)
    assert "not a valid JSON file" in str(error.value)
    assert str(tmp_path / "server.log") in str(error.value)
    assert "\n" not in str(error.value)
    assert servers() == []


def test_a_server_that_is_not_healthy_in_time_is_one_line_and_leaves_no_process(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with pytest.raises(StageError, match="not healthy after 0 s"), serve(tiny_model_folder, log, timeout=0.1):
        pass
    assert servers() == []


def test_the_server_vanishes_when_its_parent_is_killed(tiny_model_folder: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tiny_model_folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as parent:
        assert parent.stdout
        assert any(line.startswith("serving ") for line in parent.stdout), "the server became healthy"
        [server] = servers()
        parent.kill()
        parent.wait()
        server.wait(timeout=20)
    assert not server.is_running()


def test_the_serving_folder_samples_and_links_to_the_model(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = serving_folder(tiny_model_folder, tmp_path / "served")
    assert '"do_sample": true' in (folder / "generation_config.json").read_text()
    assert (folder / "model.safetensors").resolve() == (tiny_model_folder / "model.safetensors").resolve()
    assert "do_sample" not in (tiny_model_folder / "generation_config.json").read_text()
    assert {path.name for path in folder.iterdir()} == {path.name for path in tiny_model_folder.iterdir()}


def test_the_serving_folder_follows_a_model_that_has_moved(tiny_model_folder: Path, tmp_path: Path) -> None:
    old, new, served = tmp_path / "old", tmp_path / "new", tmp_path / "served"
    shutil.copytree(tiny_model_folder, old)
    serving_folder(old, served)
    old.rename(new)
    serving_folder(new, served)
    assert (served / "model.safetensors").read_bytes() == (new / "model.safetensors").read_bytes()
