"""What the licence of a base model asks of what is made from it."""

from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.publishing.licence_terms import find_licence_files, find_terms, require_name, require_terms

META = "Meta Platforms, Inc. All Rights Reserved."


@pytest.mark.parametrize(
    ("model", "licence"),
    [
        ("Llama-2-13b-chat-hf", "llama2"),
        ("llama-2-7b", "llama2"),
        ("CodeLlama-7b-Instruct-hf", "llama2"),
        ("Llama-2-70B-GPTQ", "llama2"),
        ("Meta-Llama-3-8B-Instruct", "llama3"),
        ("llama3:8b", "llama3"),
        ("Llama-3.1-8B-Instruct", "llama3.1"),
        ("Meta-Llama-3.1-70B", "llama3.1"),
        ("llama3.1:8b", "llama3.1"),
        ("Hermes-3-Llama-3.1-8B", "llama3.1"),
        ("Llama-3.2-1B", "llama3.2"),
        ("Llama-3.3-70B-Instruct", "llama3.3"),
        ("Llama-2-13b_v2", "llama2"),
        ("llama_2_13b_chat", "llama2"),
        ("CodeLlama-7b-hf", "llama2"),
        ("Llama3-8B", "llama3"),
        ("llama_3_8b_instruct", "llama3"),
        ("Meta-Llama-3-120B-Instruct", "llama3"),
        ("Llama-3-Base-8B-SFT", "llama3"),
        ("Llama-3_1-Nemotron-Ultra-253B-v1", "llama3.1"),
        ("Llama_3.1_8B_v2", "llama3.1"),
        ("Llama-3.2-3B-Instruct", "llama3.2"),
        ("Llama-3.2V-11B-cot", "llama3.2"),
        ("Llama-3_3-Nemotron-Super-49B-v1", "llama3.3"),
        ("SmolLM2-135M-Instruct", "apache-2.0"),
        ("smollm2-135m-instruct", "apache-2.0"),
    ],
)
def test_the_licence_follows_the_name_whoever_serves_the_copy(model: str, licence: str) -> None:
    found = find_terms(model)
    assert found
    assert found.id == licence
    assert bool(found.notice) == licence.startswith("llama")


@pytest.mark.parametrize(
    "model",
    [
        "TinyLlama-1.1B-Chat-v1.0",
        "TinyLlama_v1.1",
        "open_llama_3b",
        "open_llama_3b_v2",
        "open_llama_3b_350bt_preview",
        "open_llama_7b_v2",
        "OpenLLaMA-3B",
        "llama-3b",
        "llama_2b_v1",
        "Sheared-LLaMA-2.7B",
        "Sheared-LLaMA-2.7B-ShareGPT",
        "Sheared_LLaMA_2_7B_v1",
        "Sheared-LLaMA-1.3B",
        "llama-30b",
        "Llama-4-Scout-17B-16E-Instruct",
        "Mistral-7B-v0.1",
        "gpt-6-luna",
    ],
)
def test_another_model_has_no_terms_here_and_the_user_says_them(model: str) -> None:
    assert find_terms(model) is None
    with pytest.raises(StageError, match=f"the licence of org/{model} is not known here"):
        require_terms(f"org/{model}", None)
    assert require_terms(f"org/{model}", "mit").id == "mit"


def test_what_a_llama_is_under_can_not_be_said_otherwise() -> None:
    assert require_terms("org/Llama-2-7b", "llama2").id == "llama2"
    with pytest.raises(StageError, match="--licence mit: org/Llama-2-7b is under llama2"):
        require_terms("org/Llama-2-7b", "mit")


def test_a_known_licence_that_is_said_asks_for_what_it_asks_of_known_names() -> None:
    assert require_terms("org/llama_2_7b_chat", "llama2") == find_terms("Llama-2-7b")
    assert require_terms("org/network-expert", "llama3.1") == find_terms("Llama-3.1-8B")


def test_the_notices_are_those_of_the_licences() -> None:
    notices = {name: terms.notice for name in ("Llama-2-7b", "Llama-3.1-8B") if (terms := find_terms(name))}
    assert notices == {
        "Llama-2-7b": f"Llama 2 is licensed under the LLAMA 2 Community License, Copyright (c) {META}",
        "Llama-3.1-8B": f"Llama 3.1 is licensed under the Llama 3.1 Community License, Copyright © {META}",
    }


@pytest.mark.parametrize(
    ("repo", "made_from", "better"),
    [
        ("you/net-llama", ["meta-llama/Llama-3.1-8B-Instruct"], "you/Llama-net-llama"),
        ("you/net", ["HuggingFaceTB/SmolLM2-135M-Instruct", "llama3.1:8b"], "you/Llama-net"),
        ("you/llama-net", ["meta-llama/Meta-Llama-3-8B"], "you/Llama-3-llama-net"),
        ("you/Llama-net", ["meta-llama/Llama-2-7b-hf"], ""),
        ("you/net-llama", ["meta-llama/Llama-2-7b-hf"], ""),
        ("you/Llama-3.1-net", ["meta-llama/Llama-3.1-8B-Instruct"], ""),
        ("you/llama_net", ["meta-llama/Llama-3.1-8B-Instruct"], ""),
        ("you/Llama3-net", ["meta-llama/Meta-Llama-3-8B"], ""),
        ("you/net", ["HuggingFaceTB/SmolLM2-135M-Instruct", "gpt-6-luna"], ""),
    ],
)
def test_a_name_begins_as_the_licence_of_base_and_teacher_asks(repo: str, made_from: list[str], better: str) -> None:
    if better:
        with pytest.raises(StageError, match=f"take {better}$"):
            require_name(repo, made_from)
        require_name(better, made_from)
    else:
        require_name(repo, made_from)


def test_the_licence_text_is_the_one_beside_the_weights_or_the_one_that_is_said(tmp_path: Path) -> None:
    terms = require_terms("org/Llama-2-7b", None)
    with pytest.raises(StageError, match="must go with the model"):
        find_licence_files(terms, tmp_path, [])
    for name in ("LICENSE.txt", "USE_POLICY.md", "README.md"):
        (tmp_path / name).write_text(name)
    assert [path.name for path in find_licence_files(terms, tmp_path, [])] == ["LICENSE.txt", "USE_POLICY.md"]
    assert find_licence_files(terms, tmp_path, [tmp_path / "USE_POLICY.md"]) == [tmp_path / "USE_POLICY.md"]
    with pytest.raises(StageError, match="no such file"):
        find_licence_files(terms, tmp_path, [tmp_path / "mine.txt"])


def test_a_model_that_asks_for_no_text_needs_none(tmp_path: Path) -> None:
    assert find_licence_files(require_terms("HuggingFaceTB/SmolLM2-135M-Instruct", None), tmp_path, []) == []
