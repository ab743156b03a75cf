"""Secrets of the environment and of .env: found by name, and listed so that they can be looked for."""

from pathlib import Path

import pytest

from netllama.core.credentials import find_secret, list_secrets


@pytest.fixture
def dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path / ".env"


def test_the_environment_comes_before_dotenv_and_an_empty_value_is_none(
    dotenv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv.write_text("FIRST_TOKEN=stored\nsecond_token=other\n")
    assert find_secret("FIRST_TOKEN", "second_token") == "stored"
    monkeypatch.setenv("second_token", "set")
    assert find_secret("FIRST_TOKEN", "second_token") == "set"
    monkeypatch.setenv("FIRST_TOKEN", "")
    assert find_secret("FIRST_TOKEN") == "stored"
    assert find_secret("THIRD_TOKEN") is None


def test_secrets_are_listed_by_name_from_both_places(dotenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv.write_text("OPENAI_API_KEY=stored-key\nhf_token=stored-token\nOPENAI_BASE_URL=http://localhost:8000\n")
    monkeypatch.setenv("DATABASE_PASSWORD", "in-the-environment")
    monkeypatch.setenv("SHORT_TOKEN", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-or-true")
    found = list_secrets()
    assert {"stored-key", "stored-token", "in-the-environment"} <= found
    assert not {"1", "http://localhost:8000", "false-or-true"} & found
