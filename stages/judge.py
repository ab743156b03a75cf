"""A language model's opinion on the answers to open questions: off until `judge.model_name` names one.

Reads  results/base.jsonl, results/tuned.jsonl, data/questions/, params `judge`
Writes results/verdicts.jsonl (a row a question: what the judge said in both orders), results/judge.json (the summary)
Run    python -m stages.judge

The judge sees each pair of answers twice, in both orders; where the orders disagree it is a tie. It is asked as the
teacher is: limits and budget are kept, an answer is stored in .scratch/responses/ before it is used, a killed run
continues where it stopped, and nothing is paid for twice. It decides nothing.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, load_all, read_jsonl, write_findings, write_json, write_jsonl
from netllama.core.judge_section import JudgeParams
from netllama.core.params import View
from netllama.core.records import Question, load_questions, parse_as
from netllama.judging.judge_requests import build_requests
from netllama.judging.judge_summary import JudgedPair, as_json, summarize_verdicts, write_opinion
from netllama.judging.pair_verdicts import PairVerdict, judge_pair
from netllama.scoring.comparison import pair_scores
from netllama.scoring.score import Score
from netllama.teacher.budget import BudgetReached
from netllama.teacher.store import Request, ResponseStore
from netllama.teacher.teacher_choice import make_budget, make_teacher

BASE_ANSWERS = Path("results/base.jsonl")
TUNED_ANSWERS = Path("results/tuned.jsonl")
QUESTIONS = Path("data/questions")
VERDICTS = Path("results/verdicts.jsonl")
SUMMARY = Path("results/judge.json")
OFF = "the judge is off: judge.model_name is empty"


class Needs(View):
    """The params of this stage."""

    judge: JudgeParams


def read_scores(path: Path) -> list[Score]:
    return read_jsonl(path, lambda row: parse_as(Score, row))


def load_pairs() -> list[tuple[Question, Score, Score]]:
    """The open questions that both models answered."""
    base, tuned = load_all([partial(read_scores, path) for path in (BASE_ANSWERS, TUNED_ANSWERS)])
    questions = {question.id: question for question in load_questions(QUESTIONS)}
    pairs = []
    for before, after in pair_scores(base, tuned):
        if after.kind == "open":
            if after.item not in questions:
                raise StageError(f"{TUNED_ANSWERS}: {after.item} is not in {QUESTIONS}; run `dvc repro`")
            pairs.append((questions[after.item], before, after))
    if not pairs:
        raise StageError("judge.model_name: no open question was asked; set evaluate.num_open, or leave it empty")
    return pairs


async def ask_judge(requests: Sequence[Request], params: JudgeParams, store: ResponseStore) -> str:
    """Ask what is not stored yet; a line about what was asked and paid."""
    budget, reached = make_budget(params, store), False
    async with make_teacher(params, store, budget) as judge:
        with tqdm(total=len(requests), unit="answer", desc="judge") as bar:
            judge.on_answer = lambda: bar.update(judge.asked - bar.n) and None
            try:
                await judge.ask_all(list(requests))
            except BudgetReached:
                reached = True
    line = f"judge {params.model_name}: {judge.asked} answers, {judge.replayed} were stored before"
    line += budget.describe_spent(filter(None, map(store.find, requests)))
    return f"{line}; {budget.describe_end('judge')}" if reached else line


def find_verdict(question: Question, requests: Sequence[Request], store: ResponseStore) -> PairVerdict | None:
    """The verdict on a pair; None where an answer of the judge is not there, since the budget was used up."""
    responses = [found for request in requests if (found := store.find(request))]
    return judge_pair(question, responses) if len(responses) == len(requests) else None


def main() -> None:
    params = Needs.load().judge
    if not params.is_on:
        write_findings(VERDICTS, [], OFF)
        write_json(SUMMARY, {"enabled": False})
        return print(OFF)
    pairs = load_pairs()
    store = ResponseStore(ensure_scratch_folder("responses") / "responses.jsonl")
    requests = [build_requests(question, base.answer, tuned.answer, params) for question, base, tuned in pairs]
    print(asyncio.run(ask_judge([one for both in requests for one in both], params, store)))
    judged = [
        JudgedPair(question, base, tuned, find_verdict(question, both, store))
        for (question, base, tuned), both in zip(pairs, requests, strict=True)
    ]
    if not any(pair.verdict for pair in judged):
        raise StageError(f"judge.max_usd={params.max_usd} pays for no pair of answers; raise it, or turn the judge off")
    summary = summarize_verdicts(judged)
    write_jsonl(VERDICTS, (pair.verdict.model_dump() for pair in judged if pair.verdict))
    write_json(SUMMARY, as_json(summary))
    print("\n".join(write_opinion(summary)))
    print(f"verdicts -> {VERDICTS}, summary -> {SUMMARY}")


if __name__ == "__main__":
    run_stage(main, __doc__)
