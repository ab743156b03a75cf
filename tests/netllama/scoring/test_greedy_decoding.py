"""Greedy decoding on a CPU against transformers' `generate`, one prompt at a time, in fp32."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netllama.cpu_layers.attention import use_cpu_attention
from netllama.cpu_layers.decoding import can_decode
from netllama.cpu_layers.decoding_cache import CHUNK, DecodingCache
from netllama.cpu_layers.fast_blocks import use_fast_blocks
from netllama.cpu_layers.fast_lora_layers import use_fast_layers
from netllama.scoring import greedy_decoding
from netllama.scoring.generation import generate_answers
from tests.support.adapters import adapted
from tests.support.decisive_model import load_decisive_model

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PROMPTS = st.lists(st.lists(st.integers(2, 599), min_size=1, max_size=12), min_size=1, max_size=9)
KINDS = ["plain", "fast", "lora", "fast lora", "lora on some layers"]


@pytest.fixture(scope="module")
def models(tiny_model_folder: Path) -> dict[str, Any]:
    """The tiny model as the library has it, with the layers that it has on a CPU, and with adapters on both."""
    made = {"plain": load_decisive_model(tiny_model_folder), "fast": load_decisive_model(tiny_model_folder)}
    for kind, options in (
        ("lora", {"lora_alpha": 7}),
        ("fast lora", {"use_rslora": True}),
        ("lora on some layers", {"target_modules": ["k_proj", "up_proj", "down_proj"], "rank_pattern": {"k_proj": 2}}),
    ):
        made[kind] = adapted(tiny_model_folder, **options)
        with torch.no_grad():
            made[kind].get_output_embeddings().weight.mul_(20)
    for kind in ("fast", "fast lora"):
        use_fast_blocks(made[kind])
        use_cpu_attention(made[kind].get_base_model() if "lora" in kind else made[kind])
        use_fast_layers(made[kind])
    return {kind: model.eval().requires_grad_(False) for kind, model in made.items()}


def generate(model: Any, prompt: list[int], eos: int, number: int) -> list[int]:
    """What the library writes, to its end-of-sequence token."""
    ids = torch.tensor([prompt])
    options = {"do_sample": False, "max_new_tokens": number, "eos_token_id": eos, "pad_token_id": 0}
    found = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
    written: list[int] = found[0, len(prompt) :].tolist()
    return written


@pytest.mark.parametrize("kind", KINDS)
@given(prompts=PROMPTS, batch_size=st.integers(1, 5), number=st.integers(1, 9), ends=st.data())
@QUICK
def test_the_text_is_that_of_transformers(
    models: dict[str, Any], kind: str, prompts: list[list[int]], batch_size: int, number: int, ends: st.DataObject
) -> None:
    """`eos` is a token that some of the answers hold, so that rows end at different steps and others take their slots.

    It is passed, not the model's own: a model's generation config may name others.
    """
    model = models[kind]
    free = [generate(model, prompt, -1, number) for prompt in prompts]
    eos = ends.draw(st.sampled_from([-1, *sorted({token for answer in free for token in answer})]))
    expected = [answer[: answer.index(eos) + 1] if eos in answer else answer for answer in free]
    assert [generate(model, prompt, eos, number) for prompt in prompts] == expected
    assert can_decode(model)
    assert generate_answers(model, prompts, eos, batch_size, number) == expected


def test_long_answers_grow_the_cache_several_times(models: dict[str, Any]) -> None:
    prompts, number = [[5, 6, 7], [8] * 50, [9] * (CHUNK - 1)], 2 * CHUNK + 3
    for kind in ("fast", "fast lora"):
        expected = [generate(models[kind], prompt, -1, number) for prompt in prompts]
        assert generate_answers(models[kind], prompts, -1, 2, number) == expected


def test_waiting_prompts_take_free_slots_before_the_batch_has_ended(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four rows end early; from then on there are four rows again, and nobody waits for the other two."""
    model, number = models["plain"], 12
    free = {first: generate(model, [first, 7], -1, number) for first in range(2, 60)}
    eos, early = next(
        (token, early)
        for token in range(2, 600)
        if len(early := [first for first, answer in free.items() if token in answer[: number - 2]]) >= 4
    )
    late = [first for first, answer in free.items() if eos not in answer]
    firsts = [*early[:2], *late[:2], *early[2:4]]
    sizes: list[int] = []
    step = greedy_decoding.StepDecoder.step

    def note(self: Any, tokens: list[int], cache: DecodingCache) -> list[int]:
        sizes.append(len(tokens))
        return step(self, tokens, cache)

    monkeypatch.setattr(greedy_decoding.StepDecoder, "step", note)
    found = generate_answers(model, [[first, 7] for first in firsts], eos, 4, number)
    assert found == [generate(model, [first, 7], eos, number) for first in firsts]
    ended = max(len(answer) for answer in found[:2])
    assert sizes[ended - 1] in (3, 4)
    assert sizes[ended] == 4
    assert len(sizes) <= ended + number, "rows that go on would have held up those that wait"


def test_a_row_that_ends_leaves_the_others_as_they_are() -> None:
    cache = DecodingCache(slots=3, layers=2, heads=2, size=4, dtype=torch.float32)
    keys, values = torch.randn(2, 3, 2, 5, 4), torch.randn(2, 3, 2, 5, 4)
    cache.append(list(zip(keys, values, strict=True)), [5, 3, 4])
    cache.remove(0)
    assert (cache.count, cache.lengths[:2].tolist()) == (2, [4, 3])
    for layer in range(2):
        for slot, row in ((0, 2), (1, 1)):
            begin, length = cache.width - int(cache.lengths[slot]), int(cache.lengths[slot])
            own = cache.keys[layer][slot, :, :, begin : cache.width], cache.values[layer][slot, :, begin : cache.width]
            assert torch.equal(own[0].transpose(1, 2), keys[layer, row, :, :length])
            assert torch.equal(own[1], values[layer, row, :, :length])
    cache.append([(keys[layer][:1], values[layer][:1]) for layer in range(2)], [2])
    assert (cache.count, cache.lengths.tolist(), cache.width, cache.places) == (3, [4, 3, 2], 4, CHUNK)
    assert cache.list_unseen()[:, :6].tolist() == [
        [False, False, False, False, False, True],
        [True, False, False, False, False, True],
        [True, True, False, False, False, True],
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
    ],
)
def test_what_is_no_llama_of_plain_layers_is_left_to_the_library(
    tiny_model_folder: Path, change: dict[str, Any]
) -> None:
    model = adapted(tiny_model_folder, **change).eval().requires_grad_(False)
    assert not can_decode(model)
    prompts = [[5, 6, 7], [8, 9]]
    assert generate_answers(model, prompts, -1, 2, 4) == [generate(model, prompt, -1, 4) for prompt in prompts]


def test_layers_with_a_bias_and_another_gate_are_left_to_the_library(models: dict[str, Any]) -> None:
    from transformers import LlamaForCausalLM

    for change in ({"attention_bias": True}, {"mlp_bias": True}, {"hidden_act": "gelu"}):
        config = copy.deepcopy(models["plain"].config)
        config.update(change)
        assert not can_decode(LlamaForCausalLM(config).requires_grad_(False))


def test_a_merged_or_disabled_adapter_is_left_to_the_library(tiny_model_folder: Path) -> None:
    model = adapted(tiny_model_folder).eval().requires_grad_(False)
    assert can_decode(model)
    with model.disable_adapter():
        assert not can_decode(model)
    assert can_decode(model)
    model.merge_adapter()
    assert not can_decode(model)
