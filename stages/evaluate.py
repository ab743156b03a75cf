"""The tuned model's answers and scores, and what the training changed.

Reads  models/adapter/, models/base.json, models/tokenizer/, data/tokenized/test.parquet,
       data/splits/test.jsonl, data/questions/, metrics/baseline.json,
       params `loading`, `prompt`, `evaluate`
Writes results/tuned.jsonl (every answer), metrics/evaluate.json (with `delta`: tuned - base)
Run    python -m stages.evaluate
"""

from pathlib import Path
from typing import Any

from netllama.core.errors import run_stage
from netllama.core.files import read_json, write_json, write_jsonl
from netllama.core.params import View
from netllama.core.sections import EvaluateParams, LoadingParams, PromptParams
from netllama.models.loading import load_adapter, load_base, read_training
from netllama.models.reference import locate
from netllama.rendering.renderer import require_same_template
from netllama.scoring.measure import Material, difference, measure

ADAPTER = Path("models/adapter")
BASE = Path("models/base.json")
TOKENIZER = Path("models/tokenizer")
TOKENIZED = Path("data/tokenized/test.parquet")
TEST = Path("data/splits/test.jsonl")
QUESTIONS = Path("data/questions")
BASELINE = Path("metrics/baseline.json")
ANSWERS = Path("results/tuned.jsonl")
METRICS = Path("metrics/evaluate.json")


class Needs(View):
    """The params of this stage."""

    loading: LoadingParams
    prompt: PromptParams
    evaluate: EvaluateParams


def table(tuned: dict[str, Any], base: dict[str, Any]) -> str:
    """The headline numbers, base and tuned side by side."""
    rows = [f"{'':24}{'base':>10}{'tuned':>10}"]
    for group, key in (
        ("heldout", "loss"),
        ("heldout", "perplexity"),
        ("choice", "accuracy"),
        ("true_false", "accuracy"),
        ("generation", "rougeL"),
    ):
        if group in tuned and group in base:
            rows.append(f"{group + '.' + key:24}{base[group][key]:10.4f}{tuned[group][key]:10.4f}")
    return "\n".join(rows)


def main() -> None:
    needs = Needs.load()
    baseline = read_json(BASELINE)
    material = Material(TOKENIZED, TEST, QUESTIONS, TOKENIZER, needs.prompt, needs.evaluate)
    require_same_template(read_training(ADAPTER)["template_hash"], material.renderer, str(ADAPTER))
    base = load_base(locate(BASE), needs.loading)
    metrics, answers = measure(load_adapter(base, ADAPTER), material)
    write_jsonl(ANSWERS, answers)
    write_json(METRICS, metrics | {"delta": difference(metrics, baseline)})
    print(table(metrics, baseline))
    print(f"tuned: {len(answers)} answers -> {ANSWERS}, scores -> {METRICS}; next: dvc metrics diff main")


if __name__ == "__main__":
    run_stage(main)
