"""Estimates what the filter `agrees` will still ask for: a row of its own below the family's in the table.

The tasks that it checked of each answer so far give the likely figures. Without any answer these are one task per
answer, as long as a seed task, and answers as long as they may be without thinking. At most, every answer holds
tasks_per_request tasks that all other filters let pass.
"""

import math
from collections.abc import Sequence
from statistics import mean

from netllama.selfinstruct.estimate import Estimate, list_reported
from netllama.selfinstruct.exemplars import Example, estimate_length
from netllama.selfinstruct.rounds import Family
from netllama.selfinstruct.second_answers import AGREES, ORDERS, REQUESTS_A_TASK, VERDICT_TOKENS, SecondAnswers
from netllama.teacher.store import ResponseStore


def estimate_checks(family: Family, tasks: Estimate, store: ResponseStore) -> Estimate | None:
    """`tasks`: the family's estimate without this filter; it has judged the stored rounds. None: the filter is off."""
    check = family.second_answers
    if not check:
        return None
    begun = [store.find(request) for request in family.build_round()] if check.waiting else []
    stored = len(begun) - begun.count(None)
    waiting = check.waiting - stored
    checked = len(check.findings) / max(len(family.responses), 1) if check.findings else 1.0
    most_tasks = tasks.most_requests * family.params.tasks_per_request
    likely_tasks = min(math.ceil(tasks.likely_requests * checked), most_tasks)
    teacher = family.teacher
    longest_answer = (teacher.max_answer_tokens + len(ORDERS) * check.verdict_tokens) / REQUESTS_A_TASK
    answers = check.answers.values()
    if reported := list_reported(answers):
        prompt = mean(answer.prompt_tokens for answer in reported)
        completion = mean(answer.completion_tokens for answer in reported)
    else:
        prompt = _estimate_prompt(check, family.seeds)
        completion = (teacher.max_tokens + len(ORDERS) * VERDICT_TOKENS) / REQUESTS_A_TASK
    likely, most = (waiting + REQUESTS_A_TASK * number for number in (likely_tasks, most_tasks))
    return Estimate(
        f"  {AGREES}",
        0,
        len(answers) + stored,
        likely,
        most,
        round(prompt),
        math.ceil((len(check.prompt) + check.notes.longest) / 4) + 2 * teacher.max_tokens if most else 0,
        round(completion),
        math.ceil(longest_answer),
    )


def _estimate_prompt(check: SecondAnswers, seeds: Sequence[Example]) -> float:
    """Tokens of a request, the mean of the three on a task that is as long as a seed task."""
    task, output = mean(map(estimate_length, seeds)), mean(len(seed.output) // 4 for seed in seeds)
    comparison = (len(check.prompt) + check.notes.longest) / 4 + task + output
    return (task - output + len(ORDERS) * comparison) / REQUESTS_A_TASK
