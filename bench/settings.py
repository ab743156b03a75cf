"""Settings of the default beside each other, on networks that neither training nor evaluation has.

Each setting is trained from the committed state in a clone of its own, as `dvc repro train` does, and then asked: for
the loss on the validation split, tasks by program of a validation seed, and questions on reports of three simulated
networks of validation, most of them in wordings that training lacks. The questions of data/questions/ and the networks
of the test side are not touched: what is chosen by this table is measured with them, unseen.

"right refusals" and "false refusals" are the model's own. "told apart" is the area under the ROC curve of the logit
that opens a refusal: how well it tells documents that hold no answer from those that hold it, however often the model
refuses. 0.5: not at all. "by both" is that of this logit and the question's terms together. "right, balanced" and
"false, balanced" are both refusals with the bias that `evaluate.max_false_refusals` allows
(netllama/scoring/bias_choice.py); here it is chosen on the questions that it is counted on, which evaluate never does.

Run    python -m bench.settings [--reports N] [--programs N] [SETTING ...]
       SETTING: overrides in one word, as for `dvc exp run -S`, with blanks between them; "": the default itself.
       python -m bench.settings "" "retrieve.oracle_share=0.8" "split.program_tasks=120 train.max_steps=560"
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.hardware import describe_hardware
from netllama.core.files import hash_json, read_json, write_json
from netllama.core.metrics import read_details
from netllama.core.params import read_params
from netllama.rendering.document_texts import REFUSAL

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel
    from netllama.rendering.renderer import Renderer

SEED, NETWORKS, PER_TYPE = 1977, 3, 2
STAGES = ("fetch", "generate", "split", "retrieve", "tokenize", "train")
REPORTS, PROGRAMS = 96, 90
COLUMNS = {
    "rows": "rows",
    "by program": "by_program",
    "steps": "steps",
    "minutes": "minutes",
    "val loss": "val_loss",
    "programs right": "programs",
    "oracle": "oracle",
    "retrieved": "retrieved",
    "right refusals": "right_refusals",
    "false refusals": "false_refusals",
    "told apart": "told_apart",
    "by both": "told_apart_by_both",
    "right, balanced": "right_balanced",
    "false, balanced": "false_balanced",
}


def train_setting(clone: Path, setting: str) -> float:
    """Train in `clone`, a new clone, with the overrides of `setting`; returns the minutes of the last stage."""
    from dvc.utils.hydra import apply_overrides

    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(clone)], check=True)
    if setting:
        apply_overrides(clone / "params.yaml", setting.split())
    for stage in STAGES:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=clone, env=find_own(clone), check=True, stdout=2)
    return (time.perf_counter() - start) / 60


def find_own(clone: Path) -> dict[str, str]:
    """The environment in which `clone` runs its own code."""
    return os.environ | {"PYTHONPATH": str(clone), "DVC_ROOT": str(clone)}


def measure_setting(folder: Path, setting: str, reports: int, programs: int) -> dict[str, float]:
    """Train in a clone in `folder`, and ask."""
    clone = folder / "clone"
    minutes = train_setting(clone, f"retrieve.corpus=[] {setting}")
    asking = [sys.executable, "-m", "bench.settings", "--ask", str(folder / "found.json")]
    asking += ["--reports", str(reports), "--programs", str(programs)]
    subprocess.run(asking, cwd=clone, env=find_own(clone), check=True, stdout=2)
    found: dict[str, float] = read_json(folder / "found.json")
    trained = read_details(clone / "metrics" / "train.json")
    return {**found, "minutes": minutes, "steps": trained["steps"], "val_loss": trained["val_loss"]["after"]}


def ask_tuned(reports: int, programs: int) -> dict[str, float]:
    """What the adapter of this folder gives."""
    from netllama.core.tokenized_rows import read_tokenized_rows
    from netllama.documents.document import show_chunk
    from netllama.documents.token_counting import load_token_counter
    from netllama.models.loading import load_adapter, load_base
    from netllama.models.model_reference import locate_model
    from netllama.reading import report_material
    from netllama.reading.term_coverage import measure_missing
    from netllama.rendering.renderer import load_renderer
    from netllama.scoring.kept_answers import NOTHING_KEPT
    from netllama.scoring.material import choose_sandbox, limit_scripts
    from netllama.scoring.program_scores import ask_programs, judge_programs
    from netllama.scoring.reading_scores import ReadingMaterial, ask_reports, render_reports, score_reading
    from netllama.scoring.reading_summary import is_holding, is_lacking, summarize_reading
    from testbed.reports.report_set import make_report_set
    from testbed.tasks.task_set import make_tasks

    params, tokenizer = read_params(), Path("models/tokenizer")
    renderer = load_renderer(tokenizer, params.prompt)
    top_k = params.retrieve.top_k
    drawn = make_report_set(SEED, NETWORKS, "val", PER_TYPE, params.retrieve.report_tokens)
    chunks = report_material.make_chunks(drawn.reports, load_token_counter(tokenizer))
    found = report_material.make_questions(drawn, report_material.rank_reports(chunks, drawn, top_k), SEED, top_k)
    found.sort(key=lambda question: hash_json(question.id))
    answered = [question for question in found if question.golden][:reports]
    unanswered = [question for question in found if not question.golden][: reports // 2]
    texts = {chunk.id: show_chunk(chunk.headings, chunk.text) for chunk in chunks}
    material = ReadingMaterial([*answered, *unanswered], [], texts)
    tasks = make_tasks("train", SEED, programs)
    model = load_adapter(load_base(locate_model("models/base.json").folder, params.loading), Path("models/adapter"))
    asked = [ask_reports(material, renderer), ask_programs(tasks, renderer, params.evaluate.max_code_tokens)]
    eos = int(renderer.tokenizer.eos_token_id)
    answers = NOTHING_KEPT.write(model, [*asked[0], *asked[1]], eos, params.evaluate.batch_size)
    scores = score_reading(model, material, renderer, answers[: len(asked[0])])
    read = summarize_reading(scores)
    shown = [
        (prompt.ids, is_lacking(score), measure_missing(each.row.question, each.shown))
        for each, prompt, score in zip(render_reports(material, renderer), asked[0], scores, strict=True)
        if is_holding(score) or is_lacking(score)
    ]
    said = [renderer.decode_answer(ids) for ids in answers[len(asked[0]) :]]
    solved = judge_programs(tasks, said, choose_sandbox(False), limit_scripts(params.evaluate)) if tasks else []
    arms = {name: arm["accuracy"] for name in ("oracle", "retrieved") if isinstance(arm := read[name], dict)}
    refusals = {name: value for name in ("right_refusals", "false_refusals") if isinstance(value := read[name], float)}
    rows = read_tokenized_rows(Path("data/tokenized/train.parquet"))
    return {
        "rows": len(rows),
        "by_program": sum(row.source == "program" for row in rows),
        "programs": sum(score.value for score in solved) / max(1, len(solved)),
        **{name: float(value) for name, value in arms.items() if isinstance(value, float)},
        **refusals,
        **tell_apart(model, renderer, shown, params.evaluate.max_false_refusals),
    }


def tell_apart(
    model: "LanguageModel", renderer: "Renderer", asked: Sequence[tuple[list[int], bool, float]], most_false: float
) -> dict[str, float]:
    """How well the logit that opens a refusal tells where to refuse, alone and beside the question's terms.

    `asked`: prompts with documents, whether these lack the answer, and the share of the question's terms that they
    lack. The balance is chosen as evaluate does: on questions whose document is shown.
    """
    from sklearn.metrics import roc_auc_score

    from netllama.scoring.bias_choice import choose_bias, choose_missing_weight
    from netllama.scoring.likelihood import weigh_first_tokens

    token = int(renderer.tokenizer.encode(REFUSAL, add_special_tokens=False)[0])
    weights = weigh_first_tokens(model, [prompt for prompt, *_ in asked], token, "refusals")
    lacks, missing = [lack for _, lack, _ in asked], [share for *_, share in asked]
    by_missing = choose_missing_weight(weights, missing, lacks)
    both = [weight + by_missing * share for weight, share in zip(weights, missing, strict=True)]
    bias = choose_bias([weight for weight, lack in zip(both, lacks, strict=True) if not lack], most_false)
    refused = {
        lacking: [weight + bias > 0 for weight, lack in zip(both, lacks, strict=True) if lack == lacking]
        for lacking in (True, False)
    }
    return {
        "told_apart": float(roc_auc_score(lacks, weights)),
        "told_apart_by_both": float(roc_auc_score(lacks, both)),
        "right_balanced": sum(refused[True]) / len(refused[True]),
        "false_balanced": sum(refused[False]) / len(refused[False]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=[""], metavar="SETTING")
    parser.add_argument("--reports", type=int, default=REPORTS, help=f"questions on reports ({REPORTS})")
    parser.add_argument("--programs", type=int, default=PROGRAMS, help=f"tasks by program ({PROGRAMS})")
    parser.add_argument("--ask", type=Path, help="ask the adapter of this folder, and write the numbers to a file")
    given = parser.parse_args()
    if given.ask:
        write_json(given.ask, ask_tuned(given.reports, given.programs))
        return
    print(f"{describe_hardware()}\n\n| setting | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}", flush=True)
    for setting in given.settings:
        with tempfile.TemporaryDirectory() as folder:
            row = measure_setting(Path(folder), setting, given.reports, given.programs)
        cells = [json.dumps(round(row[name], 4)) for name in COLUMNS.values()]
        print(f"| {setting or 'as committed'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
