"""The loss of the trained tokens and its gradients, against Hugging Face's own over the full logits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.core.length_batches import IGNORED, collate_rows
from netllama.core.tokenized_rows import TokenizedRow
from netllama.models.output_head import has_plain_head
from netllama.training import answer_loss as loss_module
from netllama.training.answer_loss import AnswerLoss, HeadLoss
from tests.support.adapters import adapted, assert_same, full_logits_loss, gradients_of

pytestmark = pytest.mark.usefixtures("one_thread")
Rows = list[TokenizedRow]


def collate(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """What is trained of the rows, as the training loop takes it."""
    return collate_rows([(row.input_ids, row.loss_start) for row in rows])


@pytest.fixture
def model(tiny_model_folder: Path) -> Any:
    return adapted(tiny_model_folder)


def assert_as_full_logits(model: Any, rows: Rows, weight: float = 1.0) -> None:
    """`weight` is over the mean loss of a token."""
    answers = AnswerLoss(model)
    found = answers(*collate(rows), weight / sum(row.trained_tokens for row in rows))
    expected = weight * full_logits_loss(model, rows)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert found.dtype == torch.float32
    assert_same(gradients_of(model, found), gradients_of(model, expected))


# --- the head


@settings(max_examples=60)
@given(
    tokens=st.integers(1, 20),
    chunk=st.integers(1, 25),
    weight=st.floats(0.01, 10),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_head_loss_is_cross_entropy_for_any_chunk(
    tokens: int, chunk: int, weight: float, bias: bool, seed: int
) -> None:
    """Against autograd in fp64; gradcheck is out of reach, the loss being summed in fp32 whatever the input."""
    draw = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 6, generator=draw).requires_grad_()
    head, offset = torch.randn(11, 6, generator=draw), torch.randn(11, generator=draw) if bias else None
    targets = torch.randint(0, 11, (tokens,), generator=draw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_module, "CHUNK", chunk)
        found = HeadLoss.apply(hidden, head, offset, targets, weight)
    logits = torch.nn.functional.linear(hidden.double(), head.double(), None if offset is None else offset.double())
    expected = weight * torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    # Twice the loss, so that the gradient coming from above counts.
    (slope,), (exact,) = torch.autograd.grad(2 * found, hidden), torch.autograd.grad(2 * expected, hidden)
    torch.testing.assert_close(slope, exact, rtol=1e-4, atol=1e-5 * weight)


def test_the_gradient_of_a_head_in_half_precision_keeps_what_a_small_weight_would_push_to_zero() -> None:
    """1e-6 of a gradient of 0.01 is below fp16's smallest number; the scaler's factor, 65,536, comes from above."""
    draw = torch.Generator().manual_seed(0)
    hidden = (0.1 * torch.randn(5, 6, generator=draw)).half().requires_grad_()
    head, targets = (0.1 * torch.randn(11, 6, generator=draw)).half(), torch.arange(5)
    (found,) = torch.autograd.grad(65_536 * HeadLoss.apply(hidden, head, None, targets, 1e-6), hidden)
    exact = hidden.detach().float().requires_grad_()
    total = torch.nn.functional.cross_entropy(exact @ head.float().t(), targets, reduction="sum")
    (expected,) = torch.autograd.grad(65_536e-6 * total, exact)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_without_a_gradient_the_loss_is_the_same(bias: bool) -> None:
    hidden, head, targets = torch.randn(5, 6, requires_grad=True), torch.randn(11, 6), torch.arange(5)
    offset = torch.randn(11) if bias else None
    expected = HeadLoss.apply(hidden, head, offset, targets, 1.0)
    with torch.no_grad():
        found = HeadLoss.apply(hidden, head, offset, targets, 1.0)
    assert not found.requires_grad
    assert torch.equal(found, expected)


# --- a model


@pytest.mark.parametrize("chunk", [1, 7, 256])
@pytest.mark.parametrize("on_prompt", [False, True])
def test_loss_and_gradients_on_trained_positions_equal_those_of_the_full_logits(
    model: Any, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch, chunk: int, on_prompt: bool
) -> None:
    monkeypatch.setattr(loss_module, "CHUNK", chunk)
    rows = [replace(row, loss_start=0) if on_prompt else row for row in tokenized_rows(5)]
    assert len({row.length for row in rows}) > 1
    assert_as_full_logits(model, rows)


@pytest.mark.parametrize("weight", [0.25, 3.0])
def test_the_weight_is_a_factor_of_loss_and_gradients(
    model: Any, tokenized_rows: Callable[..., Rows], weight: float
) -> None:
    assert_as_full_logits(model, tokenized_rows(3), weight)


def test_a_head_with_a_bias_is_scored_with_it(model: Any, tokenized_rows: Callable[..., Rows]) -> None:
    head = model.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.randn(head.out_features), requires_grad=False)
    assert has_plain_head(model)
    assert_as_full_logits(model, tokenized_rows(3))


def test_a_batch_cut_into_two_has_the_loss_and_gradients_of_the_whole(
    model: Any, tokenized_rows: Callable[..., Rows]
) -> None:
    """Token-weighted: the mean of the batches' means is another number where their answers differ in length."""
    rows = tokenized_rows(4)
    share = 1 / sum(row.trained_tokens for row in rows)
    assert rows[0].trained_tokens != sum(row.trained_tokens for row in rows[1:])
    answers = AnswerLoss(model)
    whole = answers(*collate(rows), share)
    parts = answers(*collate(rows[:1]), share) + answers(*collate(rows[1:]), share)
    assert parts.item() == pytest.approx(whole.item(), rel=1e-6)
    assert_same(gradients_of(model, parts), gradients_of(model, whole))


def test_the_head_runs_on_trained_positions_only(
    model: Any, tokenized_rows: Callable[..., Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tokenized_rows(5)
    head, scored = model.get_output_embeddings().weight, []
    linear = torch.nn.functional.linear

    def counting(inputs: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
        if weight is head:
            scored.append(inputs.shape[:-1].numel())
        return linear(inputs, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", counting)
    monkeypatch.setattr(loss_module, "CHUNK", 16)
    AnswerLoss(model)(*collate(rows), 1.0)
    assert sum(scored) == sum(row.trained_tokens for row in rows) < sum(row.length for row in rows)
    assert max(scored) == 16


@pytest.mark.parametrize("all_logits", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_a_batch_that_trains_nothing_has_no_loss_and_a_gradient_of_zero_everywhere(
    model: Any, tokenized_rows: Callable[..., Rows], all_logits: bool, empty: bool
) -> None:
    """Not of None: DDP waits for a gradient of every weight on every process."""
    answers = AnswerLoss(model)
    answers.all_logits = all_logits
    ids, labels = collate([] if empty else tokenized_rows(2))
    found = answers(ids, torch.full_like(labels, IGNORED), 1.0)
    assert found.item() == 0
    for name, gradient in gradients_of(model, found).items():
        assert gradient.count_nonzero() == 0, name


def test_the_models_own_head_over_all_positions_gives_the_same(model: Any, tokenized_rows: Callable[..., Rows]) -> None:
    chosen, whole = AnswerLoss(model), AnswerLoss(model)
    assert not chosen.all_logits
    whole.all_logits = True
    batch = collate(tokenized_rows(5))
    losses = [answers(*batch, 0.01) for answers in (chosen, whole)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    assert_same(*(gradients_of(model, loss) for loss in losses))


def gemma2(**options: Any) -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    return Gemma2ForCausalLM(Gemma2Config(**options, head_dim=8, final_logit_softcapping=0.5, pad_token_id=0))


def granite(**options: Any) -> Any:
    from transformers import GraniteConfig, GraniteForCausalLM

    return GraniteForCausalLM(GraniteConfig(**options, logits_scaling=8.0, embedding_multiplier=12.0))


def cohere(**options: Any) -> Any:
    from transformers import CohereConfig, CohereForCausalLM

    return CohereForCausalLM(CohereConfig(**options, logit_scale=0.25, eos_token_id=1, bos_token_id=0))


@pytest.mark.parametrize("make", [gemma2, granite, cohere])
def test_heads_that_cap_or_scale_their_logits_are_left_to_the_model(
    make: Callable[..., Any], tokenized_rows: Callable[..., Rows]
) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = make(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(base, config)
    assert not has_plain_head(model)
    assert AnswerLoss(model).all_logits
    assert_as_full_logits(model, tokenized_rows(3))


def test_a_head_that_is_trained_or_adapted_is_left_to_the_model(tiny_model_folder: Path) -> None:
    model = adapted(tiny_model_folder)
    assert has_plain_head(model)
    model.get_output_embeddings().weight.requires_grad_()
    assert not has_plain_head(model)
    assert not has_plain_head(adapted(tiny_model_folder, target_modules=["q_proj", "lm_head"]))


# --- noise


def test_noise_on_the_embeddings_stays_within_its_bound_and_is_of_training_only(
    model: Any, tokenized_rows: Callable[..., Rows]
) -> None:
    alpha, batch = 5.0, collate(tokenized_rows(4))
    with torch.no_grad():
        clean = model.get_input_embeddings()(batch[0])
        plain = AnswerLoss(model).train()(*batch, 1.0)
        noisy = AnswerLoss(model, neftune_noise_alpha=alpha)
        bound = alpha / clean[0].numel() ** 0.5
        noise = noisy.train().model.get_input_embeddings()(batch[0]) - clean
        assert 0.99 * bound < noise.abs().max() <= bound * (1 + 1e-5)
        # A uniform distribution's standard deviation is its bound / sqrt(3); here of 2,000 entries and more.
        assert noise.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert abs(noise.mean().item()) < 5 * noise.std().item() / noise.numel() ** 0.5
        losses = [noisy(*batch, 1.0) for _ in range(2)]
        assert len({loss.item() for loss in (*losses, plain)}) == 3
        noisy.eval()
        assert torch.equal(noisy.model.get_input_embeddings()(batch[0]), clean)
        assert torch.equal(noisy(*batch, 1.0), plain)
