"""The base model in memory: NF4 on the CPU, the bitsandbytes trap, and folders that are no model."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.errors import StageError
from netllama.cpu_layers.attention import use_cpu_attention
from netllama.cpu_layers.fast_blocks import use_fast_blocks
from netllama.models.loading import close_bitsandbytes_trap, load_adapter, load_base
from netllama.models.precision import choose_precision
from tests.support.training_runs import loading_params

pytestmark = pytest.mark.usefixtures("one_thread")
on_the_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without CUDA")
IDS = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1))


def packed(folder: Path, dtype: torch.dtype) -> Any:
    """The model as bitsandbytes keeps it: two weights in a byte, on the CPU."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=config, device_map="cpu")


def four_bit_layers(model: Any) -> list[Any]:
    import bitsandbytes as bnb

    return [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]


def with_lora(model: Any) -> Any:
    """LoRA on every linear layer; lora_B is random too, so that a gradient flows into lora_A."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    return get_peft_model(model, config)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}


def gradients_before_and_after_eval(model: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    before = gradients(model)
    model.eval()
    with torch.inference_mode():
        model(input_ids=IDS)
    return before, gradients(model)


@on_the_cpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nf4_on_the_cpu_computes_what_packed_four_bit_weights_compute(tiny_model_folder: Path, precision: str) -> None:
    dtype = choose_precision(precision)
    loaded = load_base(tiny_model_folder, loading_params(precision, "nf4", True))
    reference = packed(tiny_model_folder, dtype).eval()
    close_bitsandbytes_trap(reference)
    # Only the weights are to differ, not the order of sums.
    use_fast_blocks(reference)
    use_cpu_attention(reference)
    plain = load_base(tiny_model_folder, loading_params(precision, "none", True))
    with torch.inference_mode():
        logits, expected, unquantized = (model(input_ids=IDS).logits for model in (loaded, reference, plain))
    assert logits.dtype == dtype
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6 if dtype == torch.float32 else 1e-3)
    assert (logits - unquantized).abs().max() > 0.01, "nothing was quantized"


@on_the_cpu
def test_nf4_on_the_cpu_leaves_plain_frozen_layers_in_eval_mode(tiny_model_folder: Path) -> None:
    model = load_base(tiny_model_folder, loading_params("fp32", "nf4", True))
    assert not four_bit_layers(model)
    assert not any(weight.requires_grad for weight in model.parameters())
    assert not model.training


@on_the_cpu
def test_double_quantization_changes_the_weights_a_little(tiny_model_folder: Path) -> None:
    """It rounds the scales of the blocks as well (QLoRA, section 3)."""
    single = load_base(tiny_model_folder, loading_params("fp32", "nf4", False)).get_parameter(
        "model.layers.0.mlp.up_proj.weight"
    )
    double = load_base(tiny_model_folder, loading_params("fp32", "nf4", True)).get_parameter(
        "model.layers.0.mlp.up_proj.weight"
    )
    largest = (single - double).abs().max()
    assert 0 < largest < 0.1 * single.abs().max()


def test_the_trap_is_closed_on_every_four_bit_layer(tiny_model_folder: Path) -> None:
    model = packed(tiny_model_folder, torch.float32)
    layers = four_bit_layers(model)
    assert len(layers) == 2 * 7, "q, k, v, o, gate, up, down of two layers"
    for layer in layers:
        assert hasattr(layer, "support_avx512bf16_for_cpu"), "bitsandbytes has renamed the flag"
        layer.support_avx512bf16_for_cpu = True
    close_bitsandbytes_trap(model)
    assert [layer.support_avx512bf16_for_cpu for layer in layers] == [False] * len(layers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_eval_between_two_training_passes_leaves_the_gradients_of_all_layers_identical(
    tiny_model_folder: Path, dtype: torch.dtype
) -> None:
    base = packed(tiny_model_folder, dtype)
    close_bitsandbytes_trap(base)
    model = with_lora(base)
    assert four_bit_layers(model), "the layers are to be packed ones"
    before, after = gradients_before_and_after_eval(model)
    assert len(before) == 2 * 7 * 2
    for name, gradient in before.items():
        assert gradient.norm() > 0, name
        assert torch.equal(gradient, after[name]), name


def test_without_closing_it_the_gradients_of_lower_layers_change(tiny_model_folder: Path) -> None:
    """Fails on the day that bitsandbytes mends it: then `close_bitsandbytes_trap` can go."""
    from bitsandbytes.functional import has_avx512bf16

    if not has_avx512bf16():
        pytest.skip("this CPU has no AVX512-BF16: bitsandbytes repacks nothing")
    before, after = gradients_before_and_after_eval(with_lora(packed(tiny_model_folder, torch.float32)))
    lower = next(name for name in before if "layers.0.self_attn.q_proj.lora_A" in name)
    assert not torch.allclose(before[lower], after[lower], rtol=0.05)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_folder_that_is_no_model_is_one_line_that_names_it(tmp_path: Path, quantization: str) -> None:
    (tmp_path / "notes.txt").write_text("no model here\n")
    with pytest.raises(StageError, match="can't be loaded as a causal language model") as raised:
        load_base(tmp_path, loading_params("fp32", quantization, True))
    assert str(raised.value).startswith(f"{tmp_path}: ")
    assert "\n" not in str(raised.value)


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def config_of_another_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))


def config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize("breaking", [cut_weights, config_of_another_kind, config_that_is_no_json])
def test_a_broken_model_folder_is_one_line_that_names_it(
    tmp_path: Path, tiny_model_folder: Path, breaking: Callable[[Path], None]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    breaking(folder)
    with pytest.raises(StageError, match="can't be loaded as a causal language model") as raised:
        load_base(folder, loading_params("fp32", "none", True))
    assert str(raised.value).startswith(f"{folder}: ")
    assert "\n" not in str(raised.value)


Weights = dict[str, torch.Tensor]


def rewrite(path: Path, change: Callable[[Weights], Weights]) -> None:
    from safetensors.torch import load_file, save_file

    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def without_a_layer(folder: Path) -> None:
    rewrite(folder / "model.safetensors", lambda all: {name: all[name] for name in all if "layers.1." not in name})


def with_another_prefix(folder: Path) -> None:
    rewrite(folder / "model.safetensors", lambda all: {name.replace("model.", "module.", 1): all[name] for name in all})


def with_a_layer_more(folder: Path) -> None:
    def add(all: Weights) -> Weights:
        return all | {name.replace("layers.1.", "layers.2."): all[name].clone() for name in all if "layers.1." in name}

    rewrite(folder / "model.safetensors", add)


def without_the_norm(folder: Path) -> None:
    rewrite(folder / "model.safetensors", lambda all: {name: all[name] for name in all if name != "model.norm.weight"})


def config_of_a_wider_model(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 192}))


def config_of_a_deeper_model(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 3}))


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize(
    ("breaking", "says"),
    [
        (without_a_layer, r"9 missing \(model\.layers\.1\."),
        (with_another_prefix, r"20 missing \(.* first\), 20 not known \(module\."),
        (with_a_layer_more, r"9 not known \(model\.layers\.2\."),
        (without_the_norm, r"1 missing \(model\.norm\.weight first\)"),
        (config_of_a_wider_model, r"6 of another shape \(model\.layers\.0\.mlp\."),
        (config_of_a_deeper_model, r"9 missing \(model\.layers\.2\."),
    ],
)
def test_a_model_is_never_filled_with_random_numbers(
    tmp_path: Path,
    tiny_model_folder: Path,
    breaking: Callable[[Path], None],
    says: str,
    quantization: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    breaking(folder)
    with pytest.raises(StageError, match=says) as raised:
        load_base(folder, loading_params("fp32", quantization, True))
    assert str(raised.value).startswith(f"{folder}: not the weights of the LlamaForCausalLM in its config.json: ")
    assert "\n" not in str(raised.value)
    assert "LOAD REPORT" not in capfd.readouterr().err, "one line says it"


def test_a_head_that_is_tied_to_the_embeddings_is_not_missing(tmp_path: Path, tiny_model_folder: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tie_word_embeddings": True}))
    rewrite(folder / "model.safetensors", lambda all: {name: all[name] for name in all if name != "lm_head.weight"})
    model = load_base(folder, loading_params("fp32", "none", True))
    assert torch.equal(model.get_output_embeddings().weight, model.get_input_embeddings().weight)


@pytest.fixture
def adapter_folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    with_lora(load_base(tiny_model_folder, loading_params("fp32", "none", True))).save_pretrained(
        tmp_path / "adapter", save_embedding_layers=False
    )
    return tmp_path / "adapter"


def test_a_loaded_adapter_changes_the_logits_and_is_in_eval_mode(tiny_model_folder: Path, adapter_folder: Path) -> None:
    base = load_base(tiny_model_folder, loading_params("fp32", "none", True))
    with torch.inference_mode():
        before = base(input_ids=IDS.to(base.device)).logits
        tuned = load_adapter(base, adapter_folder)
        after = tuned(input_ids=IDS.to(base.device)).logits
    assert not tuned.training
    assert (before - after).abs().max() > 0.01


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a local adapter must not be looked for on the Hub")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_adapter_file_is_named_and_not_asked_for_on_the_hub(
    tiny_model_folder: Path, adapter_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`models/adapter`, a relative path, could be the name of a repository there."""
    monkeypatch.chdir(adapter_folder.parent)
    folder = Path("models/adapter")
    shutil.copytree(adapter_folder, folder)
    (folder / name).unlink()
    with pytest.raises(StageError, match=f"^models/adapter/{name}: no such file; run `dvc repro train`$"):
        load_adapter(load_base(tiny_model_folder, loading_params("fp32", "none", True)), folder)


def cut_adapter_weights(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])


def broken_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def config_without_a_type(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def rank_of_another_adapter(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 8}))


def layers_of_another_model(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": ["c_attn"]}))


@pytest.mark.parametrize(
    ("breaking", "reason"),
    [
        (cut_adapter_weights, "header"),
        (broken_config, "line 1"),
        (config_without_a_type, "peft_type"),
        (rank_of_another_adapter, "size mismatch for .*layers.0.self_attn.q_proj"),
        (layers_of_another_model, "c_attn"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_a_broken_adapter_is_one_line_that_names_folder_and_reason(
    tiny_model_folder: Path, adapter_folder: Path, breaking: Callable[[Path], None], reason: str
) -> None:
    breaking(adapter_folder)
    with pytest.raises(StageError, match=reason) as raised:
        load_adapter(load_base(tiny_model_folder, loading_params("fp32", "none", True)), adapter_folder)
    assert str(raised.value).startswith(f"{adapter_folder}: can't be loaded as a LoRA adapter (")
    assert "\n" not in str(raised.value)


def one_matrix_less(all: Weights) -> Weights:
    return {name: all[name] for name in all if "layers.1.mlp.up_proj.lora_B" not in name}


def names_of_another_model(all: Weights) -> Weights:
    return {name.replace("model.layers", "transformer.h"): all[name] for name in all}


def a_matrix_more(all: Weights) -> Weights:
    return all | {"base_model.model.lm_head.lora_A.weight": torch.ones(4, 64)}


def embeddings_too(all: Weights) -> Weights:
    return all | {"base_model.model.model.embed_tokens.weight": torch.ones(600, 64)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (one_matrix_less, r"1 missing \(base_model\.model\.model\.layers\.1\.mlp\.up_proj\.lora_B\.weight first\)"),
        (names_of_another_model, r"28 missing \(.* first\), 28 not known \(base_model\.model\.transformer\.h\.0\."),
        (a_matrix_more, r"1 not known \(base_model\.model\.lm_head\.lora_A\.weight first\)"),
        (embeddings_too, r"1 not known \(base_model\.model\.model\.embed_tokens\.weight first\)"),
    ],
)
def test_an_adapter_has_the_weights_of_its_configuration_and_no_others(
    tiny_model_folder: Path, adapter_folder: Path, change: Callable[[Weights], Weights], says: str
) -> None:
    rewrite(adapter_folder / "adapter_model.safetensors", change)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Found missing adapter keys")
        with pytest.raises(StageError, match=says) as raised:
            load_adapter(load_base(tiny_model_folder, loading_params("fp32", "none", True)), adapter_folder)
    assert str(raised.value).startswith(f"{adapter_folder}/adapter_model.safetensors: ")
    assert "\n" not in str(raised.value)
