"""Answers are written once by each model, and found again only by what they depend on."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netllama.core.files import read_json, write_json
from netllama.scoring import kept_answers
from netllama.scoring.first_bias import FirstBias
from netllama.scoring.kept_answers import BATCHES, DAYS_KEPT, NOTHING_KEPT, KeptAnswers, LimitedPrompt, identify_model
from tests.support.training_runs import loading_params

EOS = 2
PROMPTS = [[5, 6, 7], [8], [9, 10], [11, 12, 13, 14], [15]]
Call = tuple[list[list[int]], int, list[int]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """The calls that reached the model, which answers a prompt with its tokens turned round."""
    calls: list[Call] = []

    def generate(
        model: object, prompts: list[list[int]], eos: int, batch_size: int, limits: list[int], biases: list[Any]
    ) -> list[list[int]]:
        calls.append((list(prompts), batch_size, limits))
        return [[*reversed(prompt), EOS][:limit] for prompt, limit in zip(prompts, limits, strict=True)]

    monkeypatch.setattr(kept_answers, "generate_answers", generate)
    return calls


def write(kept: KeptAnswers, prompts: list[list[int]] = PROMPTS, batch_size: int = 8, tokens: int = 9) -> Any:
    return kept.write(object(), [LimitedPrompt(ids, tokens) for ids in prompts], EOS, batch_size)  # type: ignore[arg-type]


def test_a_model_is_asked_once_and_the_answers_stay_in_the_order_of_the_prompts(
    tmp_path: Path, asked: list[Call]
) -> None:
    first = write(KeptAnswers(tmp_path, "m"))
    assert first == [[*reversed(prompt), EOS] for prompt in PROMPTS]
    assert write(KeptAnswers(tmp_path, "m")) == first
    assert len(asked) == 1


def test_another_model_other_prompts_sizes_limits_and_biases_are_asked_anew(tmp_path: Path, asked: list[Call]) -> None:
    write(KeptAnswers(tmp_path, "m"))
    write(KeptAnswers(tmp_path, "another"))
    write(KeptAnswers(tmp_path, "m"), prompts=[*PROMPTS[:-1], [16]])
    write(KeptAnswers(tmp_path, "m"), batch_size=4)
    assert write(KeptAnswers(tmp_path, "m"), tokens=1)[1] == [8]
    biased = [LimitedPrompt(ids, 9, FirstBias(7, 0.5)) for ids in PROMPTS]
    for prompts in (biased, biased, [prompt._replace(steering=FirstBias(7, 0.6)) for prompt in biased]):
        KeptAnswers(tmp_path, "m").write(object(), prompts, EOS, 8)  # type: ignore[arg-type]
    assert len(asked) == 7, "with another bias the answer may be another"


def test_long_answers_are_asked_for_first_and_each_has_its_own_limit(tmp_path: Path, asked: list[Call]) -> None:
    limits = [1, 9, 3, 9, 1]
    prompts = [LimitedPrompt(ids, limit) for ids, limit in zip(PROMPTS, limits, strict=True)]
    found = KeptAnswers(tmp_path, "m").write(object(), prompts, EOS, 1)  # type: ignore[arg-type]
    assert found == [[*reversed(ids), EOS][:limit] for ids, limit, _ in prompts]
    assert [call[2] for call in asked] == [[9, 9, 3, 1], [1]]
    assert [ids for call in asked for ids in call[0]] == [PROMPTS[place] for place in (3, 1, 2, 0, 4)]
    prompts[2] = LimitedPrompt(PROMPTS[2], 2)
    KeptAnswers(tmp_path, "m").write(object(), prompts, EOS, 1)  # type: ignore[arg-type]
    assert [call[2] for call in asked[2:]] == [[9, 9, 2, 1]], "another limit is another question"


def test_what_was_written_before_an_interruption_is_not_written_again(
    tmp_path: Path, asked: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(NOTHING_KEPT, batch_size=1)
    generate, done = kept_answers.generate_answers, list(asked)
    asked.clear()

    def fail_second(*arguments: Any) -> Any:
        if asked:
            raise KeyboardInterrupt
        return generate(*arguments)

    monkeypatch.setattr(kept_answers, "generate_answers", fail_second)
    with pytest.raises(KeyboardInterrupt):
        write(KeptAnswers(tmp_path, "m"), batch_size=1)
    monkeypatch.setattr(kept_answers, "generate_answers", generate)
    assert write(KeptAnswers(tmp_path, "m"), batch_size=1) == whole
    assert asked == done, "the same batches as in one go, each of them once"
    assert max(len(prompts) for prompts, _, _ in asked) == BATCHES


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"answers": [[1]], "sha256": "0"}'])
def test_damaged_answers_are_written_again(tmp_path: Path, asked: list[Call], damage: str) -> None:
    first = write(KeptAnswers(tmp_path, "m"))
    (path,) = tmp_path.glob("*.json")
    sound = path.read_bytes()
    path.write_text(damage)
    assert write(KeptAnswers(tmp_path, "m")) == first
    assert path.read_bytes() == sound


def test_an_answer_with_one_other_token_is_noticed(tmp_path: Path, asked: list[Call]) -> None:
    first = write(KeptAnswers(tmp_path, "m"))
    (path,) = tmp_path.glob("*.json")
    kept = read_json(path)
    kept["answers"][0][0] += 1
    write_json(path, kept)
    assert write(KeptAnswers(tmp_path, "m")) == first


def test_answers_that_nobody_has_used_for_long_are_removed(tmp_path: Path, asked: list[Call]) -> None:
    write(KeptAnswers(tmp_path, "old"))
    (old,) = tmp_path.glob("*.json")
    write(KeptAnswers(tmp_path, "new"))
    long_ago = time.time() - (DAYS_KEPT + 1) * 86400
    os.utime(old, (long_ago, long_ago))
    KeptAnswers(tmp_path, "new").remove_old()
    assert not old.exists()
    assert len(list(tmp_path.glob("*.json"))) == 1
    NOTHING_KEPT.remove_old()


def change_adapter(folder: Path) -> Any:
    (folder / "adapter").write_text("other weights")


def change_base(folder: Path) -> Any:
    (folder / "base").write_text("another model")


def change_precision(folder: Path) -> Any:
    return loading_params("bf16", "none", True)


def change_quantization(folder: Path) -> Any:
    return loading_params("fp32", "nf4", True)


@pytest.mark.parametrize("change", [change_adapter, change_base, change_precision, change_quantization])
def test_a_model_is_another_one_with_other_weights_or_loaded_in_another_way(
    tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    files = [tmp_path / "base", tmp_path / "adapter"]
    for path in files:
        path.write_text(path.name)
    loading = loading_params("fp32", "none", True)
    before = identify_model(files, loading)
    assert identify_model(files, loading) == before
    assert identify_model(files[:1], loading) != before
    assert identify_model(files, change(tmp_path) or loading) != before


def test_a_model_is_another_one_for_code_that_decodes_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = loading_params("fp32", "none", True)
    before = identify_model([], loading)
    monkeypatch.setattr(kept_answers, "CODE", kept_answers.CODE[:-1])
    assert identify_model([], loading) != before
    assert all((kept_answers.ROOT / entry).exists() for entry in kept_answers.CODE)
