"""Code questions: the script in a model's answer is run in the sandbox on several networks, and its result compared.

An answer is right where its result is right on every network. Its rung is that of the network on which it fell first;
the next ones are not asked then. Equal scripts are run once. A question's own solution is run where an answer's result
is to be compared with it, so that models that write no valid result cost next to nothing.
"""

import ast
import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import comb
from pathlib import Path
from statistics import mean
from threading import Lock

from tqdm import tqdm

from netllama.code_tasks.code_answers import LIMITS, VARIANTS, Outcome, judge_outcome, remove_chance, run_answer
from netllama.code_tasks.code_extraction import extract_code
from netllama.code_tasks.code_ladder import (
    CodeVerdict,
    FailureClass,
    Rung,
    judge_difference,
    judge_run,
    parse_code,
)
from netllama.core.cores import count_cores
from netllama.core.errors import StageError
from netllama.core.files import ensure_scratch_folder
from netllama.core.records import Question
from netllama.core.temporary_folders import hold_folder
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from netllama.scoring.score import Numbers, Score
from testbed.network import ensure_network


def select_code(questions: Sequence[Question], number: int) -> list[Question]:
    """`number` code questions by the hash of their ids, a choice that no file's order can change."""
    own = [question for question in questions if question.kind == "code"]
    ranked = sorted(own, key=lambda question: hashlib.sha256(question.id.encode()).digest())
    return sorted(ranked[:number], key=lambda question: question.id)


def has_script(answer: str) -> bool:
    """Whether there is anything in the answer that could be run."""
    return not isinstance(parse_code(extract_code(answer)), CodeVerdict)


def find_networks(answers: Sequence[str]) -> list[Path]:
    """The networks that the scripts in answers are run on. They take seconds to build, and answers without a script
    need none."""
    seeds = VARIANTS if any(map(has_script, answers)) else ()
    return [ensure_network(ensure_scratch_folder("network"), seed) for seed in seeds]


def judge_code_answers(
    questions: Sequence[Question],
    answers: Sequence[str],
    sandbox: Sandbox,
    networks: Sequence[Path],
    limits: Limits = LIMITS,
) -> list[Score]:
    """A score for each answer, in their order; `answers` are completions without their prompts.

    A question may occur several times, once for each sample. `networks`: folders that testbed/network.py built.
    `limits` are those of an answer's script; a solution has its own.
    StageError where a question's own solution fails.
    """
    jobs: dict[tuple[str, str], _Job] = {}
    found: list[CodeVerdict | tuple[str, str]] = []
    for question, answer in zip(questions, answers, strict=True):
        code = extract_code(answer)
        tree = parse_code(code)
        if isinstance(tree, CodeVerdict):
            found.append(tree)
        else:
            found.append((question.id, code))
            jobs.setdefault((question.id, code), _Job(question, code, tree))
    judge = _Judge(sandbox, networks, limits)
    with (
        ThreadPoolExecutor(count_cores()) as pool,
        tqdm(total=len(jobs), desc="code", unit="script", disable=not jobs) as bar,
    ):
        verdicts = {}
        for key, verdict in zip(jobs, pool.map(judge.judge, jobs.values()), strict=True):
            verdicts[key] = verdict
            bar.update()
    judged = [each if isinstance(each, CodeVerdict) else verdicts[each] for each in found]
    return [_make_score(*each) for each in zip(questions, answers, judged, strict=True)]


def summarize_code(scores: Sequence[Score], most: int = 1) -> Numbers:
    """pass@1 to pass@`most`, how far the answers climb (the mean of their rungs, 1: all are right), the share that
    reaches each rung, and how many fell by which fault.

    Empty where there are no scores. Scores of one question are samples of one model.
    """
    own = [score for score in scores if score.kind == "code"]
    if not own:
        return {}
    samples: dict[str, list[float]] = {}
    for score in own:
        samples.setdefault(score.item, []).append(score.value)
    reached, failures = [read_rung(score) for score in own], [read_failure(score) for score in own]
    passes = {
        f"pass_at_{k}": round(mean(estimate_pass_at_k(len(each), int(sum(each)), k) for each in samples.values()), 4)
        for k in range(1, most + 1)
    }
    return {
        **passes,
        "climbed": round(mean(each / Rung.RIGHT for each in reached), 4),
        "reached": {
            rung.name.lower(): round(mean(rung <= each for each in reached), 4) for rung in Rung if rung > Rung.NOTHING
        },
        "failures": {
            failure.name.lower(): failures.count(failure)
            for failure in FailureClass
            if failure is not FailureClass.NONE
        },
        "questions": len(samples),
    }


def estimate_pass_at_k(samples: int, right: int, k: int) -> float:
    """The chance that one of k samples is right, of which `samples` were drawn and `right` are right; unbiased.

    1 - C(n - c, k) / C(n, k) (arXiv 2107.03374). ValueError if there are fewer samples than k.
    """
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples, {right} of them right, is not defined")
    return 1 - comb(samples - right, k) / comb(samples, k)


def read_rung(score: Score) -> Rung:
    """The rung of a code score."""
    return Rung(round(score.measures["rung"] * Rung.RIGHT))


def read_failure(score: Score) -> FailureClass:
    """What an answer fell by."""
    return FailureClass(score.explanation.partition(": ")[0])


@dataclass(frozen=True)
class _Job:
    question: Question
    code: str
    tree: ast.Module


@dataclass
class _Judge:
    """Runs scripts; thread-safe. A question's right results are computed once."""

    sandbox: Sandbox
    networks: Sequence[Path]
    limits: Limits
    rights: dict[tuple[str, Path], Outcome] = field(default_factory=dict)
    locks: dict[tuple[str, Path], Lock] = field(default_factory=dict)

    def judge(self, job: _Job) -> CodeVerdict:
        """The verdict on the first network on which the script is not right; on the last where there is none."""
        verdict = CodeVerdict(Rung.NOTHING, FailureClass.NO_CODE)
        for network in self.networks:
            verdict = self._judge_on(job, network)
            if verdict.rung < Rung.RIGHT:
                break
        return verdict

    def _judge_on(self, job: _Job, network: Path) -> CodeVerdict:
        outcome = self._run(job.question, job.code, network, self.limits)
        verdict = judge_run(job.tree, outcome)
        has_solution = bool(job.question.answer.strip())  # without one nobody knows what is right
        if outcome.problem or verdict.rung == Rung.TOUCHED_DATA or not has_solution:
            return verdict
        right = self._find_right(job.question, network)
        try:
            return judge_difference(outcome.run, verdict, judge_outcome(outcome, right))
        except ValueError as error:
            raise StageError(f"question {job.question.id}: {error}; `pytest tests/data` checks the solutions") from None

    def _find_right(self, question: Question, network: Path) -> Outcome:
        key = (question.id, network)
        with self.locks.setdefault(key, Lock()):
            if key not in self.rights:
                self.rights[key] = self._run(question, question.answer, network, LIMITS)
        return self.rights[key]

    def _run(self, question: Question, code: str, network: Path, limits: Limits) -> Outcome:
        with hold_folder(tempfile.gettempdir(), "code-") as folder:
            folder.chmod(0o711)  # the script's user may differ from ours
            outcome = run_answer(question, code, network, folder / "task", self.sandbox, limits)
            return replace(outcome, problem=remove_chance(outcome.problem, str(folder)))


def _make_score(question: Question, answer: str, verdict: CodeVerdict) -> Score:
    return Score(
        item=question.id,
        suite="questions",
        family=question.family,
        kind=question.kind,
        cluster=question.cluster,
        value=float(verdict.rung == Rung.RIGHT),
        measures={"rung": round(verdict.rung / Rung.RIGHT, 4)},
        answer=answer,
        expected=question.answer,
        explanation=": ".join(_list_parts(verdict)),
    )


def _list_parts(verdict: CodeVerdict) -> Iterable[str]:
    return filter(None, (verdict.failure.value, verdict.detail))
