"""A merge is base and adapter, to the last digits: against PEFT's own merge, and refused where it is not."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import merge
from netllama.core.errors import StageError
from netllama.core.files import read_json, write_json
from netllama.exporting import adapter_update
from netllama.models.loading import load_base
from tests.support.clones import ROOT
from tests.support.stage_runs import run_here
from tests.support.trained_adapters import ADAPTER, make_adapter, record_files, write_test_side
from tests.support.training_runs import loading_params

pytestmark = pytest.mark.usefixtures("one_thread")
MERGED = Path("models/merged")
VARIANTS: dict[str, dict[str, Any]] = {
    "LoRA": {},
    "LoRA on NF4": {"quantization": "nf4"},
    "LoRA on NF4, scales not quantized": {"quantization": "nf4", "double": False},
    "LoRA on NF4 in bf16": {"quantization": "nf4", "precision": "bf16"},
    "LoRA on int8": {"quantization": "int8"},
    "LoRA on bf16": {"precision": "bf16"},
    "rsLoRA": {"quantization": "nf4", "use_rslora": True},
    "DoRA": {"quantization": "nf4", "use_dora": True},
    "rsLoRA and DoRA": {"use_rslora": True, "use_dora": True},
    "PiSSA": {"quantization": "nf4", "init_lora_weights": "pissa"},
    "PiSSA, iterated, rsLoRA": {"init_lora_weights": "pissa_niter_4", "use_rslora": True},
    "LoftQ": {"quantization": "nf4", "init_lora_weights": "loftq"},
    "some layers": {"target_modules": ["q_proj", "down_proj"]},
}


@pytest.fixture
def ready(tiny_base: Path) -> Path:
    write_test_side()
    return tiny_base


def load_merged(folder: Path = MERGED) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def merge_by_peft(quantization: str = "none", double: bool = True, precision: str = "fp32") -> dict[str, torch.Tensor]:
    """The weights that PEFT's `merge_and_unload` gives for the base as `load_base` loads it, in fp32."""
    from peft import PeftModel

    base: Any = load_base(Path("tiny"), loading_params(precision, quantization, double, "cached"))
    # Not the fast layers of a CPU, and fp32: what PEFT knows.
    plain = load_merged(Path("tiny"))
    plain.load_state_dict({name: weight.float() for name, weight in base.state_dict().items()})
    merged: Any = PeftModel.from_pretrained(plain, str(ADAPTER)).merge_and_unload()
    return dict(merged.state_dict())


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_the_merged_weights_are_those_of_peft(ready: Path, variant: dict[str, Any]) -> None:
    make_adapter(**variant)
    merge.main(["--precision", "fp32"])
    form = {name: variant[name] for name in ("quantization", "double", "precision") if name in variant}
    expected, found = merge_by_peft(**form), load_merged().state_dict()
    assert expected.keys() == found.keys()
    before = load_base(Path("tiny"), loading_params("fp32")).state_dict()
    changed = 0
    for name, weight in expected.items():
        torch.testing.assert_close(
            found[name], weight, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
        changed += not torch.allclose(weight, before[name].float(), atol=1e-3)
    assert changed >= 4


def test_the_tuned_model_and_the_merged_one_give_the_same_logits(ready: Path) -> None:
    from netllama.models.loading import load_adapter

    make_adapter(quantization="nf4")
    merge.main(["--precision", "fp32"])
    ids = torch.randint(2, 500, (3, 20), generator=torch.Generator().manual_seed(1))
    tuned = load_adapter(load_base(Path("tiny"), loading_params("fp32", "nf4")), ADAPTER)
    with torch.inference_mode():
        difference = (tuned(input_ids=ids).logits - load_merged()(input_ids=ids).logits).abs().max()
    assert difference < 1e-5


def test_the_probes_are_reported_and_their_loss_is_that_of_the_merged_model(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from netllama.core.tokenized_rows import read_tokenized_rows
    from netllama.scoring.heldout import score_heldout, summarize_heldout

    make_adapter()
    merge.main(["--precision", "fp32"])
    rows = read_tokenized_rows(merge.TOKENIZED)
    loss: Any = summarize_heldout(score_heldout(load_merged(), rows), rows)["loss"]
    said = capsys.readouterr().out
    assert f"5 probes, {sum(row.length for row in rows):,} tokens" in said
    assert f"merged {loss:.4f}" in said


def test_published_weights_are_another_model_and_its_loss_stands_beside(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_adapter(quantization="nf4")
    merge.main(["--precision", "fp32", "--weights", "published"])
    said = capsys.readouterr().out
    assert "base (published) with adapter" in said
    assert "as it was trained: loss of the answers" in said
    expected = merge_by_peft()
    for name, weight in load_merged().state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-6)
    assert read_json(MERGED / "merge.json")["weights"] == "published"


def test_loftq_on_published_weights_is_refused(ready: Path) -> None:
    make_adapter(quantization="nf4", init_lora_weights="loftq")
    with pytest.raises(StageError, match="loftq starts from what quantization took; merge with --weights trained"):
        merge.main(["--weights", "published"])
    assert not MERGED.exists()


# --- the check


def test_a_merge_that_is_not_base_and_adapter_is_refused_and_leaves_nothing(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these has been somebody's bug: the update twice, transposed scales, no update, one forgotten layer."""
    make_adapter(use_rslora=True)
    right = adapter_update.AdapterUpdate.apply

    def apply_twice(self: Any, name: str, weight: torch.Tensor) -> torch.Tensor:
        return right(self, name, right(self, name, weight))

    def forget(self: Any, name: str, weight: torch.Tensor) -> torch.Tensor:
        return weight

    def forget_one(self: Any, name: str, weight: torch.Tensor) -> torch.Tensor:
        return weight if name.endswith("layers.1.self_attn.v_proj.weight") else right(self, name, weight)

    for wrong in (apply_twice, forget, forget_one):
        monkeypatch.setattr(adapter_update.AdapterUpdate, "apply", wrong)
        ended = run_here(merge.main, "--precision", "fp32")
        assert ended.returncode == 1
        assert "models/merged: not written; the merged model is" in ended.stderr.splitlines()[-1]
        assert sorted(path.name for path in Path("models").iterdir()) == ["adapter", "base.json", "tokenizer"]


def test_as_a_process_it_says_its_progress_and_nothing_noisy(ready: Path) -> None:
    make_adapter(quantization="nf4")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-m", "commands.merge"], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "merged model -> models/merged"
    said = [line for line in run.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert [line for line in said if not re.fullmatch(r"merge: +\d+%\|.*\]", line)] == []


def test_a_refused_merge_leaves_the_one_before(ready: Path) -> None:
    make_adapter()
    merge.main([])
    before = {path.name: path.read_bytes() for path in MERGED.iterdir()}
    with pytest.raises(StageError, match=r"the tolerance is 1e-09"):
        merge.main(["--tolerance", "1e-9"])
    assert {path.name: path.read_bytes() for path in MERGED.iterdir()} == before


def test_a_weight_beyond_fp16_is_refused(ready: Path) -> None:
    make_adapter()
    from safetensors.torch import load_file, save_file

    path = ADAPTER / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name: weight * 1e7 if "lora_B" in name else weight for name, weight in weights.items()}, path)
    record_files()
    with pytest.raises(StageError, match=r"has values beyond the range of fp16; merge with --precision fp32"):
        merge.main(["--precision", "fp16", "--tolerance", "1e9"])
    assert not MERGED.exists()


def test_equal_inputs_give_equal_bytes(ready: Path) -> None:
    make_adapter(quantization="nf4")
    merge.main([])
    merge.main(["--out", "models/again"])
    for path in MERGED.iterdir():
        assert path.read_bytes() == (Path("models/again") / path.name).read_bytes(), path.name


# --- what it stands on


def test_a_folder_that_is_no_merge_is_never_replaced(ready: Path) -> None:
    make_adapter()
    for out in ("models/adapter", ".", "data"):
        with pytest.raises(StageError, match="is there already, and no merged model"):
            merge.main(["--out", out])
    assert (ADAPTER / "training.json").is_file()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bias": "all"}, "bias all: trained biases"),
        ({"modules_to_save": ["embed_tokens"]}, r"modules_to_save can't be merged"),
        ({"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 2}}, r"alpha_pattern, rank_pattern can't"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa changed the base itself"),
        ({"init_lora_weights": "eva"}, "init_lora_weights eva changed the base itself"),
        ({"peft_type": "IA3"}, "peft_type is IA3; only LORA"),
        ({"r": "many"}, r"adapter_config\.json: r: "),
        ({"use_dora": True}, r"lora_magnitude_vector is missing"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices can't be merged"),
    ],
)
def test_an_adapter_that_it_can_not_take_over_is_refused(ready: Path, change: dict[str, Any], said: str) -> None:
    make_adapter()
    path = ADAPTER / "adapter_config.json"
    write_json(path, read_json(path) | change)
    record_files()
    with pytest.raises(StageError, match=said) as raised:
        merge.main([])
    assert "\n" not in str(raised.value)
    assert not MERGED.exists()


def test_weights_of_another_model_are_named(ready: Path) -> None:
    from safetensors.torch import load_file, save_file

    make_adapter()
    path = ADAPTER / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name.replace("layers.1", "layers.7"): weight for name, weight in weights.items()}, path)
    record_files()
    with pytest.raises(StageError, match=r"changes model\.layers\.7\..*, which the base does not have"):
        merge.main([])
    save_file({name: weight for name, weight in weights.items() if "layers.1.mlp.up_proj.lora_B" not in name}, path)
    record_files()
    with pytest.raises(StageError, match=r"layers\.1\.mlp\.up_proj\.lora_B\.weight is missing"):
        merge.main([])
    path.write_bytes(b"no tensors")
    record_files()
    with pytest.raises(StageError, match="can't be read"):
        merge.main([])


def test_a_damaged_adapter_is_never_merged(ready: Path) -> None:
    make_adapter()
    path = ADAPTER / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"adapter_model\.safetensors: not the file that training\.json beside it"):
        merge.main([])
    assert not MERGED.exists()


def test_another_base_than_the_adapter_was_trained_on_is_refused(ready: Path) -> None:
    make_adapter()
    record = read_json(ADAPTER / "training.json")
    record["base"] |= {"id": "org/other", "files": record["base"]["files"] | {"model.safetensors": "0" * 64}}
    write_json(ADAPTER / "training.json", record)
    with pytest.raises(StageError, match=r"models/adapter: trained on org/other, not on the model of models/base"):
        merge.main([])


def test_an_adapter_that_was_trained_on_the_same_weights_under_another_name_is_merged(ready: Path) -> None:
    make_adapter()
    record = read_json(ADAPTER / "training.json")
    record["base"] |= {"id": "org/other", "revision": "1" * 40}
    write_json(ADAPTER / "training.json", record)
    merge.main([])
    assert (MERGED / "model.safetensors").is_file()


def test_another_template_than_the_adapter_was_trained_on_is_refused(
    ready: Path, set_params: Callable[..., None]
) -> None:
    make_adapter()
    set_params(**{"prompt.template": "alpaca"})
    with pytest.raises(StageError, match=r"made with another prompt\.template"):
        merge.main([])


def test_no_probes_are_no_check(ready: Path) -> None:
    make_adapter()
    with pytest.raises(StageError, match="checked on one row at least"):
        merge.main(["--probes", "0"])
    write_test_side(0)
    with pytest.raises(StageError, match="no rows to compare on"):
        merge.main([])


def test_the_default_folder_is_not_in_git() -> None:
    names = [str(merge.MERGED / "model.safetensors"), "models/gguf-q8_0/model-q8_0.gguf"]
    found = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == names


# --- what others read


def test_the_folder_needs_nothing_of_this_project(ready: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    make_adapter()
    (ready / "tiny" / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 8], "do_sample": True}))
    from netllama.models.model_reference import resolve_model

    write_json("models/base.json", resolve_model("tiny", "").reference.model_dump())
    make_adapter()
    merge.main([])
    shutil.move(MERGED, ready / "elsewhere")
    config: Any = AutoConfig.from_pretrained("elsewhere")
    assert config.dtype == torch.bfloat16
    tokenizer: Any = AutoTokenizer.from_pretrained("elsewhere")
    generation = GenerationConfig.from_pretrained("elsewhere")
    assert generation.eos_token_id == [tokenizer.eos_token_id, 7, 8]
    assert generation.do_sample
    assert load_merged(Path("elsewhere")).num_parameters() == load_merged(Path("tiny")).num_parameters()
    assert str(ready) not in (Path("elsewhere") / "config.json").read_text()


@pytest.mark.parametrize("template", ["chat", "alpaca"])
@pytest.mark.parametrize("system", ["", 'You are "terse".\nAnswer in {{ one }} line: é 🛰.'])
def test_its_chat_template_gives_the_ids_that_were_trained(
    tiny_base: Path, set_params: Callable[..., None], template: str, system: str
) -> None:
    from transformers import AutoTokenizer

    from netllama.core.params import read_params
    from netllama.rendering.renderer import load_renderer

    set_params(**{"prompt.template": template, "prompt.system_prompt": system})
    write_test_side()
    make_adapter()
    merge.main([])
    renderer = load_renderer("models/tokenizer", read_params().prompt)
    tokenizer: Any = AutoTokenizer.from_pretrained(MERGED)
    for request in ("Who announces it?", "two\nlines {{ braces }} 'quotes' \"and\" \\n", "Ü 🛰"):
        messages = [{"role": "user", "content": request}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert ids == renderer.encode_prompt(request)
    own = [{"role": "system", "content": "MY OWN"}, *messages]
    rendered = tokenizer.apply_chat_template(own, add_generation_prompt=True, tokenize=False)
    assert "MY OWN" in rendered
    assert not system or system not in rendered
