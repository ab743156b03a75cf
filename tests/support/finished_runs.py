"""A run of the tiny model as `dvc repro` leaves it, for what publishes it: adapter, numbers and dvc.lock."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from netllama.core.files import read_json, write_json
from netllama.core.metrics import write_metrics
from netllama.core.params import read_params
from netllama.models.model_reference import ModelReference
from netllama.models.training_record import TrainingRecord
from netllama.rendering.renderer import load_renderer
from netllama.scoring.comparison import NAMES, as_rows
from netllama.statistics.intervals import IntervalEstimate
from netllama.statistics.verdicts import SuiteComparison, Verdict
from tests.support.kept_adapters import write_kept_adapter

ADAPTER, BASE, TOKENIZER = Path("models/adapter"), Path("models/base.json"), Path("models/tokenizer")
COMPARISON, REFUSALS, LOCK = Path("results/comparison.json"), Path("results/refusals.json"), Path("dvc.lock")
METRICS = [
    Path(f"metrics/{name}.json")
    for name in ["baseline", "evaluate", "generate", "retrieve", "split", "tokenize", "train"]
]


def compared(suite: str, base: float, tuned: float, verdict: Verdict, half: float = 0.05) -> SuiteComparison:
    """Intervals of `half` to each side."""
    sides = [IntervalEstimate(value, value - half, value + half) for value in (base, tuned, tuned - base)]
    return SuiteComparison(suite, 40, 38, *sides, "mcnemar", 0.01, 0.04, 0.07, verdict)


COMPARISONS = [
    compared(NAMES["heldout"], 3.0655, 2.4658, "better"),
    compared(NAMES["choice"], 0.2276, 0.2244, "inconclusive"),
    compared("general questions", 0.38, 0.21, "worse"),
]
SPLIT: dict[str, Any] = {
    "rows": {"train": 241, "val": 24, "test": 48},
    "source": {
        "train": {"seed": 208, "generated": 33},
        "val": {"seed": 23, "generated": 1},
        "test": {"seed": 42, "generated": 6},
    },
    "leakage": {
        "val": {"leaked": 0, "max_similarity": 0.5865},
        "test": {"leaked": 1, "max_similarity": 0.6392},
        "questions": {"leaked": 0, "max_similarity": 0.561},
    },
}
RETRIEVE = {"training_tasks": 860, "questions": 462, "dropped_files": 0}
TOKENIZE = {side: {"rows": rows, "dropped_too_long": 0} for side, rows in [("train", 1101), ("val", 24), ("test", 48)]}
TRAIN = {
    "steps": 40,
    "epochs": 0.6515,
    "trainable_parameters": 4884480,
    "val_loss": {"before": 2.992563, "after": 2.411203},
}


def make_record(base: ModelReference, template_hash: str) -> TrainingRecord:
    params = read_params()
    return TrainingRecord(
        base=base,
        data={"data/tokenized/train.parquet": "0" * 64},
        template_hash=template_hash,
        loading=params.loading.model_dump() | {"precision": "float32"},
        lora=params.lora.model_dump(),
        train=params.train.model_dump(),
        device="cpu",
        processes=1,
        versions={"torch": "2.13.0"},
    )


def write_adapter(scale: float = 0.5) -> None:
    """models/adapter/ for the base of models/base.json, in the folder tiny/; its B matrices are random."""
    made_of = (scale, read_json(BASE), Path("params.yaml").read_text(encoding="utf-8"), hash_tree(TOKENIZER))
    write_kept_adapter(ADAPTER, lambda: draw_adapter(scale), *made_of)


def draw_adapter(scale: float) -> None:
    import torch

    from netllama.models.loading import load_base
    from netllama.training.adapter import add_adapter, save_adapter
    from tests.support.training_runs import loading_params, lora_params

    template = load_renderer(TOKENIZER, read_params().prompt).fingerprint
    torch.manual_seed(int(scale * 100))
    base = load_base(Path("tiny"), loading_params("fp32", "none", True))
    model, start = add_adapter(base, lora_params(), 1, Path("tiny"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_().mul_(scale)
    reference = ModelReference.model_validate(read_json(BASE))
    save_adapter(model, ADAPTER, make_record(reference, template), start)


def write_numbers(comparisons: list[SuiteComparison] | None = None) -> None:
    """metrics/, results/comparison.json and results/refusals.json."""
    numbers: dict[str, Any] = {path.stem: {} for path in METRICS}
    numbers |= {"split": SPLIT, "retrieve": RETRIEVE, "tokenize": TOKENIZE, "train": TRAIN}
    numbers |= {"evaluate": {"choice": {"chance": 0.25, "accuracy": 0.2244}}}
    for path in METRICS:
        write_metrics(path, {}, numbers[path.stem])
    write_json(COMPARISON, as_rows(COMPARISONS if comparisons is None else comparisons))
    write_json(REFUSALS, {"none": "the test asked nothing with documents"})


def write_lock() -> None:
    """dvc.lock as DVC writes it for what is there now (hashed here anew, not by what is tested)."""

    def entry(path: Path) -> dict[str, str]:
        return {"path": path.as_posix(), "hash": "md5", "md5": hash_tree(path)}

    data = [{"path": "data/seeds", "hash": "md5", "md5": "1" * 32 + ".dir"}]
    params = read_params().model_dump(mode="json", include={"families", "teacher"})
    stages = {
        "generate": {"cmd": "python -m stages.generate", "params": {"params.yaml": params}},
        "train": {"cmd": "python -m stages.train", "deps": data, "outs": [entry(ADAPTER)]},
        "evaluate": {
            "cmd": "python -m stages.evaluate",
            "deps": [entry(path) for path in (ADAPTER, BASE, TOKENIZER)],
            "outs": [entry(path) for path in (*METRICS, COMPARISON, REFUSALS)],
        },
    }
    LOCK.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def hash_tree(path: Path) -> str:
    """DVC's MD5 of a file or of a folder without folders in it."""
    if path.is_file():
        return hashlib.md5(path.read_bytes()).hexdigest()
    rows = [{"md5": hash_tree(file), "relpath": file.name} for file in sorted(path.iterdir())]
    return hashlib.md5(json.dumps(rows).encode()).hexdigest() + ".dir"


def finish_run() -> None:
    """All of it, in the workdir of `tiny_base`."""
    write_adapter()
    write_numbers()
    write_lock()
