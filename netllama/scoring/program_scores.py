"""Tasks that a program drew from the testbed: what a model answers to them, judged by exact rules.

A short answer is compared as one to a blank is, a list as a set; a filter string is right where it selects the same
elements, and a repaired script where it writes the same result.json as the script that ran. Both are run in the
sandbox.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from netllama.code_tasks.code_extraction import extract_code
from netllama.core.files import read_json
from netllama.core.records import Question
from netllama.rendering.renderer import Renderer
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from netllama.scoring.blank_answers import match_texts, normalise_answer
from netllama.scoring.code_questions import find_networks, judge_code_answers
from netllama.scoring.kept_answers import LimitedPrompt
from netllama.scoring.score import Numbers, Score
from testbed.script_runner import run_script
from testbed.tasks import task_records
from testbed.tasks.task_records import FAMILY, KINDS, LEVELS, ProgramTask

SUITE = "programs"
ANSWER_TOKENS = 64
"""Tokens of a short answer; the longest right one, four IPv6 prefixes, has about 60."""
LONGEST_FILTER = 300
SELECTION = Path(task_records.__file__).with_name("select_elements.py")
LIMITS = Limits(cpu_seconds=600.0, wall_seconds=3000.0)
"""For all filter strings together; each has its own limit there."""


def ask_programs(tasks: Sequence[ProgramTask], renderer: Renderer, script_tokens: int) -> list[LimitedPrompt]:
    """What a model is asked by the tasks."""
    return [
        LimitedPrompt(
            renderer.encode_prompt(task.instruction, task.draft.input),
            script_tokens if task.draft.judged == "script" else ANSWER_TOKENS,
        )
        for task in tasks
    ]


def judge_programs(
    tasks: Sequence[ProgramTask], answers: Sequence[str], sandbox: Sandbox, limits: Limits
) -> list[Score]:
    """A score for each answer, in their order. `limits`: of each repaired script."""
    pairs = list(zip(tasks, answers, strict=True))
    filters = [(task, answer) for task, answer in pairs if task.draft.judged == "filter"]
    scripts = [(task, answer) for task, answer in pairs if task.draft.judged == "script"]
    found = {task.id: _judge_short(task, answer) for task, answer in pairs if task.draft.judged in ("text", "list")}
    found |= dict(zip((task.id for task, _ in filters), judge_filters(filters, sandbox), strict=True))
    found |= dict(zip((task.id for task, _ in scripts), _judge_scripts(scripts, sandbox, limits), strict=True))
    return [found[task.id] for task in tasks]


def _judge_short(task: ProgramTask, answer: str) -> Score:
    line, draft = _first_line(answer), task.draft
    if draft.judged == "list":
        right = bool(line) and sorted(split_list(line)) == sorted(split_list(draft.answer))
    else:
        right = any(match_texts(line, text) for text in (draft.answer, *draft.aliases))
    return _make_score(task, answer, right, "")


def split_list(line: str) -> list[str]:
    """The values of a list, which commas, blanks or `and` separate."""
    return [word for word in re.split(r"[\s,]+(?:and\s+)?", normalise_answer(line)) if word]


def judge_filters(filters: Sequence[tuple[ProgramTask, str]], sandbox: Sandbox) -> list[Score]:
    """By the lines that each answer's filter string selects of its task's elements."""
    texts = [read_filter(answer) for _, answer in filters]
    asked = [(text, task.draft.input.splitlines()[1:]) for text, (task, _) in zip(texts, filters, strict=True)]
    scores = []
    for (task, answer), selected in zip(filters, select_all(asked, sandbox), strict=True):
        said = "no valid filter string" if selected is None else f"it selects {', '.join(map(str, selected)) or 'none'}"
        scores.append(_make_score(task, answer, selected == list(task.draft.selected), said))
    return scores


def read_filter(answer: str) -> str:
    """The string in the first line, without quotes around it and without `filter=`."""
    line = _first_line(answer).strip().strip("`").strip()
    bare = re.sub(r"^filter\s*=\s*", "", line)
    return bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"" else bare


def select_all(asked: Sequence[tuple[str, list[str]]], sandbox: Sandbox) -> list[list[int] | None]:
    """The lines that each filter string selects of its elements; None where it is invalid, too long or too slow.

    All of them are run at once; if that fails, each alone, so that no string takes another one with it.
    """
    short = [(text, lines) for text, lines in asked if len(text) <= LONGEST_FILTER]
    found = _run_selection(short, sandbox) if short else []
    if found is None:
        found = [(_run_selection([one], sandbox) or [None])[0] for one in short]
    rest = iter(found)
    return [next(rest) if len(text) <= LONGEST_FILTER else None for text, _ in asked]


def _run_selection(asked: Sequence[tuple[str, list[str]]], sandbox: Sandbox) -> list[list[int] | None] | None:
    with tempfile.TemporaryDirectory(prefix="filters-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the script's user may differ from ours
        work = folder / "cwd"
        work.mkdir()
        (work / "tasks.json").write_text(json.dumps(asked), encoding="utf-8")
        script = Path(shutil.copy(SELECTION, folder))
        run = run_script(script, work, folder / "state", sandbox, LIMITS)
        match read_json(work / "selected.json") if run.exit_code == 0 else None:
            case [*rows] if len(rows) == len(asked):
                return rows
    return None


def _judge_scripts(scripts: Sequence[tuple[ProgramTask, str]], sandbox: Sandbox, limits: Limits) -> list[Score]:
    asked = [_make_question(task) for task, _ in scripts]
    answers = [answer for _, answer in scripts]
    judged = judge_code_answers(asked, answers, sandbox, find_networks(answers), limits)
    return [
        _make_score(task, answer, score.value == 1, score.explanation, score.measures)
        for (task, answer), score in zip(scripts, judged, strict=True)
    ]


def _make_question(task: ProgramTask) -> Question:
    return Question(
        id=task.id,
        family=FAMILY,
        kind="code",
        question=task.instruction,
        options=[],
        answer=extract_code(task.draft.answer),
        aliases=[],
        key_facts=[],
        reference="",
        cluster=task.draft.cluster,
        scenario=task.draft.scenario,
    )


def summarize_programs(scores: Sequence[Score]) -> Numbers:
    """The share of right answers: in all, by kind and by difficulty."""
    by_kind = {kind: [each for each in scores if each.family == _name_family(kind)] for kind in KINDS}
    by_level = {
        level: [each for each in scores if each.measures["level"] == number] for number, level in enumerate(LEVELS, 1)
    }
    return {
        "accuracy": _average(scores),
        "by_kind": {kind: _average(own) for kind, own in by_kind.items() if own},
        "by_difficulty": {level: _average(own) for level, own in by_level.items() if own},
        "questions": len(scores),
    }


def _average(scores: Sequence[Score]) -> float:
    return round(mean(score.value for score in scores), 4)


def _name_family(kind: str) -> str:
    return f"{FAMILY}/{kind}"


def _first_line(answer: str) -> str:
    return next((line for line in answer.splitlines() if line.strip()), "")


def _make_score(
    task: ProgramTask, answer: str, right: bool, explanation: str, measures: dict[str, float] | None = None
) -> Score:
    return Score(
        item=task.id,
        suite=SUITE,
        family=_name_family(task.kind),
        kind="program",
        cluster=task.draft.cluster,
        value=float(right),
        measures={"level": float(LEVELS.index(task.difficulty) + 1), **(measures or {})},
        answer=answer,
        expected=task.draft.answer,
        explanation=explanation,
    )
