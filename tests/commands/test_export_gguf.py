"""A GGUF file of the tiny model: read back by transformers it is the merged model, or nothing is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from commands import export_gguf, merge
from netllama.core.errors import StageError
from netllama.core.files import read_json, write_json
from netllama.exporting import gguf_file
from netllama.exporting.gguf_vocabulary import read_vocabulary
from netllama.exporting.merged_folder import FILE, MergeRecord, write_merge_record
from netllama.exporting.streamed_model import load_config
from tests.support.tokenizers_of_kinds import make_sentencepiece
from tests.support.trained_adapters import make_adapter, write_test_side

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.randint(2, 500, (3, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def merged(tiny_base: Path, set_params: Callable[..., None]) -> Path:
    """models/merged as `merge` leaves it; in the Alpaca format, which Ollama has."""
    set_params(**{"prompt.template": "alpaca"})
    write_test_side()
    make_adapter(quantization="nf4")
    merge.main([])
    return Path("models/merged")


def load(folder: str | Path, **arguments: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **arguments).eval()


def compute_logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=IDS).logits
    return logits


def record_again(merged: Path) -> None:
    """Let merge.json name the files as they are now."""
    record = MergeRecord.model_validate(read_json(merged / FILE))
    (merged / FILE).unlink()
    write_merge_record(merged, record)


@pytest.mark.parametrize(
    ("type", "largest", "bits"), [("bf16", 0, 16), ("f16", 0.0005, 16), ("q8_0", 0.05, 8.5), ("q4_1", 0.5, 7)]
)
def test_transformers_reads_the_merged_model_from_the_file(
    merged: Path, type: str, largest: float, bits: float, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer

    export_gguf.main([type])
    file = Path(f"models/gguf-{type}/model-{type}.gguf")
    said = capsys.readouterr().out
    assert "5 probes" in said
    found, expected = load(file.parent, gguf_file=file.name), load(merged)
    assert (compute_logits(found) - compute_logits(expected)).abs().max() <= largest
    own, read = AutoTokenizer.from_pretrained(merged), AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    messages = [{"role": "user", "content": "Which AS?"}]
    ids = [each.apply_chat_template(messages, add_generation_prompt=True, return_dict=False) for each in (own, read)]
    assert ids[0] == ids[1]
    reader = gguf.GGUFReader(file)
    assert sum(int(tensor.n_bytes) for tensor in reader.tensors) < bits / 8 * 1.06 * expected.num_parameters()
    modelfile = (file.parent / "Modelfile").read_text(encoding="utf-8")
    assert modelfile.startswith(f"FROM ./{file.name}\nTEMPLATE")
    assert 'PARAMETER stop "<|end|>"' in modelfile
    record, made_from = read_json(file.parent / "merge.json"), read_json(merged / "merge.json")
    assert record.pop("files").keys() == {file.name, "Modelfile"}
    assert {"config.json", "model.safetensors", "tokenizer.json"} < made_from.pop("files").keys()
    assert record == made_from


def test_equal_models_give_equal_bytes(merged: Path) -> None:
    export_gguf.main(["q8_0"])
    export_gguf.main(["q8_0", "--out", "models/again"])
    for path in Path("models/gguf-q8_0").iterdir():
        assert path.read_bytes() == (Path("models/again") / path.name).read_bytes()


def test_what_can_not_be_read_back_right_is_not_written(merged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has been somebody's file: q and k not permuted, another base of the rotation, merges in another order."""
    export_gguf.main(["bf16"])
    before = {path.name: path.read_bytes() for path in Path("models/gguf-bf16").iterdir()}
    right_numbers, right_keys, right_vocabulary = (
        gguf_file._read_numbers, gguf_file._add_model_keys, export_gguf.read_vocabulary,
    )  # fmt: skip

    def keep_order(published: Any, tensor: Any, config: Any) -> Any:
        return published[tensor.source].float().numpy()

    def change_base(writer: Any, config: Any, *rest: Any) -> None:
        config.rope_parameters = {**config.rope_parameters, "rope_theta": 123.0}
        right_keys(writer, config, *rest)
        config.rope_parameters["rope_theta"] = 10000.0

    def reverse_merges(tokenizer: Any, size: int) -> Any:
        found = right_vocabulary(tokenizer, size)
        found.merges.reverse()
        return found

    for place, name, wrong, said in (
        (gguf_file, "_read_numbers", keep_order, "no weight was rounded, and the logits differ"),
        (gguf_file, "_add_model_keys", change_base, "reads back with another rope_theta"),
        (export_gguf, "read_vocabulary", reverse_merges, "as other tokens than tokenizer.json does"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, wrong)
            with pytest.raises(StageError, match=said):
                export_gguf.main(["bf16"])
        assert {path.name: path.read_bytes() for path in Path("models/gguf-bf16").iterdir()} == before
    assert gguf_file._read_numbers is right_numbers
    assert sorted(path.name for path in Path("models").iterdir() if path.name[0] == ".") == []


def test_a_loss_that_rises_too_much_is_refused(merged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(export_gguf.LARGEST_RISE, "q4_1", -1.0)
    with pytest.raises(StageError, match=r"models/gguf-q4_1: not written; the loss rises by more than"):
        export_gguf.main(["q4_1"])
    assert not Path("models/gguf-q4_1").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}, "qwen2, .* for Llama alone"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "for Llama alone"),
        ({"attention_bias": True}, "attention_bias; GGUF is written for Llama without biases"),
        ({"mlp_bias": True}, "mlp_bias; GGUF"),
        ({"hidden_act": "gelu"}, "hidden_act gelu"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, "rope_type yarn"),
    ],
)
def test_another_architecture_is_refused(merged: Path, change: dict[str, Any], said: str) -> None:
    write_json(merged / "config.json", read_json(merged / "config.json") | change)
    record_again(merged)
    with pytest.raises(StageError, match=said) as raised:
        export_gguf.main(["f16"])
    assert "\n" not in str(raised.value)
    assert not Path("models/gguf-f16").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_merge_is_never_exported(merged: Path, name: str) -> None:
    content = bytearray((merged / name).read_bytes())
    content[-3] ^= 1
    (merged / name).write_bytes(content)
    with pytest.raises(StageError, match=rf"models/merged/{name}: not the file that merge\.json records; run"):
        export_gguf.main(["f16"])
    (merged / name).unlink()
    with pytest.raises(StageError, match=rf"models/merged/{name}: not the file that merge\.json records; run"):
        export_gguf.main(["f16"])


def test_weights_beyond_f16_are_refused(merged: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(merged / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(weights, merged / "model.safetensors", {"format": "pt"})
    record_again(merged)
    with pytest.raises(StageError, match=r"layers\.0\.mlp\.up_proj\.weight: has weights beyond the range of f16"):
        export_gguf.main(["f16"])


def test_an_unknown_template_is_refused(tiny_base: Path) -> None:
    write_test_side()
    make_adapter()
    merge.main([])
    with pytest.raises(StageError, match="renders as none of those that Ollama is known to have"):
        export_gguf.main(["f16"])


def test_nothing_merged_and_a_foreign_folder_are_said(tiny_base: Path) -> None:
    write_test_side()
    with pytest.raises(StageError, match=r"models/merged/merge\.json: no such file; run `python -m commands\.merge`"):
        export_gguf.main(["f16"])
    with pytest.raises(StageError, match="models/tokenizer: is there already, and no export"):
        export_gguf.main(["f16", "--out", "models/tokenizer"])


def test_a_test_side_of_another_template_is_refused(merged: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"prompt.template": "chat"})
    write_test_side()
    with pytest.raises(StageError, match=r"rendered otherwise than models/merged was trained"):
        export_gguf.main(["f16"])


# --- what transformers does not read


def write_file(folder: Path, out: Path, tokenizer: Any, name: str = "bf16") -> Path:
    config = load_config(folder)
    vocabulary = read_vocabulary(tokenizer, config.vocab_size)
    list(gguf_file.write_gguf(folder, out, config, tokenizer, vocabulary, name, "tiny"))  # type: ignore[arg-type]
    return out


def test_llama_3_scaling_is_written_as_the_factors_of_each_frequency(
    tiny_model_folder: Path, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    """Against the formula of Llama 3.1's code: wavelengths beyond 8192 / 1 by the factor, up to 8192 / 4 not at all."""
    folder = tmp_path / "scaled"
    model = load(tiny_model_folder)
    rope = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    model.config.rope_parameters = rope
    model.save_pretrained(folder)
    reader = gguf.GGUFReader(write_file(folder, tmp_path / "model.gguf", tiny_tokenizer))
    [factors] = [tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight"]
    for place, factor in enumerate(factors):
        wavelength = 2 * np.pi * 500000.0 ** (2 * place / 16)
        share = (8192 / wavelength - 1) / (4 - 1)
        expected = 1 / (min(1, max(0, share)) + (1 - min(1, max(0, share))) / 8)
        assert factor == pytest.approx(expected, rel=1e-5)
    assert len({round(float(factor), 3) for factor in factors}) >= 3


def test_the_keys_of_a_sentencepiece_model_are_llama_cpp_s(tiny_model_folder: Path, tmp_path: Path) -> None:
    tokenizer = make_sentencepiece()
    tokenizer.chat_template = "{{ messages[0].content }}"
    reader = gguf.GGUFReader(write_file(tiny_model_folder, tmp_path / "model.gguf", tokenizer))
    keys = {name: field.contents() for name, field in reader.fields.items()}
    assert keys["tokenizer.ggml.model"] == "llama"
    assert keys["tokenizer.ggml.add_bos_token"] is True
    assert keys["tokenizer.ggml.add_space_prefix"] is True
    assert len(keys["tokenizer.ggml.scores"]) == len(keys["tokenizer.ggml.tokens"]) == 600
    assert keys["tokenizer.chat_template"] == tokenizer.chat_template
    assert keys["llama.rope.dimension_count"] == 16
    assert "tokenizer.ggml.merges" not in keys
    assert json.dumps(keys["general.name"]) == '"tiny"'
