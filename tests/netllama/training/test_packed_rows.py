"""Rows laid end to end train what padded rows train: loss and gradients, against padding and against each row alone."""

import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.core.length_batches import collate_rows
from netllama.core.tokenized_rows import TokenizedRow
from netllama.models.loading import load_base
from netllama.training.answer_loss import AnswerLoss
from netllama.training.packed_attention import (
    attend_packed,
    can_pack,
    describe_attention,
    explain_padding,
    find_hindrance,
    has_kernel,
    use_packed_attention,
)
from netllama.training.packed_rows import cut_by_tokens, pack_rows
from netllama.training.step_batches import StepBatches
from tests.support.training_runs import loading_params, make_run, randomize

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=40)
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6)


def packed_run(folder: Path, rows: list[TokenizedRow], tokens: int, **changes: Any) -> Any:
    """A run of the CPU, made to lay its rows end to end as one on a GPU does."""
    run = make_run(folder, rows, **changes)
    run.batches.packed_tokens = run.inner.packed_tokens = tokens
    use_packed_attention(run.inner.model.get_base_model())
    return run


def plain_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """By the formula: every query against all keys, with everything hidden that is later or of another row."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    rows = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    hidden = (rows[:, None] != rows[None]) | (torch.arange(len(rows))[:, None] < torch.arange(len(rows))[None])
    scores = (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).masked_fill(hidden, -torch.inf)
    return (scores.softmax(-1) @ value).transpose(1, 2)


@QUICK
@given(LENGTHS, st.sampled_from([(4, 4), (4, 2), (6, 1)]))
def test_attention_stays_within_rows(lengths: list[int], heads: tuple[int, int]) -> None:
    torch.manual_seed(0)
    parts = [torch.randn(1, number, sum(lengths), 8, requires_grad=True) for number in (heads[0], heads[1], heads[1])]
    packing = pack_rows([([1] * length, 0) for length in lengths])[2]
    module = torch.nn.Module()
    found, none = attend_packed(module, *parts, None, packing=packing)  # type: ignore[arg-type]
    expected = plain_attention(*parts, lengths)
    assert none is None
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    slope = torch.randn(expected.shape)
    for one, other in zip(
        torch.autograd.grad(found, parts, slope), torch.autograd.grad(expected, parts, slope), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@QUICK
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=5))
def test_a_packing_says_where_everything_is(rows: list[tuple[int, int]]) -> None:
    given_rows = [([100 * number + at for at in range(length)], start) for number, (length, start) in enumerate(rows)]
    input_ids, targets, packing = pack_rows(given_rows)
    ids = input_ids[0].tolist()
    if rows:
        assert ids == [token for row, _ in given_rows for token in row]
        assert packing.lengths == tuple(length for length, _ in rows)
    assert packing.position_ids.shape == input_ids.shape
    assert packing.bounds.dtype == torch.int32
    for number, (begin, end) in enumerate(zip(packing.bounds[:-1], packing.bounds[1:], strict=True)):
        assert packing.position_ids[0, begin:end].tolist() == list(range(packing.lengths[number]))
    # The labels of collate_rows, an independent way to the same pairs of a token and the one after it.
    padded, labels = collate_rows(given_rows)
    pairs = [(int(padded[r, t]), int(labels[r, t + 1])) for r in range(len(rows)) for t in range(labels.shape[1] - 1)]
    assert [pair for pair in pairs if pair[1] != -100] == [
        (ids[place], target) for place, target in zip(packing.places.tolist(), targets.tolist(), strict=True)
    ]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_packed_rows_have_the_loss_and_gradients_of_padded_ones(
    tiny_model_folder: Path, tokenized_rows: Callable[..., list[TokenizedRow]], quantization: str, checkpointing: bool
) -> None:
    rows, found = tokenized_rows(6), {}
    for kind, make in (("padded", make_run), ("packed", packed_run)):
        extra: Any = {} if kind == "padded" else {"tokens": 10_000}
        run = make(tiny_model_folder, rows, **extra, quantization=quantization, gradient_checkpointing=checkpointing)
        randomize(run)
        run.model.train()
        input_ids, labels, packing = run.batches.collate(rows)
        assert (packing is not None) == (kind == "packed")
        loss = run.model(input_ids, labels, 1 / 50, *([packing] if packing else []))
        loss.backward()
        found[kind] = (loss.detach(), {name: weight.grad for name, weight in run.weights})
    torch.testing.assert_close(found["packed"][0], found["padded"][0], atol=1e-5, rtol=1e-5)
    for name, gradient in found["padded"][1].items():
        torch.testing.assert_close(found["packed"][1][name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("tokens", [1, 45, 10_000])
def test_a_packed_run_has_the_curves_and_the_adapter_of_a_padded_one(
    tiny_model_folder: Path, tokenized_rows: Callable[..., list[TokenizedRow]], tokens: int
) -> None:
    """However its rows are cut; the optimizer sees the same sums. Its validation is packed, too."""
    rows, validation = tokenized_rows(10), tokenized_rows(3, seed=1)
    changes: dict[str, Any] = {"gradient_accumulation_steps": 2, "max_steps": 3, "learning_rate": 0.001}
    padded = make_run(tiny_model_folder, rows, validation, **changes)
    padded.fit()
    packed = packed_run(tiny_model_folder, rows, tokens, validation=validation, **changes)
    packed.fit()
    for curve in ("loss", "val_loss", "grad_norm"):
        one, other = ([list(point.values()) for point in getattr(run.state, curve)] for run in (packed, padded))
        torch.testing.assert_close(torch.tensor(one), torch.tensor(other), atol=2e-5, rtol=1e-4)
    for name, weight in padded.copy_adapter().items():
        torch.testing.assert_close(packed.copy_adapter()[name], weight, atol=1e-4, rtol=1e-3)
    assert packed.progress.report().padding_share == 0
    assert padded.progress.report().padding_share > 0


def test_no_rows_have_a_loss_of_0_with_gradients_of_0(
    tiny_model_folder: Path, tokenized_rows: Callable[..., list[TokenizedRow]]
) -> None:
    """What a process runs that has no rows left."""
    run = packed_run(tiny_model_folder, tokenized_rows(2), 100)
    input_ids, labels, packing = run.batches.collate([])
    loss = run.model(input_ids, labels, 1.0, packing)
    loss.backward()
    assert float(loss) == 0
    assert all(weight.grad is not None and not weight.grad.any() for _, weight in run.weights)


def test_a_head_that_scores_all_positions_gives_packed_rows_the_same_loss(
    tiny_model_folder: Path, tokenized_rows: Callable[..., list[TokenizedRow]]
) -> None:
    run = packed_run(tiny_model_folder, tokenized_rows(5), 1000)
    randomize(run)
    inputs = run.batches.collate(run.rows)
    found = []
    for run.inner.all_logits in (False, True):
        loss = run.model(*inputs[:2], 0.01, inputs[2])
        loss.backward()
        found.append((loss.detach(), [weight.grad.clone() for _, weight in run.weights]))
        run.model.zero_grad()
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)


def test_the_noise_of_a_packed_row_is_of_its_own_length(
    tiny_model_folder: Path, tokenized_rows: Callable[..., list[TokenizedRow]]
) -> None:
    model = packed_run(tiny_model_folder, tokenized_rows(2), 100).inner.model
    noisy = AnswerLoss(model, neftune_noise_alpha=6.0, packed_tokens=100).train()
    rows = [([5] * 4, 1), ([5] * 25, 1)]
    input_ids, targets, packing = pack_rows(rows)
    seen: list[torch.Tensor] = []
    layer = model.get_base_model().model.layers[0]
    layer.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    noisy(input_ids, targets, 1.0, packing)
    noise = (seen[0] - model.get_input_embeddings().weight[5])[0].abs()
    for part, length in ((noise[:4], 4), (noise[4:], 25)):
        magnitude = 6.0 / (length * 64) ** 0.5
        assert 0.95 * magnitude < float(part.max()) <= magnitude * 1.001


@QUICK
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6),
    st.integers(1, 3),
    st.integers(0, 40),
)
def test_the_processes_share_all_rows_in_as_many_passes(batches: list[list[int]], processes: int, tokens: int) -> None:
    lengths = [3 * row + 1 for row in range(10)]
    shares = [
        StepBatches(torch.device("cpu"), process, processes, tokens).share(batches, lengths)
        for process in range(processes)
    ]
    assert sorted(row for share in shares for batch in share for row in batch) == sorted(
        itertools.chain.from_iterable(batches)
    )
    if tokens:
        assert len({len(share) for share in shares}) == 1
        for share in shares:
            assert all(len(batch) < 2 or sum(lengths[row] for row in batch) <= tokens for batch in share)


@QUICK
@given(st.lists(st.integers(1, 20), max_size=9), st.integers(1, 50))
def test_runs_are_as_full_as_they_can_be(lengths: list[int], tokens: int) -> None:
    runs = cut_by_tokens(range(len(lengths)), lengths, tokens)
    assert [row for run in runs for row in run] == list(range(len(lengths)))
    for run, following in itertools.pairwise(runs):
        assert sum(lengths[row] for row in run) + lengths[following[0]] > tokens


def test_only_models_whose_rows_can_lie_end_to_end_are_packed(tiny_model_folder: Path) -> None:
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

    llama = AutoModelForCausalLM.from_pretrained(tiny_model_folder)
    assert can_pack(llama)
    llama.config.attention_dropout = 0.1
    assert not can_pack(llama)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes: dict[str, Any] = {**small, "num_key_value_heads": 2, "vocab_size": 32}
    assert not can_pack(MistralForCausalLM(MistralConfig(**sizes, sliding_window=8)))
    assert can_pack(MistralForCausalLM(MistralConfig(**sizes, sliding_window=None)))
    assert not can_pack(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=32)))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"dtype": torch.float16, "size": 256, "generation": 9}, ""),
        ({"has_kernel": False}, "varlen_attn"),
        ({"generation": 7}, "Ampere"),
        ({"dtype": torch.float32}, "precision"),
        ({"size": 100}, "100 entries"),
        ({"size": 264}, "264 entries"),
    ],
)
def test_rows_are_padded_where_the_kernel_for_all_rows_is_missing_or_does_not_take_them(
    changes: dict[str, Any], word: str
) -> None:
    hindrance = find_hindrance(**{"has_kernel": True, "generation": 8, "dtype": torch.bfloat16, "size": 64} | changes)
    assert word in hindrance
    assert bool(hindrance) == bool(word)
    said = describe_attention(hindrance)
    assert ("varlen_attn, rows end to end" in said) == (not word)
    assert ("scaled_dot_product_attention, rows padded" in said and word in said) == bool(word)


def old_kernel(query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, is_causal: bool = False) -> None:
    """As torch 2.10 has it."""


@pytest.mark.parametrize("found", [None, types.SimpleNamespace(), types.SimpleNamespace(varlen_attn=old_kernel)])
def test_a_torch_without_the_kernel_pads_and_raises_nothing(
    found: Any, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is what makes the import of a module fail."""
    model = load_base(tiny_model_folder, loading_params("bf16", "none", True, "packed"))
    model.set_attn_implementation("sdpa")  # as on a GPU
    assert explain_padding(model, 8) == ""
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", found)
    has_kernel.cache_clear()
    try:
        assert "varlen_attn" in explain_padding(model, 8)
    finally:
        has_kernel.cache_clear()


def test_a_model_that_attends_otherwise_is_padded_on_every_device(tiny_model_folder: Path) -> None:
    model = load_base(tiny_model_folder, loading_params("bf16", "none", True, "packed"))
    model.set_attn_implementation("eager")
    assert explain_padding(model, 9) == "the model's attention is of another kind"


@pytest.mark.parametrize(("capability", "said"), [((8, 0), "rows end to end"), ((7, 5), "older than Ampere")])
def test_a_run_on_a_gpu_says_how_it_attends(
    capability: tuple[int, int],
    said: str,
    tiny_model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from netllama.training.setup import _needs_no_padding

    model = load_base(tiny_model_folder, loading_params("bf16", "none", True, "packed"))
    model.set_attn_implementation("sdpa")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert _needs_no_padding(model) == (capability >= (8, 0))
    assert said in capsys.readouterr().err
    monkeypatch.setenv("LOCAL_RANK", "1")
    _needs_no_padding(model)
    assert capsys.readouterr().err == ""
