"""What the embedded teacher writes: sampled as its own seed says."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TopPLogitsWarper

from netllama.teacher.sampling import Sampler
from netllama.teacher.server_process import Completion, TeacherModel

PROMPTS = [
    "Name the port of BGP and the protocol below it.",
    "Name the port of BGP.",
    "Name the port of BGP and say why a router that restarts opens it again at once, with which timer.",
]
SETTINGS = {"temperature": 0.9, "top_p": 0.9, "frequency_penalty": 0.4, "presence_penalty": 0.3}


@pytest.fixture
def model(tiny_model_folder: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> TeacherModel:
    """The tiny model in fp32: rounding must not decide which token is drawn."""
    monkeypatch.setattr("netllama.models.loading.choose_precision", lambda precision: torch.float32)
    return TeacherModel(str(tiny_model_folder))


def answers(model: TeacherModel, prompts: list[str], seeds: list[int], **changes: Any) -> list[Completion]:
    body = {"max_tokens": 12} | SETTINGS | changes
    jobs = [
        model.make_job("/v1/completions", body | {"prompt": prompt, "seed": seed})
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    return [model.answer(job) for job in jobs]


def by_hand(model: TeacherModel, prompt: str, seed: int, max_tokens: int = 12) -> str:
    """Without cache or Sampler: the whole text through the model at each step, tokens drawn one by one."""
    ids, made, draw = model.tokenizer(prompt).input_ids, [], random.Random(seed)
    while len(made) < max_tokens:
        with torch.no_grad():
            logits = model.model(torch.tensor([ids + made])).logits[0, -1].double()
        for token, count in Counter(made).items():
            logits[token] -= SETTINGS["frequency_penalty"] * count + SETTINGS["presence_penalty"]
        chances = (logits / SETTINGS["temperature"]).softmax(0).tolist()
        likely = sorted(range(len(chances)), key=lambda token: -chances[token])
        kept: list[int] = []
        for token in likely:
            if sum(chances[other] for other in kept) >= SETTINGS["top_p"]:
                break
            kept.append(token)
        point = draw.random() * sum(chances[token] for token in kept)
        for token in kept:
            point -= chances[token]
            if point < 0:
                break
        if token in model.ends:
            break
        made.append(token)
    return str(model.tokenizer.decode(made, skip_special_tokens=True))


def test_an_answer_is_what_a_plain_loop_without_cache_writes(model: TeacherModel) -> None:
    seeds = [5, 6, 7]
    together = [written.text for written in answers(model, PROMPTS, seeds)]
    assert together == [by_hand(model, prompt, seed) for prompt, seed in zip(PROMPTS, seeds, strict=True)]
    assert len(set(together)) == 3


def test_equal_prompts_with_other_seeds_are_other_draws(model: TeacherModel) -> None:
    texts = [written.text for written in answers(model, PROMPTS[:1] * 8, list(range(8)))]
    assert len(set(texts)) == 8
    assert len({written.text for written in answers(model, PROMPTS[:1] * 3, [4, 4, 4])}) == 1


def test_temperature_0_takes_the_likeliest_whatever_the_seed(model: TeacherModel) -> None:
    texts = {written.text for written in answers(model, PROMPTS[:1] * 3, [1, 2, 3], temperature=0.0)}
    assert len(texts) == 1


def test_an_answer_ends_before_the_end_token_and_says_stop(model: TeacherModel) -> None:
    end = next(iter(model.ends))
    with torch.no_grad():
        model.model.lm_head.weight.zero_()
        model.model.lm_head.weight[end] += 1e-3  # all tokens equally likely but for the end, hardly
    texts = answers(model, PROMPTS[:1] * 64, list(range(64)), max_tokens=60, frequency_penalty=0, presence_penalty=0)
    ended = [written for written in texts if written.finish_reason == "stop"]
    assert ended, "one in some 600 tokens ends an answer"
    assert all(written.tokens < 60 for written in ended)
    assert {written.tokens for written in texts if written.finish_reason == "length"} == {60}


@settings(max_examples=60)
@given(st.lists(st.integers(-32, 32), min_size=3, max_size=30, unique=True), st.floats(0.05, 1), st.floats(0.2, 2))
def test_the_tokens_that_can_be_drawn_are_those_that_transformers_keeps(
    eighths: list[int], top_p: float, temperature: float
) -> None:
    scores = torch.tensor([eighths]) / 8
    kept = TopPLogitsWarper(top_p)(torch.zeros(1, 0, dtype=torch.long), scores / temperature) > -torch.inf
    drawn = set()
    for seed in range(40):
        sampler = Sampler([seed], 0, temperature, top_p, 0.0, 0.0)
        out = sampler(torch.zeros(1, 0, dtype=torch.long), scores)
        assert (out > -torch.inf).sum() == 1
        drawn.add(int(out.argmax()))
    mass = (scores / temperature).softmax(-1).sort(descending=True).values.cumsum(-1)
    on_the_edge = bool(((mass - top_p).abs() < 1e-5).any())  # rounding decides
    assert on_the_edge or drawn <= set(kept[0].nonzero().flatten().tolist())


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    chances = torch.tensor([0.5, 0.25, 0.15, 0.1])
    sampler = Sampler(list(range(20_000)), 0, 1.0, 1.0, 0.0, 0.0)
    out = sampler(torch.zeros(20_000, 0, dtype=torch.long), chances.log().repeat(20_000, 1))
    shares = torch.bincount(out.argmax(-1), minlength=4) / 20_000
    assert torch.allclose(shares, chances, atol=0.02)  # five standard deviations of the likeliest
