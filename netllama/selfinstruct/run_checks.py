"""The filter `runs`: the Python of a task is run (netllama/code_checks), and the task is kept if its script holds.

With `generate.repair_attempts` the teacher gets a script that does not hold back, with what was wrong, and writes the
answer once more. What it is asked is made of texts alone, so that the same script is asked about once, in whatever run
or round it comes. That a model mends more of its code when it sees what came of it: Chen et al., arXiv 2304.05128.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

from netllama.code_checks.code_run import CodeRun
from netllama.code_checks.code_runner import CodeRunner, Script
from netllama.code_checks.output_code import find_python
from netllama.core.generate_section import FilterName, GenerateParams
from netllama.core.teacher_section import TeacherParams
from netllama.selfinstruct.output_contract import Candidate, read_whole_text
from netllama.selfinstruct.text_request import build_text_request
from netllama.teacher.store import Request, Response

RUNS: FilterName = "runs"
ASKED_TO_REPAIR = (
    "An answer to a task holds a Python script that was run and found faulty. Write the answer again with the script "
    "corrected: the whole script in one ```python block, complete, so that it runs as it is and prints or writes its "
    "result. Write the answer alone, with nothing before or after it."
)


class Checked(NamedTuple):
    """A task after its script was run, and mended where that was asked for."""

    candidate: Candidate
    run: CodeRun | None
    """None: there is no Python in it."""
    repairs: tuple[str, ...] = ()
    """Keys of the teacher's answers that were to mend it, in their order."""

    @property
    def holds(self) -> bool:
        return self.run is None or self.run.holds


Checking = Generator[list[Request], Sequence[Response], list[Checked]]
"""Yields requests, is sent their answers, and returns the tasks."""


class RunChecks:
    """Checks the tasks of one family. `answers` are the teacher's repairs, `first` and `last` how each task's script
    did at first and in the end, of all tasks so far."""

    def __init__(self, family: str, generate: GenerateParams, teacher: TeacherParams, runner: CodeRunner) -> None:
        self.answers: dict[str, Response] = {}
        """By the keys of their requests."""
        self.first: list[CodeRun] = []
        self.last: list[Checked] = []
        self.in_hand = 0
        """Tasks that are being mended."""
        self.waiting = 0
        """Requests on the tasks in hand that have no answer yet, at most."""
        self._draw = f"{family}/{RUNS}"
        self._attempts = generate.repair_attempts
        self._teacher = teacher
        self._runner = runner

    def check(self, tasks: Sequence[Candidate]) -> Checking:
        """The tasks in their order, each with the last script that it has."""
        checked = [Checked(*pair) for pair in zip(tasks, self._run(tasks), strict=True)]
        self.first += [one.run for one in checked if one.run]
        for attempt in range(self._attempts):
            failing = [at for at, one in enumerate(checked) if not one.holds]
            if not failing:
                break
            self.in_hand, self.waiting = len(failing), len(failing) * (self._attempts - attempt)
            requests = [self.build_request(checked[at].candidate, checked[at].run, attempt) for at in failing]
            responses = yield requests
            self.answers |= {response.key: response for response in responses}
            before = [checked[at] for at in failing]
            mended = [_replace_output(old.candidate, one) for old, one in zip(before, responses, strict=True)]
            runs = self._run(mended)
            for at, old, task, run, response in zip(failing, before, mended, runs, responses, strict=True):
                better = (task, run) if run else (old.candidate, old.run)
                checked[at] = Checked(*better, (*old.repairs, response.key))
        self.in_hand = self.waiting = 0
        self.last += [one for one in checked if one.run]
        return checked

    def build_request(self, task: Candidate, run: CodeRun | None, attempt: int) -> Request:
        said = [f"Found: {run.finding}. {run.detail}", *run.misuses] if run else []
        given = f"{task.instruction}\n\n{task.input}" if task.input else task.instruction
        shown = "\n\n".join((f"Task: {given}", f"Answer:\n{task.output}", "\n".join(said)))
        prompt = f"{ASKED_TO_REPAIR}\n\n{shown}\n\nCorrected answer:\n"
        draw = f"{self._draw}/{attempt}"
        model = self._teacher.model_name
        return build_text_request(self._teacher, ASKED_TO_REPAIR, shown, prompt, model=model, draw=draw)

    def _run(self, tasks: Sequence[Candidate]) -> list[CodeRun | None]:
        codes = [find_python(task.output) for task in tasks]
        found = iter(self._runner.run_all([Script(code) for code in codes if code]))
        return [next(found) if code else None for code in codes]


def _replace_output(task: Candidate, response: Response) -> Candidate:
    return replace(task, output=read_whole_text(response))
