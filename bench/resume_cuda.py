"""20 steps of the stage train with the profile llama-2-13b-chat on a random model of that shape, killed and resumed.

The stage runs twice, each time from the first to the last step: once undisturbed, once killed with SIGKILL after its
first checkpoint and started again. Compared are the loss curves and the adapters: on a CPU they must have the same
bytes; the sums of a GPU differ from run to run, so its losses may be a hundredth apart.

Run    python -m bench.resume_cuda [--shape 13B] [--folder /big/disk]     26 GB of disk at the 13B shape
       python -m bench.resume_cuda --shape tiny       on a CPU, too, to test this script
"""

import argparse
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from bench.random_llamas import SHAPES, make_rows
from bench.train_cuda import make_tokenizer
from netllama.core.files import hash_file, write_json
from netllama.core.tokenized_rows import TokenizedRow, build_record_batch, open_parquet_writer

ROOT = Path(__file__).parent.parent
PROFILE = ROOT / "profiles" / "llama-2-13b-chat.yaml"
STEPS, SAVED, SEED = 20, 5, 42
TOLERANCE = 0.01


def save_model(folder: Path, shape: str) -> None:
    """Random weights in bf16, drawn on the GPU where there is one."""
    from transformers import LlamaConfig, LlamaForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=2048, tie_word_embeddings=False, dtype="bfloat16")
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder, max_shard_size="5GB")
    make_tokenizer(config.vocab_size).save_pretrained(folder)


def lay_out(folder: Path, model: Path, shape: str) -> None:
    """`folder` as the stages before train leave it."""
    from netllama.models.model_reference import resolve_model

    params = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    params["model"] |= {"id": str(model), "revision": ""}
    params["train"] |= {"max_steps": STEPS, "save_steps": SAVED, "eval_steps": STEPS, "logging_steps": 1}
    if not torch.cuda.is_available():
        params["loading"]["precision"] = "auto"
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    write_json(folder / "models" / "base.json", resolve_model(str(model), "").reference.model_dump())
    vocabulary = SHAPES[shape]["vocab_size"]
    write_rows(folder / "data/tokenized/train.parquet", make_rows(200, 512, vocabulary, SEED))
    write_rows(folder / "data/tokenized/val.parquet", make_rows(8, 512, vocabulary, SEED + 1))


def write_rows(path: Path, rows: list[TokenizedRow]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_parquet_writer(path, "") as append:
        append(build_record_batch(rows))


def start_stage(folder: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen([sys.executable, "-m", "stages.train"], cwd=folder, env=environment)


def run_stage_to_its_end(folder: Path) -> None:
    start = time.perf_counter()
    if code := start_stage(folder).wait():
        raise SystemExit(f"the stage train ended with exit code {code}")
    print(f"{folder.name}: {time.perf_counter() - start:.0f} s", flush=True)


def kill_after_a_checkpoint(folder: Path) -> None:
    """Until its first checkpoint is there, then SIGKILL."""
    process = start_stage(folder)
    while process.poll() is None and not list(folder.glob(".scratch/train/*/state.pt")):
        time.sleep(0.01)
    if process.poll() is not None:
        raise SystemExit(f"the stage train ended with exit code {process.returncode} before it could be killed")
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"{folder.name}: killed after its first checkpoint", flush=True)


def read_losses(folder: Path) -> list[float]:
    with open(folder / "metrics" / "train_loss.csv", encoding="utf-8", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def compare(whole: Path, killed: Path) -> None:
    one, other = read_losses(whole), read_losses(killed)
    apart = max(abs(a - b) for a, b in zip(one, other, strict=True))
    weights = "models/adapter/adapter_model.safetensors"
    same = hash_file(whole / weights) == hash_file(killed / weights)
    print(
        f"resumed: {len(other)} losses, {apart:.6f} apart at most; adapters {'equal' if same else 'not equal'} in bytes"
    )
    if len(one) != STEPS or apart > TOLERANCE or not (same or torch.cuda.is_available()):
        raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="The stage train, killed and resumed.")
    parser.add_argument("--shape", choices=[*SHAPES], default="13B")
    parser.add_argument("--folder", type=Path, help="where the model and both runs go (a temporary folder)")
    given: Any = parser.parse_args()
    place = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        save_model(place / "model", given.shape)
        for name in ("whole", "killed"):
            lay_out(place / name, place / "model", given.shape)
        run_stage_to_its_end(place / "whole")
        kill_after_a_checkpoint(place / "killed")
        run_stage_to_its_end(place / "killed")
        compare(place / "whole", place / "killed")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
