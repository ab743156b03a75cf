"""The train stage on a tiny model: what it writes, what it refuses, and that it goes on where it was killed."""

import csv
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.errors import StageError
from netllama.core.files import hash_file
from netllama.core.metrics import read_details
from netllama.core.params import read_params
from netllama.core.tokenized_rows import TokenizedRow
from netllama.models.loading import load_adapter, load_base
from netllama.training.adapter import add_adapter, save_adapter
from netllama.training.checkpoints import Checkpoint, Checkpoints
from stages import train
from tests.support.kept_runs import run_kept
from tests.support.tokenized_tables import write_tokenized_rows
from tests.support.training_runs import loading_params, training_record

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.usefixtures("one_thread")
Rows = list[TokenizedRow]
FILES = [
    "models/adapter/adapter_config.json",
    "models/adapter/adapter_model.safetensors",
    "metrics/train.json",
    "metrics/train_loss.csv",
    "metrics/val_loss.csv",
    "metrics/learning_rate.csv",
    "metrics/grad_norm.csv",
    "models/adapter/training.json",
]
IDS = torch.randint(2, 500, (2, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ready(tiny_base: Path, tokenized_rows: Callable[..., Rows], set_params: Callable[..., None]) -> Path:
    """The workdir as `tokenize` leaves it; fp32 without quantization, 4 steps of 2 rows."""
    write_tokenized_rows(train.TRAIN, tokenized_rows(12))
    write_tokenized_rows(train.VAL, tokenized_rows(3, seed=1))
    set_params(
        **{
            "loading.quantization": "none",
            "lora.r": 4,
            "lora.lora_dropout": 0.05,
            "train.max_steps": 4,
            "train.per_device_train_batch_size": 2,
            "train.learning_rate": 0.01,
            "train.logging_steps": 1,
            "train.eval_steps": 2,
        }
    )
    return tiny_base


def curve(name: str, column: str = "loss") -> list[tuple[int, float]]:
    with open(name, newline="") as file:
        return [(int(row["step"]), float(row[column])) for row in csv.DictReader(file)]


def adapter_bytes() -> bytes:
    return (train.ADAPTER / "adapter_model.safetensors").read_bytes()


def logits(adapter: Path | None) -> torch.Tensor:
    model = load_base(Path("tiny"), loading_params("fp32", "none", True))
    with torch.inference_mode():
        return (load_adapter(model, adapter) if adapter else model)(input_ids=IDS.to(model.device)).logits


def test_a_run_writes_its_outs_and_curves_and_the_adapter_changes_the_model(ready: Path) -> None:
    train.main()
    names = ["adapter_config.json", "adapter_model.safetensors", "training.json"]
    assert sorted(path.name for path in train.ADAPTER.iterdir()) == names
    metrics = read_details(train.METRICS)
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
    from netllama.scoring.heldout import score_heldout, summarize_heldout

    run_kept(train.main)
    recorded = read_details(train.METRICS)["val_loss"]
    rows = tokenized_rows(3, seed=1)
    base = load_base(Path("tiny"), loading_params("fp32", "none", True))
    assert recorded["before"] == pytest.approx(summarize_heldout(score_heldout(base, rows), rows)["loss"], abs=1e-4)
    assert recorded["after"] == pytest.approx(
        summarize_heldout(score_heldout(load_adapter(base, train.ADAPTER), rows), rows)["loss"], abs=1e-4
    )


def test_the_adapter_config_is_canonical_and_names_the_base_by_its_id(ready: Path) -> None:
    run_kept(train.main)
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
    base = load_base(ready / "tiny", loading_params("fp32", "none", True))
    model, start = add_adapter(base, read_params().lora, 1, ready / "tiny")
    save_adapter(model, train.ADAPTER, training_record("org/name", "0" * 40), start)
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


def test_learning_rate_and_gradient_norm_are_curves_too(ready: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"train.lr_scheduler_type": "linear", "train.warmup_ratio": 0.0, "train.max_grad_norm": 0.001})
    train.main()
    assert curve("metrics/learning_rate.csv", "learning_rate") == [(1, 0.01), (2, 0.0075), (3, 0.005), (4, 0.0025)]
    norms = curve("metrics/grad_norm.csv", "grad_norm")
    assert [step for step, _ in norms] == [1, 2, 3, 4]
    assert all(norm > 0.001 for _, norm in norms), "before it is clipped"


def test_all_that_made_the_adapter_lies_beside_it_and_is_of_no_machine(
    ready: Path, set_params: Callable[..., None]
) -> None:
    set_params(**{"loading.precision": "auto"})
    train.main()
    text = (train.ADAPTER / "training.json").read_text()
    made_by = json.loads(text)
    params = read_params()
    assert made_by["lora"] == params.lora.model_dump()
    assert made_by["train"] == params.train.model_dump()
    assert made_by["loading"]["precision"] in ("bfloat16", "float16", "float32"), "what auto came to"
    assert made_by["data"]["data/tokenized/train.parquet"] == hash_file(train.TRAIN)
    assert made_by["base"] == json.loads(train.BASE.read_text())
    assert made_by["versions"]["torch"] == torch.__version__.split("+")[0]
    assert str(ready) not in text
    assert "/home" not in text


def test_speed_and_memory_are_told_and_kept_out_of_what_is_hashed(
    ready: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main()
    speed = json.loads(Path(".scratch/logs/train.json").read_text())
    assert speed["steps"] == 4
    assert speed["peak_memory_mb"]["process"] > 100
    assert speed["tokens_per_second"] > speed["trained_tokens_per_second"] > 0
    assert "tokens a second" in capsys.readouterr().out
    assert not any("second" in Path(name).read_text() for name in FILES if name.endswith((".json", ".csv")))


def test_another_process_writes_the_same_bytes_whatever_its_hash_seed(
    ready: Path, tmp_path_factory: pytest.TempPathFactory, set_params: Callable[..., None]
) -> None:
    """Precision by hardware and NF4 as shipped, dropout, rows grouped by length; two threads. Nothing noisy is said."""
    set_params(**{"loading.precision": "auto", "loading.quantization": "nf4"})
    assert read_params().lora.lora_dropout > 0
    folder = tmp_path_factory.mktemp("run") / "work"
    shutil.copytree(ready, folder)
    threads = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    run = subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=folder,
        env=os.environ | threads | {"PYTHONHASHSEED": "12345", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    torch.set_num_threads(2)
    train.main()
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    for name in FILES:
        assert Path(name).read_bytes(), name
        assert Path(name).read_bytes() == (folder / name).read_bytes(), name
    assert out.splitlines()[-1].startswith("adapter -> models/adapter/, curves -> metrics/; next: ")
    said = [line for line in err.replace("\r", "\n").splitlines() if line.strip()]
    noise = [line for line in said if not re.match(r"(\x1b\[A|\s)*train:|(\x1b\[A|\s)*$", line)]
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
    write_tokenized_rows(train.VAL, [])
    train.main()
    metrics = read_details(train.METRICS)
    assert metrics["steps"] == 4
    assert "val_loss" not in metrics
    assert curve("metrics/val_loss.csv") == []


def test_without_a_row_to_train_on_it_says_so_and_writes_nothing(ready: Path) -> None:
    write_tokenized_rows(train.TRAIN, [])
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


def test_of_several_processes_on_one_machine_the_first_alone_hashes_the_weights(
    ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """13 billion parameters are 26 GB to read, and reading them once tells."""
    from netllama.training.setup import locate_base, make_accelerator

    hashed: list[Path] = []
    monkeypatch.setattr(
        "netllama.models.model_reference.hash_file", lambda path: hashed.append(path) or hash_file(path)
    )
    accelerator = make_accelerator("fp32")
    first = locate_base(train.BASE, accelerator)
    assert {path.name for path in hashed} == set(first.reference.files) > {"model.safetensors"}
    hashed.clear()
    monkeypatch.setattr(type(accelerator), "is_local_main_process", False)
    assert locate_base(train.BASE, accelerator) == first
    assert hashed == []


def test_a_changed_base_model_is_refused(ready: Path) -> None:
    (ready / "tiny" / "config.json").write_text("{}")
    with pytest.raises(StageError, match=r"^tiny/config\.json: not the file that models/base\.json records"):
        train.main()


@pytest.mark.parametrize("optim", ["adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit"])
def test_every_optimizer_trains_on_the_cpu_to_nearly_the_same_end(
    ready: Path, set_params: Callable[..., None], optim: str
) -> None:
    run_kept(train.main)
    fused = logits(train.ADAPTER)
    set_params(**{"train.optim": optim})
    train.main()
    moved = (fused - logits(None)).abs().max()
    assert moved > 1e-3
    assert (logits(train.ADAPTER) - fused).abs().max() < (0.3 if optim.endswith("8bit") else 0.02) * moved


# --- a killed run


class Killed(Exception):
    """Ends the stage in a test: nothing of it runs from there on but `finally`."""


def kill_at(step: int, before: bool = False) -> None:
    """Run the stage in this process up to just after (or just before) the checkpoint of `step`."""
    save = Checkpoints.save

    def save_and_die(self: Checkpoints, checkpoint: Checkpoint) -> None:
        if not (before and checkpoint.state.step == step):
            save(self, checkpoint)
        if checkpoint.state.step == step:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            train.main()
    assert not any(Path(name).exists() for name in FILES)


KILL_ITSELF = """
import os, signal
from stages import train
from netllama.training.checkpoints import Checkpoints

save = Checkpoints.save

def save_and_die(self, checkpoint):
    save(self, checkpoint)
    if checkpoint.state.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save = save_and_die
train.main()
"""


def assert_it_goes_on_to_the_bytes_of_an_undisturbed_run(after: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The stage, run again after its kill, and run once more from the start."""
    capsys.readouterr()
    train.main()
    assert (f"goes on after step {after} of 4" in capsys.readouterr().out) == (after > 0)
    resumed = {name: Path(name).read_bytes() for name in FILES}
    assert not list(Path(".scratch/train").glob("*/")), "no checkpoint is left"
    torch.manual_seed(99)  # a new process has another state than the one that was killed
    train.main()
    assert "goes on" not in capsys.readouterr().out
    assert {name: Path(name).read_bytes() for name in FILES} == resumed


@pytest.mark.parametrize(("step", "before"), [(1, True), (1, False), (2, True), (2, False), (3, True)])
def test_a_run_that_ends_at_any_step_goes_on_and_ends_with_the_bytes_of_an_undisturbed_one(
    ready: Path, set_params: Callable[..., None], capsys: pytest.CaptureFixture[str], step: int, before: bool
) -> None:
    set_params(**{"train.save_steps": 1, "lora.lora_dropout": 0.2})
    kill_at(step, before)
    assert_it_goes_on_to_the_bytes_of_an_undisturbed_run(step - before, capsys)


def test_a_run_killed_by_sigkill_goes_on_and_ends_with_the_bytes_of_an_undisturbed_one(
    ready: Path, set_params: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    set_params(**{"train.save_steps": 1, "lora.lora_dropout": 0.2})
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILL_ITSELF]
    done = subprocess.run(command, cwd=ready, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not any(Path(name).exists() for name in FILES)
    assert_it_goes_on_to_the_bytes_of_an_undisturbed_run(3, capsys)


@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    ready: Path, set_params: Callable[..., None], capsys: pytest.CaptureFixture[str], left: int
) -> None:
    set_params(**{"train.save_steps": 1, "lora.lora_dropout": 0.2})
    kill_at(3)
    [last] = Path(".scratch/train").glob("*/step-00000003")
    (last / "state.pt").write_bytes((last / "state.pt").read_bytes()[:left])
    train.main()
    said = capsys.readouterr().out
    assert f"{last}: a damaged checkpoint, which is left as it is; the one before it is used if any\n" in said
    assert "goes on after step 2 of 4" in said
    resumed = {name: Path(name).read_bytes() for name in FILES}
    train.main()
    assert {name: Path(name).read_bytes() for name in FILES} == resumed


def test_what_the_allocator_of_the_cpu_says_is_known_as_full_memory() -> None:
    with pytest.raises(RuntimeError) as full:
        torch.empty(10**16, device="cpu")
    assert train.is_out_of_memory(full.value)
    assert not train.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    "change", [{"lora.r": 8}, {"train.learning_rate": 0.02}, {"train.seed": 7}, {"loading.quantization": "nf4"}]
)
def test_a_changed_param_starts_again(
    ready: Path, set_params: Callable[..., None], capsys: pytest.CaptureFixture[str], change: dict[str, Any]
) -> None:
    set_params(**{"train.save_steps": 1})
    kill_at(2)
    set_params(**change)
    train.main()
    assert "goes on" not in capsys.readouterr().out
    assert len(curve("metrics/train_loss.csv")) == 4


def test_changed_rows_start_again(
    ready: Path,
    set_params: Callable[..., None],
    tokenized_rows: Callable[..., Rows],
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_params(**{"train.save_steps": 1})
    kill_at(2)
    write_tokenized_rows(train.TRAIN, tokenized_rows(12, seed=5))
    train.main()
    assert "goes on" not in capsys.readouterr().out


def test_no_other_run_with_the_same_settings_trains_at_the_same_time(
    ready: Path, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params(**{"train.save_steps": 1})
    free: list[bool] = []

    def save(checkpoints: Checkpoints, checkpoint: Checkpoint) -> None:
        free.append(is_free(checkpoints.folder.with_suffix(".lock")))

    monkeypatch.setattr(Checkpoints, "save", save)
    train.main()
    assert free == [False] * 3
    assert [is_free(lock) for lock in Path(".scratch/train").glob("*.lock")] == [True]


def is_free(lock: Path) -> bool:
    """Whether another process would get the lock now."""
    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# --- several processes


@pytest.mark.slow
def test_the_stage_runs_under_a_launcher_and_writes_once_what_one_process_writes(
    ready: Path, set_params: Callable[..., None]
) -> None:
    """Two gloo processes on the CPU (accelerate's own launcher needs MPI there): half the batch on each."""
    set_params(**{"train.per_device_train_batch_size": 4, "lora.lora_dropout": 0.0})
    train.main()
    losses, adapter = curve("metrics/train_loss.csv"), logits(train.ADAPTER)
    set_params(**{"train.per_device_train_batch_size": 2})
    launcher = ["torchrun", "--standalone", "--nproc_per_node", "2"]
    command = [str(Path(sys.executable).parent / launcher[0]), *launcher[1:], "-m", "stages.train"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ready, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("adapter -> models/adapter/") == 1
    found = curve("metrics/train_loss.csv")
    assert [step for step, _ in found] == [step for step, _ in losses]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in losses], abs=1e-4)
    torch.testing.assert_close(logits(train.ADAPTER), adapter, rtol=1e-2, atol=2e-3)
    assert json.loads((train.ADAPTER / "training.json").read_text())["processes"] == 2


@pytest.mark.parametrize("name", ["ddp", "fsdp-qlora"])
def test_a_committed_launch_configuration_is_one_that_accelerate_takes(name: str) -> None:
    from accelerate.commands.config import load_config_from_file

    config = load_config_from_file(str(ROOT / "profiles" / "launch" / f"{name}.yaml"))
    assert config.distributed_type.value == {"ddp": "MULTI_GPU", "fsdp-qlora": "FSDP"}[name]
    assert config.num_processes > 1
