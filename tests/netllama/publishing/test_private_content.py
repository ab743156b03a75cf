"""The last look: keys, tokens and paths of this machine in files that would go out."""

import json
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.publishing.private_content import require_nothing_private
from netllama.publishing.published_files import PublishedFile

SECRET = "value-of-a-secret"


def look(name: str, content: str | bytes, folders: tuple[str, ...] = ("/data/you/project",)) -> None:
    raw = content if isinstance(content, bytes) else content.encode()
    require_nothing_private([PublishedFile(name, raw)], {SECRET}, [Path(folder) for folder in folders])


@pytest.mark.parametrize(
    "name",
    ["README.md", "tokenizer.json", "adapter_model.safetensors", "model-q8_0.gguf", "chat_template.jinja", "NOTICE"],
)
def test_a_secret_is_found_in_every_kind_of_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=f"^{name}: holds a secret"):
        look(name, f"before{SECRET}after")
    (path := tmp_path / "file").write_bytes(b"\xff\x00" * 9 + SECRET.encode())
    with pytest.raises(StageError, match=f"^{name}: holds a secret") as caught:
        require_nothing_private([PublishedFile(name, path)], {SECRET}, [])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        "sk-abcdefghijklmnopqrst",
        "hf_" + "a" * 34,
        "ghp_" + "A1" * 18,
        "AKIAABCDEFGHIJKLMNOP",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_a_key_is_known_by_its_form(key: str) -> None:
    with pytest.raises(StageError, match=r"^README\.md: holds what looks like a key"):
        look("README.md", f"use {key} for it")
    look("tokenizer.json", json.dumps({key: 1}))


@pytest.mark.parametrize(
    "path",
    ["/home/you/models/llama", "~/models/llama", r"C:\Users\you\llama", "/mnt/x/y", "file:///mnt/x", "/data/llama"],
)
def test_a_value_that_is_a_path_is_found_with_its_key(path: str) -> None:
    with pytest.raises(StageError, match=r"adapter_config\.json: holds a path of this machine \(a\.1\.b = "):
        look("adapter_config.json", json.dumps({"a": [0, {"b": path}]}))


@pytest.mark.parametrize(
    "value",
    [
        "true/false questions",
        "org/name",
        "https://www.llama.com/llama3_1/license/",
        "{% if a/b/c %}",
        "0.5 / 1",
        "/",
        "~",
    ],
)
def test_what_is_no_path_passes(value: str) -> None:
    look("config.json", json.dumps({"key": value}))


def test_the_working_folder_is_found_in_prose_and_a_root_is_not_looked_for() -> None:
    with pytest.raises(StageError, match=r"\(/data/you/project\)"):
        look("README.md", "made in /data/you/project/models")
    look("README.md", "the user /root may", folders=("/root", "/"))
    look("tokenizer.json", '{"/data/you/project": 7}')


def test_nothing_is_said_of_ordinary_files() -> None:
    look("README.md", "# Card\n\n`models/adapter`, 10.0.0.0/8, and/or")
    look("training.json", json.dumps({"data": {"data/tokenized/train.parquet": "0" * 64}}))
