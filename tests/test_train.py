"""The train stage on a tiny model: what it writes, what it refuses, and that every param reaches the Trainer."""

import csv
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
import yaml

from stages import train
from stages.core.errors import StageError
from stages.core.loading import load_adapter, load_base
from stages.core.params import read_params
from stages.core.sections import Train
from stages.core.tables import write_parquet
from stages.training.adapter import add_adapter, save_adapter

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("one_thread")
Rows = list[dict[str, Any]]
FILES = [
    "models/adapter/adapter_config.json",
    "models/adapter/adapter_model.safetensors",
    "metrics/train.json",
    "metrics/train_loss.csv",
    "metrics/val_loss.csv",
]
IDS = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ready(tiny_base: Path, tokenized_rows: Callable[..., Rows], set_params: Callable[..., None]) -> Path:
    """The workdir as `tokenize` leaves it; fp32 without quantization, 4 steps of 2 rows."""
    write_parquet(train.TRAIN, tokenized_rows(12))
    write_parquet(train.VAL, tokenized_rows(3, seed=1))
    set_params(
        **{
            "model.quantization": "none",
            "lora.r": 4,
            "train.max_steps": 4,
            "train.per_device_train_batch_size": 2,
            "train.learning_rate": 0.01,
            "train.logging_steps": 1,
            "train.eval_steps": 2,
        }
    )
    return tiny_base


def curve(name: str) -> list[tuple[int, float]]:
    with open(name, newline="") as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def adapter_bytes() -> bytes:
    return (train.ADAPTER / "adapter_model.safetensors").read_bytes()


def logits(adapter: Path | None) -> torch.Tensor:
    model = load_base(Path("tiny"), "fp32", "none", True)
    with torch.inference_mode():
        return (load_adapter(model, adapter) if adapter else model)(input_ids=IDS.to(model.device)).logits


def test_a_run_writes_its_outs_and_curves_and_the_adapter_changes_the_model(ready: Path) -> None:
    train.main()
    assert sorted(path.name for path in train.ADAPTER.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    metrics = json.loads(train.METRICS.read_text())
    losses, val_losses = curve("metrics/train_loss.csv"), curve("metrics/val_loss.csv")
    assert [step for step, _ in losses] == [1, 2, 3, 4]
    assert [step for step, _ in val_losses] == [0, 2, 4]
    assert metrics == {
        "steps": 4,
        "epochs": pytest.approx(4 / 6, abs=1e-4),
        "trainable_parameters": 4 * 2 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128)),
        "loss": {"first": losses[0][1], "last": losses[-1][1]},
        "val_loss": {"before": val_losses[0][1], "after": val_losses[-1][1]},
    }
    assert metrics["loss"]["last"] != metrics["loss"]["first"]
    assert (logits(None) - logits(train.ADAPTER)).abs().max() > 0.01


def test_the_validation_loss_before_and_after_is_what_base_and_tuned_model_have(
    ready: Path, tokenized_rows: Callable[..., Rows]
) -> None:
    from stages.scoring.heldout import heldout

    train.main()
    recorded = json.loads(train.METRICS.read_text())["val_loss"]
    rows = tokenized_rows(3, seed=1)
    base = load_base(Path("tiny"), "fp32", "none", True)
    assert recorded["before"] == pytest.approx(heldout(base, rows, 2)["loss"], abs=1e-4)
    assert recorded["after"] == pytest.approx(heldout(load_adapter(base, train.ADAPTER), rows, 2)["loss"], abs=1e-4)


def test_the_adapter_config_is_canonical_and_names_the_base_by_its_id(ready: Path) -> None:
    train.main()
    text = (train.ADAPTER / "adapter_config.json").read_text()
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "tiny"
    assert config["revision"] is None
    assert config["target_modules"] == sorted(config["target_modules"])
    assert {name.split(".")[-1] for name in config["target_modules"]} == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 32, 0.05)
    assert list(config) == sorted(config)
    assert str(ready) not in text
    assert '"/' not in text, "an absolute path"


def test_an_adapter_of_a_hub_model_names_it_and_its_commit_not_the_folder_of_the_cache(ready: Path) -> None:
    model = add_adapter(load_base(ready / "tiny", "fp32", "none", True), read_params().lora, seed=1)
    save_adapter(model, train.ADAPTER, {"id": "org/name", "revision": "0" * 40})
    text = (train.ADAPTER / "adapter_config.json").read_text()
    config = json.loads(text)
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/name", "0" * 40)
    assert str(ready) not in text


def test_curves_hold_the_last_step_where_it_falls_between_two_logs(
    ready: Path, set_params: Callable[..., None]
) -> None:
    set_params(**{"train.max_steps": 5, "train.logging_steps": 3, "train.eval_steps": 3})
    train.main()
    assert [step for step, _ in curve("metrics/train_loss.csv")] == [1, 3, 5]
    assert [step for step, _ in curve("metrics/val_loss.csv")] == [0, 3, 5]


def test_validation_rows_are_scored_once_a_step(
    ready: Path, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.training import trainer

    scored = []
    original = trainer.log_likelihoods
    monkeypatch.setattr(
        trainer, "log_likelihoods", lambda *args, **kwargs: scored.append(1) or original(*args, **kwargs)
    )
    set_params(**{"train.max_steps": 5, "train.eval_steps": 3})
    train.main()
    assert len(scored) == 3, "at steps 0, 3 and 5"


def test_two_processes_write_the_same_bytes_whatever_their_hash_seed(
    ready: Path, tmp_path_factory: pytest.TempPathFactory, set_params: Callable[..., None]
) -> None:
    """As shipped: precision by hardware, NF4, dropout, rows grouped by length. And nothing noisy is said."""
    set_params(**{"model.precision": "auto", "model.quantization": "nf4"})
    assert read_params().lora.lora_dropout > 0
    folders = [tmp_path_factory.mktemp("run") / "work" for _ in range(2)]
    runs = []
    for seed, folder in enumerate(folders):
        shutil.copytree(ready, folder)
        environment = os.environ | {
            "PYTHONHASHSEED": str(seed),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "2",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        runs.append(
            subprocess.Popen(
                [sys.executable, "-m", "stages.train"],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    for name in FILES:
        first, second = ((folder / name).read_bytes() for folder in folders)
        assert first, name
        assert first == second, name
    for out, err in outputs:
        assert out.splitlines()[-1].startswith("adapter -> models/adapter/, curves -> metrics/train_loss.csv")
        said = [line for line in err.replace("\r", "\n").splitlines() if line.strip()]
        noise = [line for line in said if not re.match(r"(\x1b\[A|\s)*(train|validation):|(\x1b\[A|\s)*$", line)]
        assert noise == [], "\n".join(noise)


def test_rank_and_seed_change_the_adapter_and_nothing_else_does(ready: Path, set_params: Callable[..., None]) -> None:
    train.main()
    first = adapter_bytes()
    train.main()
    assert adapter_bytes() == first
    set_params(**{"train.seed": 43})
    train.main()
    other_seed = adapter_bytes()
    assert other_seed != first
    assert len(other_seed) == len(first)
    set_params(**{"lora.r": 8})
    train.main()
    assert len(adapter_bytes()) > 1.5 * len(first)


def test_without_validation_rows_it_trains_and_claims_no_validation_loss(ready: Path) -> None:
    write_parquet(train.VAL, [])
    train.main()
    metrics = json.loads(train.METRICS.read_text())
    assert metrics["steps"] == 4
    assert "val_loss" not in metrics
    assert curve("metrics/val_loss.csv") == []


def test_without_a_row_to_train_on_it_says_so_and_writes_nothing(ready: Path) -> None:
    write_parquet(train.TRAIN, [])
    with pytest.raises(StageError, match=r"^data/tokenized/train\.parquet: no rows to train on"):
        train.main()
    assert not any(Path(name).exists() for name in FILES)


def test_a_missing_table_names_the_stage_that_makes_it(ready: Path) -> None:
    train.TRAIN.unlink()
    with pytest.raises(StageError, match=r"^data/tokenized/train\.parquet: no such file; run `dvc repro tokenize`$"):
        train.main()


@pytest.mark.parametrize("names", [["no_such_proj"], ["q_proj", "v_porj"], ["proj"]])
def test_a_target_module_that_the_model_lacks_is_one_line_that_names_it(
    ready: Path, set_params: Callable[..., None], names: list[str]
) -> None:
    """PEFT itself accepts a list of which one name matches: the mistyped one would go untrained, silently."""
    set_params(**{"lora.target_modules": names})
    with pytest.raises(StageError, match=r"^lora\.target_modules: ") as raised:
        train.main()
    message = str(raised.value)
    assert "\n" not in message
    assert names[-1] in message.split(";")[0]
    assert "this model has down_proj, gate_proj, k_proj" in message
    assert "q_proj" not in message.split(";")[0]
    assert not any(Path(name).exists() for name in FILES)


def test_named_target_modules_are_the_only_ones_trained(ready: Path, set_params: Callable[..., None]) -> None:
    from safetensors import safe_open

    set_params(**{"lora.target_modules": ["v_proj", "self_attn.q_proj"]})
    train.main()
    with safe_open(train.ADAPTER / "adapter_model.safetensors", "pt") as weights:
        trained = {name.split(".")[-3] for name in weights.keys()}  # noqa: SIM118
    assert trained == {"q_proj", "v_proj"}


def test_a_changed_base_model_is_refused(ready: Path) -> None:
    (ready / "tiny" / "config.json").write_text("{}")
    with pytest.raises(StageError, match=r"^tiny/config\.json: not the file that models/base\.json records"):
        train.main()


@pytest.mark.parametrize("optim", ["adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit"])
def test_every_optimizer_trains_on_the_cpu(ready: Path, set_params: Callable[..., None], optim: str) -> None:
    set_params(**{"train.optim": optim, "train.max_steps": 2})
    train.main()
    assert (logits(None) - logits(train.ADAPTER)).abs().max() > 1e-3


def test_gradient_checkpointing_computes_layers_again_and_changes_no_result(
    ready: Path, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    forward = LlamaMLP.forward
    calls: list[bool] = []

    def counted(self: Any, x: torch.Tensor) -> torch.Tensor:
        calls.append(self.training)
        return forward(self, x)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    set_params(**{"lora.lora_dropout": 0.0})
    train.main()
    plain = logits(train.ADAPTER)
    assert sum(calls) == 4 * 2, "two layers, every step"
    calls.clear()
    set_params(**{"train.gradient_checkpointing": True})
    train.main()
    assert sum(calls) == 2 * 4 * 2, "forward, and again in backward"
    torch.testing.assert_close(logits(train.ADAPTER), plain, rtol=1e-4, atol=1e-5)


# What every key of the `train` section is in the installed TrainingArguments: another value than the default of
# either, and where it must show.
REACHES: dict[str, tuple[Any, Callable[[Any], Any], Any]] = {
    "seed": (7, lambda args: args.seed, 7),
    "max_steps": (123, lambda args: args.max_steps, 123),
    "per_device_train_batch_size": (3, lambda args: args.train_batch_size, 3),
    "per_device_eval_batch_size": (5, lambda args: args.eval_batch_size, 5),
    "gradient_accumulation_steps": (6, lambda args: args.gradient_accumulation_steps, 6),
    "learning_rate": (0.00123, lambda args: args.learning_rate, 0.00123),
    "lr_scheduler_type": ("constant_with_warmup", lambda args: args.lr_scheduler_type.value, "constant_with_warmup"),
    "warmup_ratio": (0.25, lambda args: args.get_warmup_steps(200), 50),
    "weight_decay": (0.3, lambda args: args.weight_decay, 0.3),
    "max_grad_norm": (0.7, lambda args: args.max_grad_norm, 0.7),
    "optim": ("paged_adamw_8bit", lambda args: args.optim.value, "paged_adamw_8bit"),
    "group_by_length": (False, lambda args: args.train_sampling_strategy, "random"),
    "gradient_checkpointing": (True, lambda args: args.activation_checkpointing, True),
    "logging_steps": (9, lambda args: args.logging_steps, 9),
    "eval_steps": (11, lambda args: args.eval_steps, 11),
}


def test_the_table_above_names_every_param_of_the_section() -> None:
    assert REACHES.keys() == Train.model_fields.keys()


@pytest.mark.parametrize("key", REACHES)
def test_a_param_reaches_the_training_arguments(ready: Path, set_params: Callable[..., None], key: str) -> None:
    value, look, expected = REACHES[key]
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]
    set_params(**{f"train.{name}": other for name, other in shipped.items()})
    assert look(train.training_arguments(read_params().train, "fp32")) != expected
    set_params(**{f"train.{key}": value})
    assert look(train.training_arguments(read_params().train, "fp32")) == expected


def test_rows_are_grouped_by_length_when_asked_for(ready: Path) -> None:
    assert train.training_arguments(read_params().train, "fp32").train_sampling_strategy == "group_by_length"


@pytest.mark.parametrize(("precision", "bf16"), [("bf16", True), ("fp32", False)])
def test_precision_reaches_the_training_arguments(ready: Path, precision: str, bf16: bool) -> None:
    arguments = train.training_arguments(read_params().train, precision)
    assert arguments.bf16 is bf16
    assert arguments.fp16 is False
