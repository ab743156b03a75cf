"""The merged folder behind two servers, asked through the OpenAI client: the text of scoring's greedy answers."""

import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import merge
from netllama.core.files import write_json
from netllama.core.params import read_params
from netllama.models.model_reference import resolve_model
from netllama.rendering.renderer import Renderer, load_renderer
from netllama.scoring.generation import generate_answers
from netllama.teacher.embedded import serve_model
from tests.support.decisive_model import load_decisive_model
from tests.support.trained_adapters import make_adapter, write_test_side

REQUESTS = ("Which AS announces 192.0.2.0/24?", "Explain the hold time.", "x" * 200)
TOKENS = 24
can_serve = all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn"))


@pytest.fixture
def served(tiny_base: Path, set_params: Callable[..., None]) -> Path:
    """A merged model whose answers differ, of a system prompt that its own chat template does not have; in fp32."""
    load_decisive_model(Path("tiny")).save_pretrained("tiny")
    write_json("models/base.json", resolve_model("tiny", "").reference.model_dump())
    set_params(**{"prompt.system_prompt": "You know BGP."})
    write_test_side()
    make_adapter(quantization="nf4")
    merge.main(["--precision", "fp32"])
    return tiny_base / "models" / "merged"


def answer_greedily(folder: Path) -> list[str]:
    """The answers of the tuned model's own prompts, as evaluate would have them."""
    from transformers import AutoModelForCausalLM

    renderer: Renderer = load_renderer("models/tokenizer", read_params().prompt)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    eos = int(renderer.tokenizer.eos_token_id)
    prompts = [renderer.encode_prompt(request) for request in REQUESTS]
    answers = generate_answers(model, prompts, eos, 1, TOKENS)
    texts = [renderer.tokenizer.decode(ids[: ids.index(eos)] if eos in ids else ids, True) for ids in answers]
    assert len(set(texts)) == len(texts)
    return texts


def ask(url: str, model: str) -> list[str]:
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key="none", max_retries=0)
    answers = []
    for request in REQUESTS:
        messages: Any = [{"role": "user", "content": request}]
        answer = client.chat.completions.create(model=model, messages=messages, max_tokens=TOKENS, temperature=0)
        answers.append(str(answer.choices[0].message.content))
    return answers


@contextlib.contextmanager
def run_transformers_serve(folder: Path, log: Path) -> Iterator[str]:
    """`transformers serve` on a free port, once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = "from transformers.cli.transformers import main; main()"
    words = [sys.executable, "-c", call, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    with open(log, "wb") as output:
        process = subprocess.Popen([*words, "--device", "cpu"], stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(1200):
            assert process.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_the_server_of_this_project_gives_the_greedy_answers(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.clones import ROOT

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with serve_model(served, tmp_path / "server.log") as url:
        assert ask(url, "merged") == answer_greedily(served)


@pytest.mark.slow
@pytest.mark.skipif(not can_serve, reason="transformers serve needs fastapi and uvicorn (pip install them)")
def test_transformers_serve_gives_the_greedy_answers(served: Path, tmp_path: Path) -> None:
    with run_transformers_serve(served, tmp_path / "server.log") as url:
        assert ask(url, str(served)) == answer_greedily(served)
