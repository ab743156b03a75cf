"""Greedy decoding on a CPU against transformers' `generate`, one prompt at a time, in fp32."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netllama.cpu_layers.attention import use_cpu_attention
from netllama.cpu_layers.decoding import StepDecoder, can_decode
from netllama.cpu_layers.decoding_cache import CHUNK, DecodingCache
from netllama.cpu_layers.fast_blocks import use_fast_blocks
from netllama.cpu_layers.fast_lora_layers import use_fast_layers
from netllama.scoring import greedy_decoding
from netllama.scoring.generation import generate_answers
from netllama.scoring.greedy_decoding import share_columns
from netllama.scoring.prompt_reading import PromptReader
from tests.support.adapters import adapted
from tests.support.decisive_model import load_decisive_model

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Of each step, how many tokens it was given of each row."""
    noted: list[list[int]] = []
    step = greedy_decoding.StepDecoder.step

    def note(self: Any, tokens: list[list[int]], cache: DecodingCache, *steering: Any) -> list[list[int]]:
        noted.append([len(own) for own in tokens])
        return step(self, tokens, cache, *steering)

    monkeypatch.setattr(greedy_decoding.StepDecoder, "step", note)
    return noted


def test_waiting_prompts_take_free_slots_before_the_batch_has_ended(
    models: dict[str, Any], steps: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four rows end early; there are four rows again at once, and nobody waits for the other two."""
    monkeypatch.setattr(greedy_decoding, "MOST_DRAFTS", 0)
    model, number = models["plain"], 12
    free = {first: generate(model, [first, 7], -1, number) for first in range(2, 60)}
    eos, early = next(
        (token, early)
        for token in range(2, 600)
        if len(early := [first for first, answer in free.items() if token in answer[: number - 2]]) >= 4
    )
    late = [first for first, answer in free.items() if eos not in answer]
    firsts = [*early[:2], *late[:2], *early[2:4]]
    found = generate_answers(model, [[first, 7] for first in firsts], eos, 4, number)
    assert found == [generate(model, [first, 7], eos, number) for first in firsts]
    first, second = sorted(len(answer) for answer in found[:2])
    assert [len(rows) for rows in steps[: first + 1]] == [4] * (first + 1)
    assert len(steps) <= second + number, "rows that go on would have held up those that wait"


@pytest.mark.parametrize("kind", KINDS)
def test_drafts_save_steps_and_change_no_token(
    models: dict[str, Any], kind: str, steps: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two texts have run into a loop by then, so that most drafts hold; others hold a wrong copy."""
    model, number = models[kind], 12
    starts = [[5, 6, 7], [12, 13]]
    written = [generate(model, start, -1, 80) for start in starts]
    prompts = [[*start, *answer] for start, answer in zip(starts, written, strict=True)]
    prompts += [[*answer[:3], 599, *answer[:3]] for answer in written]
    expected = [generate(model, prompt, -1, number) for prompt in prompts]
    for batch_size in (1, 3, 9):
        steps.clear()
        assert generate_answers(model, prompts, -1, batch_size, number) == expected
        assert max(max(rows) for rows in steps) > 1
        assert sum(map(len, steps)) < number * len(prompts)
    monkeypatch.setattr(greedy_decoding, "MOST_DRAFTS", 0)
    steps.clear()
    assert generate_answers(model, prompts, -1, 3, number) == expected
    assert sum(map(len, steps)) == number * len(prompts), "a step without drafts is a token of each row"


def test_no_answer_is_longer_than_its_limit_and_none_goes_on_behind_its_end(models: dict[str, Any]) -> None:
    """A loop is drafted beyond its limit and its end."""
    model = models["plain"]
    loops = [[*start, *generate(model, start, -1, 60)] for start in ([5, 6], [20, 21, 22])]
    for number in range(1, 7):
        assert [len(own) for own in generate_answers(model, loops, -1, 2, number)] == [number, number]
    eos = generate(model, loops[0], -1, 9)[4]
    expected = [generate(model, loop, eos, 9) for loop in loops]
    assert generate_answers(model, loops, eos, 2, 9) == expected


@given(tokens=st.lists(st.lists(st.integers(2, 599), min_size=1, max_size=5), min_size=1, max_size=4))
@QUICK
def test_a_step_gives_the_logits_of_all_its_tokens(models: dict[str, Any], tokens: list[list[int]]) -> None:
    model = models["fast lora"]
    with torch.inference_mode():
        decoder = StepDecoder(model)
        cache = decoder.make_cache(len(tokens))
        prompts = [[3, 4, row + 5, 9] for row in range(len(tokens))]
        for _, layers in PromptReader(model, prompts).read(range(len(prompts))):
            cache.append(layers, [3] * len(layers[0][0]))
        found = decoder.compute_logits(tokens, cache).t()
        texts = [[3, 4, row + 5, *own] for row, own in enumerate(tokens)]
        expected = torch.cat([model(input_ids=torch.tensor([text])).logits[0, 3:] for text in texts])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_row_that_ends_leaves_the_others_as_they_are() -> None:
    cache = DecodingCache(slots=3, layers=2, heads=2, size=4, dtype=torch.float32)
    keys, values = torch.randn(2, 3, 2, 5, 4), torch.randn(2, 3, 2, 5, 4)
    cache.append(list(zip(keys, values, strict=True)), [5, 3, 4])
    cache.remove(0)
    assert (cache.count, cache.lengths[:2].tolist()) == (2, [4, 3])
    for layer in range(2):
        for slot, row in ((0, 2), (1, 1)):
            length = int(cache.lengths[slot])
            own = cache.keys[layer][slot, :, :, :length], cache.values[layer][slot, :, :length]
            assert torch.equal(own[0].transpose(1, 2), keys[layer, row, :, :length])
            assert torch.equal(own[1], values[layer, row, :, :length])
    cache.append([(keys[layer][:1], values[layer][:1]) for layer in range(2)], [2])
    assert (cache.count, cache.lengths.tolist(), cache.places) == (3, [4, 3, 2], CHUNK)
    assert cache.list_unseen(2)[:, :, :6].tolist() == [
        [[False] * 5 + [True], [False] * 6],
        [[False] * 4 + [True] * 2, [False] * 5 + [True]],
        [[False] * 3 + [True] * 3, [False] * 4 + [True] * 2],
    ]


def test_what_was_written_and_not_counted_is_written_over() -> None:
    cache = DecodingCache(slots=2, layers=1, heads=2, size=4, dtype=torch.float32)
    keys, values = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 3, 4)
    cache.append([(keys, values)], [3, CHUNK - 61])
    cache.make_room(3)
    rows, places = torch.tensor([0, 0, 0, 1]), torch.tensor([3, 4, 5, 3])
    cache.write(0, rows, places, first := torch.randn(4, 2, 4), torch.randn(4, 2, 4))
    cache.advance([2, 1])
    assert cache.lengths.tolist() == [5, 4]
    cache.write(0, torch.tensor([0, 1]), torch.tensor([5, 4]), second := torch.randn(2, 2, 4), torch.randn(2, 2, 4))
    assert torch.equal(cache.keys[0][0, :, :, 3:6].permute(2, 0, 1), torch.stack([first[0], first[1], second[0]]))
    assert torch.equal(cache.keys[0][1, :, :, 3:5].permute(2, 0, 1), torch.stack([first[3], second[1]]))
    cache.make_room(CHUNK)
    assert cache.places == 2 * CHUNK
    assert torch.equal(cache.keys[0][0, :, :, 5], second[0])
    cache.remove(0)
    cache.append([(keys[:1], values[:1])], [1])
    assert cache.places == CHUNK, "long rows that have ended hold no memory"


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


def test_drafts_fill_the_columns_of_products_and_no_more() -> None:
    """24 rows have 32 columns: of 24 drafts, 8 first tokens go through, those of the rows with most left to write."""
    drafts = [[1, 2, 3]] * 24
    shared = share_columns(drafts, list(range(24)))
    assert [len(draft) for draft in shared] == [0] * 16 + [1] * 8
    assert share_columns([[1, 2, 3], [], [4]], [5, 5, 5]) == [[1, 2, 3], [], [4]]
    # Where few rows have drafts, there is room for their second tokens.
    assert share_columns([[1, 2, 3]] * 3 + [[]] * 21, [9] * 24) == [[1, 2, 3], [1, 2, 3], [1, 2]] + [[]] * 21


def test_a_row_alone_has_room_for_its_draft() -> None:
    assert share_columns([[1, 2, 3]], [9]) == [[1, 2, 3]]
    assert share_columns([[]], [9]) == [[]]
