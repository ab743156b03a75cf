"""Turns prompts and seed tasks into instructions: Self-Instruct through an OpenAI-compatible API.

Reads  data/prompts/F.txt, data/seeds/F.jsonl for each family, data/questions/ (which no instruction may give
       away), data/recorded/ (answers to replay, runs of scripts, notes to check answers against), params
       `families`, `generate`, `teacher`, `filters`, `contamination`
Writes data/generated/instructions.jsonl, rejected.jsonl (with reasons), responses.jsonl (the answers used), runs.jsonl
       (what came of the scripts in tasks), metrics/generate.json, metrics/generate_funnel.csv
Run    python -m stages.generate [--estimate | --promote]

Recorded answers are replayed: offline, free, the same bytes everywhere. All other requests go to the teacher, and each
answer is stored in .scratch/responses/ before it is used, so that a killed run continues where it stopped.
--estimate prints what a run would ask and cost, and sends nothing.
--promote copies the answers and the scripts' runs of the last run to data/recorded/, for everybody else to replay.
"""

import argparse
import asyncio
from pathlib import Path

from tqdm import tqdm

from netllama.code_checks.code_runner import CodeRunner
from netllama.code_checks.run_store import RunStore
from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, has_findings, read_text, write_csv, write_findings, write_text
from netllama.core.generate_section import FilterParams, GenerateParams
from netllama.core.metrics import write_metrics
from netllama.core.param_types import Families
from netllama.core.params import View
from netllama.core.records import load_content
from netllama.core.sections import ContaminationParams
from netllama.core.teacher_section import TeacherParams
from netllama.selfinstruct.agreement_estimate import estimate_checks
from netllama.selfinstruct.checked_notes import CheckedNotes, load_notes
from netllama.selfinstruct.estimate import estimate_family, format_estimates, judge_stored_rounds
from netllama.selfinstruct.repair_estimate import estimate_repairs
from netllama.selfinstruct.rounds import Family, grow_families
from netllama.selfinstruct.run_checks import RUNS
from netllama.selfinstruct.run_report import describe_runs
from netllama.selfinstruct.second_answers import AGREES
from netllama.selfinstruct.yield_report import build_funnel, build_yield_report, describe_barren, describe_findings
from netllama.teacher.budget import BATCH, Prices
from netllama.teacher.store import Request, Response, ResponseStore
from netllama.teacher.teacher_choice import make_budget, make_teacher

PROMPTS = Path("data/prompts")
SEEDS = Path("data/seeds")
QUESTIONS = Path("data/questions")
RECORDED = Path("data/recorded")
NOTES = RECORDED / "notes" / "chunks.jsonl"
RECORDED_RUNS = RECORDED / "code" / "runs.jsonl"
INSTRUCTIONS = Path("data/generated/instructions.jsonl")
REJECTED = Path("data/generated/rejected.jsonl")
RESPONSES = Path("data/generated/responses.jsonl")
CODE_RUNS = Path("data/generated/runs.jsonl")
METRICS = Path("metrics/generate.json")
FUNNEL = Path("metrics/generate_funnel.csv")


class Needs(View):
    """The params of this stage."""

    families: Families
    generate: GenerateParams
    teacher: TeacherParams
    filters: FilterParams
    contamination: ContaminationParams


def load_families(needs: Needs) -> list[Family]:
    """All families; reads all their files before the first request is sent."""
    for key in ("required_imports", "runs_families", "agrees_families"):
        for entry in getattr(needs.filters, key):
            prompt = PROMPTS / f"{entry.partition('=')[0]}.txt"
            if not prompt.exists():
                raise StageError(f"params.yaml: filters.{key}: {entry!r} names a family without {prompt}")
    directives = {}
    for name in needs.families:
        directives[name] = read_text(PROMPTS / f"{name}.txt").strip()
        if not directives[name]:
            raise StageError(f"{PROMPTS / name}.txt: is empty; describe what a good task of {name} is")
    seeds, questions = load_content(SEEDS, QUESTIONS, needs.families)
    evaluation = Evaluation(questions, needs.contamination)
    notes = load_notes(NOTES) if AGREES in needs.filters.enabled else CheckedNotes()
    runner = None
    if RUNS in needs.filters.enabled:
        runner = CodeRunner(RunStore(ensure_scratch_folder("runs"), RECORDED_RUNS))
    growth = needs.generate, needs.teacher, needs.filters
    return [
        Family(name, directives[name], seeds[name], evaluation, *growth, notes=notes, runner=runner)
        for name in needs.families
    ]


async def generate(families: list[Family], needs: Needs, store: ResponseStore) -> str:
    """Grow all families behind a progress bar; returns a line about what was asked, replayed and paid."""
    total = needs.generate.num_instructions_to_generate * len(families)
    budget = make_budget(needs.teacher, store)
    async with make_teacher(needs.teacher, store, budget) as teacher:
        with tqdm(total=total, unit="task", desc="generate") as bar:

            def report() -> None:
                rejected = sum(len(family.rejected) for family in families)
                bar.update(sum(len(family.kept) for family in families) - bar.n)
                paid = {"usd": f"{budget.spent:.4f}"} if budget.prices else {}
                bar.set_postfix(rejected=rejected, asked=teacher.asked, replayed=teacher.replayed, **paid)

            teacher.on_answer = report
            paid_for = await grow_families(families, teacher, report)
    log = f"{teacher.asked} answers from the teacher, {teacher.replayed} replayed"
    log += budget.describe_spent(response for family in families for response in family.all_responses)
    if not paid_for:
        log += f"; {budget.describe_end('teacher')}"
    return log


def write_outs(families: list[Family], prices: Prices | None, store: ResponseStore) -> None:
    kept_rows = (row.model_dump() for family in families for row in family.kept)
    rejected_rows = (row.model_dump() for family in families for row in family.rejected)
    responses = (response.model_dump() for family in families for response in family.all_responses)
    runs = {key: run for family in families if family.runner for key, run in family.runner.used.items()}
    write_findings(INSTRUCTIONS, kept_rows, none="no task was generated")
    write_findings(REJECTED, rejected_rows, none="no generated task was rejected")
    write_findings(RESPONSES, responses, none="the teacher gave no answer")
    write_findings(CODE_RUNS, (runs[key].model_dump() for key in sorted(runs)), none="no script was run")
    kept = sum(len(family.kept) for family in families)
    write_metrics(METRICS, {"kept": kept}, build_yield_report(families, prices, store.is_recorded))
    write_csv(FUNNEL, build_funnel(families))


def print_estimate(families: list[Family], params: TeacherParams, store: ResponseStore) -> None:
    budget = make_budget(params, store)
    budget.look_around()
    rows = []
    for family in families:
        rows.append(tasks := estimate_family(family, store))
        rows += filter(None, (estimate_repairs(family, tasks, store), estimate_checks(family, tasks, store)))
    for family in families:
        asked: list[Request | Response] = [*family.all_responses, *judge_stored_rounds(family, store)]
        for one in asked:
            budget.count_bought(store.list_bought(one))
    print(format_estimates(rows, budget, BATCH if params.mode == "batch" else params.service_tier or ""))


def promote_answers() -> None:
    """Make what the last run was answered, and its scripts' runs, part of the repository, in place of those before."""
    sources = {RECORDED / "responses.jsonl": RESPONSES, RECORDED_RUNS: CODE_RUNS}
    promoted = {recorded: read_text(source) if has_findings(source) else "" for recorded, source in sources.items()}
    for recorded, text in promoted.items():
        recorded.parent.mkdir(exist_ok=True)
        write_text(recorded, text)
        print(f"{recorded}: written; commit it, so that a fresh clone replays it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--estimate", action="store_true", help="print what a run would ask and cost; sends nothing")
    action.add_argument("--promote", action="store_true", help="copy the last run's answers to data/recorded/")
    arguments = parser.parse_args()
    if arguments.promote:
        return promote_answers()
    needs = Needs.load()
    params = needs.generate
    families = load_families(needs)
    store = ResponseStore(ensure_scratch_folder("responses") / "responses.jsonl", sorted(RECORDED.glob("*.jsonl")))
    if arguments.estimate:
        return print_estimate(families, needs.teacher, store)
    prices = make_budget(needs.teacher).prices
    try:
        log = asyncio.run(generate(families, needs, store))
    except StageError as error:
        if not any(family.responses for family in families):
            raise
        write_outs(families, prices, store)
        raise StageError(f"{error} (kept so far: {sum(len(f.kept) for f in families)} -> {INSTRUCTIONS})") from None
    write_outs(families, prices, store)
    if barren := describe_barren(families):
        raise StageError(f"{barren}. The answers stay stored; all rejected tasks: {REJECTED}")
    for family in families:
        short = params.num_instructions_to_generate - len(family.kept)
        if short > 0 and len(family.responses) >= params.max_requests:
            limit = f"generate.max_requests={params.max_requests}"
            print(f"{family.name}: {short} instructions missing after {limit}; raise it for more")
    print(f"{log}; kept {sum(len(family.kept) for family in families)} -> {INSTRUCTIONS}, rejected -> {REJECTED}")
    for found in filter(None, (describe_runs(families), describe_findings(families))):
        print(found)
    print(f"yield and reasons: {METRICS}, funnel: dvc plots show")


if __name__ == "__main__":
    run_stage(main)
