"""LoRA on the linear layers of models that are no Llama: GPT-2's transposed ones, and a mixture's fused experts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.errors import StageError
from netllama.core.tokenized_rows import TokenizedRow
from netllama.exporting.adapter_update import AdapterUpdate
from netllama.models.loading import load_adapter, load_base
from netllama.training.adapter import add_adapter, save_adapter
from tests.support.training_runs import loading_params, lora_params, make_run, training_record

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1))
WEIGHT = "transformer.h.0.attn.c_attn.weight"
SHAPE = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 64, "pad_token_id": 0}


def make_gpt_2(vocabulary: int = 64) -> Any:
    """Of two layers, whose linear layers are all of the type Conv1D."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 1}
    return GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=vocabulary, n_positions=128, **ends))


def make_mixtral() -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(
        MixtralConfig(**SHAPE, num_hidden_layers=2, num_key_value_heads=2, num_local_experts=2, num_experts_per_tok=1)
    )


def make_deepseek() -> Any:
    """Of dense layers alone; PEFT takes their names for those of experts."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    ranks = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
    return DeepseekV3ForCausalLM(
        DeepseekV3Config(**SHAPE, **ranks, num_hidden_layers=1, num_key_value_heads=2, first_k_dense_replace=1)
    )


def make_mamba() -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=64))


def count_targets(model: Any) -> int:
    return sum(".lora_A." in name for name, _ in model.named_parameters())


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=IDS).logits
    return found


@pytest.fixture
def gpt_2_folder(tmp_path: Path) -> Path:
    make_gpt_2(600).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.mark.parametrize(
    ("changes", "quantization"),
    [({}, "none"), ({"use_dora": True}, "none"), ({"target_modules": ["c_attn"]}, "none"), ({}, "nf4"), ({}, "int8")],
    ids=str,
)
def test_gpt_2_is_trained_saved_and_loaded(
    gpt_2_folder: Path,
    tokenized_rows: Callable[..., list[TokenizedRow]],
    tmp_path: Path,
    changes: dict[str, Any],
    quantization: str,
) -> None:
    loading = loading_params("fp32", quantization, True, "cached")
    plain = logits(load_base(gpt_2_folder, loading))
    original = logits(load_base(gpt_2_folder, loading_params("fp32", "none", True)))
    assert (plain - original).abs().max() < 0.05, "quantized, and not transposed"
    run = make_run(gpt_2_folder, tokenized_rows(4), None, changes, "fp32", quantization, "cached")
    assert count_targets(run.inner.model) == (2 if "target_modules" in changes else 2 * 4)
    run.fit()
    save_adapter(run.inner.model, tmp_path / "adapter", training_record(), run.start)
    tuned = load_adapter(load_base(gpt_2_folder, loading), tmp_path / "adapter")
    torch.testing.assert_close(logits(tuned), logits(run.inner.model))
    with pytest.raises(StageError, match=r"(fan_in_fan_out|c_attn\.weight is transposed .*) can't be merged"):
        AdapterUpdate(tmp_path / "adapter").apply(WEIGHT, make_gpt_2().get_parameter(WEIGHT))
    assert not torch.allclose(logits(tuned), plain)


@pytest.mark.parametrize("method", ["pissa", "loftq"])
def test_another_start_on_transposed_layers_is_one_clear_line(method: str) -> None:
    lora = lora_params(init_lora_weights=method)
    with pytest.raises(
        StageError, match=rf"^lora\.init_lora_weights: {method} is not possible with Conv1D layers; use"
    ):
        add_adapter(make_gpt_2(), lora, 1, Path())


def test_so_is_loftq_on_quantized_ones(gpt_2_folder: Path) -> None:
    base = load_base(gpt_2_folder, loading_params("fp32", "nf4", True, "cached"))
    with pytest.raises(StageError, match=r"^lora\.init_lora_weights: loftq is not possible with transposed layers"):
        add_adapter(base, lora_params(init_lora_weights="loftq"), 1, gpt_2_folder)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_mixtral, r"all-linear is not possible: model\.layers\.0\.mlp\.experts \(MixtralExperts\) holds several"),
        (
            make_deepseek,
            r"PEFT puts LoRA on 5 layers, 8 are meant; they differ in model\.layers\.0\.mlp\.down_proj, .*Linear",
        ),
        (make_mamba, r"PEFT can't put LoRA on them \(.*Mamba"),
    ],
)
def test_layers_that_would_go_untrained_are_one_line_that_says_what_to_name(make: Any, reason: str) -> None:
    with pytest.raises(StageError, match=rf"^lora\.target_modules: {reason}") as error:
        add_adapter(make(), lora_params(), 1, Path())
    assert "\n" not in str(error.value)
    if make is not make_mamba:
        assert "o_proj" in str(error.value).split("of ")[-1]


def test_the_named_layers_of_a_mixture_are_trained() -> None:
    model, _ = add_adapter(make_mixtral(), lora_params(target_modules=("q_proj", "o_proj")), 1, Path())
    assert count_targets(model) == 2 * 2
