"""The base model's answers and scores: what the tuned model is compared with.

Reads  models/base.json, models/tokenizer/, data/tokenized/test.parquet, data/questions/, data/retrieved/,
       params `loading`, `prompt`, `evaluate`
Writes results/base.jsonl (every answer), metrics/baseline.json
Run    python -m stages.baseline

A stage of its own, because no LoRA experiment changes it: it runs once for all of them.
"""

from pathlib import Path

from netllama.core.errors import run_stage
from netllama.core.files import ensure_scratch_folder, write_jsonl
from netllama.core.metrics import write_metrics
from netllama.core.params import View
from netllama.core.sections import EvaluateParams, LoadingParams, PromptParams
from netllama.models.loading import load_base
from netllama.models.model_reference import locate_model
from netllama.models.precision import describe_precision
from netllama.scoring.kept_answers import KeptAnswers, identify_model
from netllama.scoring.material import MaterialFiles, load_material
from netllama.scoring.measure import measure_model

BASE = Path("models/base.json")
TOKENIZER = Path("models/tokenizer")
TOKENIZED = Path("data/tokenized/test.parquet")
QUESTIONS = Path("data/questions")
ASKED = Path("data/retrieved/questions.jsonl")
CHUNKS = Path("data/retrieved/chunks.jsonl")
ANSWERS = Path("results/base.jsonl")
METRICS = Path("metrics/baseline.json")


class Needs(View):
    """The params of this stage."""

    loading: LoadingParams
    prompt: PromptParams
    evaluate: EvaluateParams


def main() -> None:
    needs = Needs.load()
    material = load_material(
        MaterialFiles(TOKENIZED, QUESTIONS, ASKED, CHUNKS, TOKENIZER), needs.prompt, needs.evaluate
    )
    print(describe_precision(needs.loading.precision), flush=True)
    model = load_base(locate_model(BASE).folder, needs.loading)
    kept = KeptAnswers(ensure_scratch_folder("answers"), identify_model([BASE], needs.loading))
    metrics, scores = measure_model(model, material, kept)
    kept.remove_old()
    write_jsonl(ANSWERS, (score.model_dump() for score in scores))
    write_metrics(METRICS, {}, metrics)
    print(f"base: {len(scores)} answers -> {ANSWERS}, scores -> {METRICS}")


if __name__ == "__main__":
    run_stage(main, __doc__)
