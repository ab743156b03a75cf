"""Estimates what `generate.repair_attempts` will still ask for: a row of its own below the family's in the table.

The answers that mended scripts so far give the likely figures. Without any, FAILING of the tasks need one such answer,
about a task as long as a seed task; it holds one task, where an answer of max_tokens holds tasks_per_request. At most,
every answer holds tasks_per_request tasks that need all attempts.
"""

import math
from collections.abc import Sequence
from statistics import mean

from netllama.selfinstruct.estimate import Estimate, list_reported
from netllama.selfinstruct.exemplars import Example, estimate_length
from netllama.selfinstruct.rounds import Family
from netllama.selfinstruct.run_checks import ASKED_TO_REPAIR, RUNS
from netllama.teacher.store import ResponseStore

FAILING = 0.5
"""Share of tasks that a first script is wrong in: 46% in the Self-Instruct paper (arXiv 2212.10560)."""
MOST_SAID = 1000
"""Tokens of what was found, at most."""


def estimate_repairs(family: Family, tasks: Estimate, store: ResponseStore) -> Estimate | None:
    """`tasks`: the family's estimate without this; it has judged the stored rounds. None: nothing is mended."""
    check, attempts = family.run_checks, family.params.repair_attempts
    if not (check and attempts):
        return None
    begun = [store.find(request) for request in family.build_round()] if check.waiting else []
    stored = len(begun) - begun.count(None)
    waiting = check.waiting - stored
    most_tasks = tasks.most_requests * family.params.tasks_per_request
    answers = check.answers.values()
    share = len(answers) / max(len(family.responses), 1) if check.first else FAILING
    likely = min(math.ceil(tasks.likely_requests * share), most_tasks * attempts)
    teacher = family.teacher
    if reported := list_reported(answers):
        prompt = mean(answer.prompt_tokens for answer in reported)
        completion = mean(answer.completion_tokens for answer in reported)
    else:
        prompt, completion = _estimate_prompt(family.seeds), teacher.max_tokens / family.params.tasks_per_request
    most = waiting + most_tasks * attempts
    return Estimate(
        f"  {RUNS}: repair",
        0,
        len(answers) + stored,
        waiting + likely,
        most,
        round(prompt),
        len(ASKED_TO_REPAIR) // 4 + 2 * teacher.max_tokens + MOST_SAID if most else 0,
        round(completion),
        teacher.max_answer_tokens,
    )


def _estimate_prompt(seeds: Sequence[Example]) -> float:
    """Tokens of a request about a task that is as long as a seed task."""
    return len(ASKED_TO_REPAIR) / 4 + mean(map(estimate_length, seeds))
