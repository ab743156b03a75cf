"""Tasks `repair`: a script that ran before a fault was put into it -> the running script.

Any script that writes the same result.json is right. Numbers in scripts are of one side; what else varies are names
that all networks share, such as the collectors'.
"""

from random import Random

from testbed.reports.network_names import find_side
from testbed.reports.report_records import Side
from testbed.tasks.broken_scripts import SCRIPTS, Mutation, RepairScript
from testbed.tasks.task_networks import TaskNetwork
from testbed.tasks.task_records import Level, TaskDraft

WORDINGS = (
    "Repair this script. It should {goal}. {symptom}",
    "The script below is meant to {goal}. {symptom} Correct it.",
    "Fix the bug: the program has to {goal}. {symptom}",
    "My colleague's script ought to {goal}. {symptom} What would it look like without the fault?",
    "Somewhere in here is one mistake. The task of the script: {goal}. {symptom}",
    "Debug this. Wanted: {goal}. {symptom}",
    "I broke a script while editing it. It used to {goal}. {symptom} Restore it.",
    "One line of this script is wrong. Its purpose is to {goal}. {symptom} Give me the whole script, corrected.",
    "Please mend the script. What it is for: {goal}. {symptom}",
    "Review of a merge request: the code must {goal}. {symptom} Post the corrected version.",
    "Change as little as you can so that the script does its job: {goal}. {symptom}",
    "The nightly job should {goal}. {symptom} Send back a version that works.",
    "Get this working again. Specification: {goal}. {symptom}",
    "Something is off in this code, whose aim is to {goal}. {symptom} Return the sound script.",
)
"""`goal`: an infinitive; `symptom`: a sentence."""
_SYMPTOMS: dict[Level, tuple[str, ...]] = {
    "easy": ("It stops at once.", "Python ends with an error before any result."),
    "medium": ("It gives an error or nothing.", "It does not get a usable result."),
    "hard": ("It runs without an error, but the result is not what was asked for.", "Its result is wrong."),
}


def draw_repair(network: TaskNetwork, rng: Random, level: Level) -> TaskDraft:
    script = rng.choice(SCRIPTS)
    mutation = rng.choice([each for each in script.mutations if each.level == level])
    values = _draw_values(script, network.side, rng)
    code = fill_script(script.text, values)
    fields = {"goal": fill_script(script.goal, values), "symptom": rng.choice(_SYMPTOMS[level])}
    return TaskDraft(
        fields=fields,
        input=break_script(script, mutation, values),
        answer=f"```python\n{code}```",
        judged="script",
        cluster=f"testbed-{script.name}",
        scenario=script.scenario,
    )


def break_script(script: RepairScript, mutation: Mutation, values: dict[str, str]) -> str:
    """The script with the fault; ValueError where the text that it replaces does not occur once."""
    if script.text.count(mutation.right) != 1:
        raise ValueError(f"{script.name}: {mutation.right!r} does not occur once")
    return fill_script(script.text.replace(mutation.right, mutation.wrong), values)


def fill_script(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _draw_values(script: RepairScript, side: Side, rng: Random) -> dict[str, str]:
    values = {name: rng.choice(options) for name, options in script.words.items()}
    for name, (numbers, form) in script.numbers.items():
        own = [number for number in numbers if find_side(f"{name} {number}") == side]
        values[name] = format(rng.choice(own), form)
    return values
