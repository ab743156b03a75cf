"""The tuned model's answers and scores, and what the training changed: better, worse, or not to be told.

Reads  models/adapter/, models/base.json, models/tokenizer/, data/tokenized/test.parquet, data/splits/train.jsonl,
       data/questions/, data/retrieved/ (val.jsonl: by which it is decided how readily it refuses),
       metrics/baseline.json, results/base.jsonl,
       params `loading`, `prompt`, `contamination`, `evaluate`
Writes results/contamination.jsonl (questions that the training data share text with),
       results/refusals.json (how readily the tuned model refuses, for `ask`, too),
       results/tuned.jsonl (every answer), results/comparison.json (base against tuned, suite by suite),
       metrics/evaluate.json (with `delta`: tuned - base, and the verdicts)
Run    python -m stages.evaluate
"""

from pathlib import Path
from typing import TYPE_CHECKING

from netllama.contamination.question_overlap import describe_overlaps, find_overlaps
from netllama.core.errors import run_stage
from netllama.core.files import (
    ensure_scratch_folder,
    iter_jsonl,
    read_jsonl,
    write_findings,
    write_json,
    write_jsonl,
)
from netllama.core.metrics import read_numeric_details, write_metrics
from netllama.core.params import View
from netllama.core.records import parse_as, parse_instruction
from netllama.core.sections import ContaminationParams, EvaluateParams, LoadingParams, PromptParams
from netllama.models.adapter_effect import require_effect
from netllama.models.loading import load_adapter, load_base
from netllama.models.model_reference import locate_model
from netllama.models.precision import describe_precision
from netllama.models.training_record import read_training_record
from netllama.rendering.renderer import Renderer, require_same_template
from netllama.scoring.bias_choice import balance_refusals
from netllama.scoring.clean_items import compare_clean, describe_clean, note_suites
from netllama.scoring.comparison import as_rows, compare_groups, group_pairs, pair_scores
from netllama.scoring.kept_answers import ADAPTER_FILES, KeptAnswers, identify_model
from netllama.scoring.material import MaterialFiles, load_material
from netllama.scoring.measure import measure_model, subtract_metrics
from netllama.scoring.reading_scores import load_reading
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.scoring.score import SHOWN_NUMBERS, Numbers, Score, find_number, select_numbers
from netllama.statistics.verdicts import count_verdicts

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

ADAPTER = Path("models/adapter")
BASE = Path("models/base.json")
TOKENIZER = Path("models/tokenizer")
TOKENIZED = Path("data/tokenized/test.parquet")
TRAIN = Path("data/splits/train.jsonl")
QUESTIONS = Path("data/questions")
ASKED = Path("data/retrieved/questions.jsonl")
VAL = Path("data/retrieved/val.jsonl")
CHUNKS = Path("data/retrieved/chunks.jsonl")
BASELINE = Path("metrics/baseline.json")
BASE_ANSWERS = Path("results/base.jsonl")
ANSWERS = Path("results/tuned.jsonl")
COMPARISON = Path("results/comparison.json")
CONTAMINATION = Path("results/contamination.jsonl")
REFUSALS = Path("results/refusals.json")
METRICS = Path("metrics/evaluate.json")
NO_BALANCE = "refuses as it does by itself: evaluate.num_val_reports is 0, or no task on reports is trained on"
PROBE = "Which attribute of a BGP route lists the systems that it has passed?"
"""What shows whether the adapter changes anything at all."""
HEADLINES = (
    "heldout.loss",
    "heldout.perplexity",
    "choice.accuracy",
    "choice.accuracy_listed",
    "choice.follows_position",
    "true_false.accuracy",
    "true_false.accuracy_balanced",
    "blank.accuracy",
    "blank.ranked_first",
    "open.key_facts",
    "generation.rougeL",
    "code.pass_at_1",
    "code.climbed",
    "code_samples.pass_at_1",
    "reading.closed.accuracy",
    "reading.retrieved.accuracy",
    "reading.right_refusals",
    "reading.false_refusals",
    "reading.choice_retrieved.accuracy",
    "programs.accuracy",
    "general.accuracy",
)
BASELINES = {"chance": "guessing", "majority": "always the same", "longest_option": "longest option"}
"""What answers without knowledge are called, by their keys."""


class Needs(View):
    """The params of this stage."""

    loading: LoadingParams
    prompt: PromptParams
    contamination: ContaminationParams
    evaluate: EvaluateParams


def render_table(tuned: Numbers, base: Numbers) -> str:
    """The headline numbers, base and tuned side by side; of closed questions what they get who know nothing, too."""
    rows = [f"{'':34}{'base':>10}{'tuned':>10}"]
    for key in HEADLINES:
        before, after = find_number(base, key), find_number(tuned, key)
        if before is not None and after is not None:
            guesses = {name: _find_guess(tuned, key, name) for name in BASELINES}
            said = ", ".join(
                f"{BASELINES[name]} {number:.4f}" for name, number in guesses.items() if number is not None
            )
            rows.append(f"{key:34}{before:10.4f}{after:10.4f}   {said}".rstrip())
    return "\n".join(rows)


def _find_guess(metrics: Numbers, key: str, name: str) -> float | None:
    """What guessing in the way `name` gets of the number under `key`; its group's where it has none of its own."""
    own = find_number(metrics, f"{key}_{name}")
    return find_number(metrics, f"{key.split('.')[0]}.{name}") if own is None else own


def balance(model: "LanguageModel", renderer: Renderer, params: EvaluateParams) -> RefusalBalance | None:
    """How readily the tuned model refuses, written for `ask`, too."""
    asked = load_reading(VAL, CHUNKS, [], params.num_val_reports, 0)
    found = balance_refusals(model, asked, renderer, params.max_false_refusals, ADAPTER)
    write_json(REFUSALS, found.model_dump() if found else {"none": NO_BALANCE})
    if found:
        print(found.describe(), flush=True)
    return found


def main() -> None:
    needs = Needs.load()
    baseline: Numbers = read_numeric_details(BASELINE)
    before = read_jsonl(BASE_ANSWERS, lambda row: parse_as(Score, row))
    material = load_material(
        MaterialFiles(TOKENIZED, QUESTIONS, ASKED, CHUNKS, TOKENIZER), needs.prompt, needs.evaluate
    )
    require_same_template(read_training_record(ADAPTER).template_hash, material.renderer, str(ADAPTER))
    overlaps = find_overlaps(material.questions, iter_jsonl(TRAIN, parse_instruction), needs.contamination)
    print(describe_precision(needs.loading.precision), flush=True)
    base = load_base(locate_model(BASE).folder, needs.loading)
    model = load_adapter(base, ADAPTER)
    require_effect(model, [material.renderer.encode_prompt(PROBE)], ADAPTER)
    weights = [BASE, *(path for path in sorted(ADAPTER.iterdir()) if path.name in ADAPTER_FILES)]
    kept = KeptAnswers(ensure_scratch_folder("answers"), identify_model(weights, needs.loading))
    refusals = balance(model, material.renderer, needs.evaluate)
    metrics, scores = measure_model(model, material, kept, refusals)
    pairs = pair_scores(before, scores)
    comparisons = compare_groups(group_pairs(pairs))
    clean = compare_clean(pairs, {overlap.question for overlap in overlaps})
    write_jsonl(ANSWERS, (score.model_dump() for score in scores))
    write_findings(CONTAMINATION, (each.as_row() for each in overlaps), none="no question is found in train")
    write_json(COMPARISON, as_rows(comparisons, note_suites(pairs, clean)))
    shown = {**select_numbers(metrics, SHOWN_NUMBERS), **count_verdicts(comparisons)}
    verdicts = {each.suite: each.verdict for each in comparisons}
    write_metrics(METRICS, shown, {**metrics, "delta": subtract_metrics(metrics, baseline), "verdicts": verdicts})
    print(render_table(metrics, baseline))
    found = describe_overlaps(overlaps, len(material.questions), needs.contamination)
    print(f"{found} -> {CONTAMINATION}; {describe_clean(comparisons, clean)}" if overlaps else found)
    print(f"tuned: {len(scores)} answers -> {ANSWERS}, scores -> {METRICS}, tests -> {COMPARISON}")


if __name__ == "__main__":
    run_stage(main, __doc__)
