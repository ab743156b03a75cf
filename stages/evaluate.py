"""The tuned model's answers and scores, and what the training changed: better, worse, or not to be told.

Reads  models/adapter/, models/base.json, models/tokenizer/, data/tokenized/test.parquet, data/questions/,
       metrics/baseline.json, results/base.jsonl, params `loading`, `prompt`, `evaluate`
Writes results/tuned.jsonl (every answer), results/comparison.json (base against tuned, suite by suite),
       metrics/evaluate.json (with `delta`: tuned - base, and the verdicts)
Run    python -m stages.evaluate
"""

from pathlib import Path

from netllama.core.errors import run_stage
from netllama.core.files import read_jsonl, write_json, write_jsonl
from netllama.core.metrics import read_details, write_metrics
from netllama.core.params import View
from netllama.core.records import parse_as
from netllama.core.sections import EvaluateParams, LoadingParams, PromptParams
from netllama.models.loading import load_adapter, load_base
from netllama.models.model_reference import locate_model
from netllama.models.precision import describe_precision
from netllama.models.training_record import read_training_record
from netllama.rendering.renderer import require_same_template
from netllama.scoring.comparison import as_rows, compare_models
from netllama.scoring.measure import load_material, measure_model, subtract_metrics
from netllama.scoring.score import SHOWN_NUMBERS, Numbers, Score, find_number, select_numbers
from netllama.statistics.verdicts import count_verdicts

ADAPTER = Path("models/adapter")
BASE = Path("models/base.json")
TOKENIZER = Path("models/tokenizer")
TOKENIZED = Path("data/tokenized/test.parquet")
QUESTIONS = Path("data/questions")
BASELINE = Path("metrics/baseline.json")
BASE_ANSWERS = Path("results/base.jsonl")
ANSWERS = Path("results/tuned.jsonl")
COMPARISON = Path("results/comparison.json")
METRICS = Path("metrics/evaluate.json")
HEADLINES = (
    "heldout.loss",
    "heldout.perplexity",
    "choice.accuracy",
    "true_false.accuracy",
    "blank.accuracy",
    "blank.ranked_first",
    "open.key_facts",
    "generation.rougeL",
    "code.pass_at_1",
    "code.climbed",
    "general.accuracy",
)


class Needs(View):
    """The params of this stage."""

    loading: LoadingParams
    prompt: PromptParams
    evaluate: EvaluateParams


def render_table(tuned: Numbers, base: Numbers) -> str:
    """The headline numbers, base and tuned side by side."""
    rows = [f"{'':24}{'base':>10}{'tuned':>10}"]
    for key in HEADLINES:
        before, after = find_number(base, key), find_number(tuned, key)
        if before is not None and after is not None:
            rows.append(f"{key:24}{before:10.4f}{after:10.4f}")
    return "\n".join(rows)


def main() -> None:
    needs = Needs.load()
    baseline: Numbers = read_details(BASELINE)
    before = read_jsonl(BASE_ANSWERS, lambda row: parse_as(Score, row))
    material = load_material(TOKENIZED, QUESTIONS, TOKENIZER, needs.prompt, needs.evaluate)
    require_same_template(read_training_record(ADAPTER).template_hash, material.renderer, str(ADAPTER))
    print(describe_precision(needs.loading.precision), flush=True)
    base = load_base(locate_model(BASE).folder, needs.loading)
    metrics, scores = measure_model(load_adapter(base, ADAPTER), material)
    comparisons = compare_models(before, scores)
    write_jsonl(ANSWERS, (score.model_dump() for score in scores))
    write_json(COMPARISON, as_rows(comparisons))
    shown = {**select_numbers(metrics, SHOWN_NUMBERS), **count_verdicts(comparisons)}
    verdicts = {each.suite: each.verdict for each in comparisons}
    write_metrics(METRICS, shown, {**metrics, "delta": subtract_metrics(metrics, baseline), "verdicts": verdicts})
    print(render_table(metrics, baseline))
    print(f"tuned: {len(scores)} answers -> {ANSWERS}, scores -> {METRICS}, tests -> {COMPARISON}")


if __name__ == "__main__":
    run_stage(main)
