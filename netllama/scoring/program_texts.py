"""The tasks by program that models are measured on, and what was asked in them."""

from collections.abc import Collection

from testbed.tasks.task_records import ProgramTask
from testbed.tasks.task_set import TEST_SEED, make_tasks


def list_programs(number: int) -> list[ProgramTask]:
    return make_tasks("test", TEST_SEED, number)


def phrase_programs(items: Collection[str]) -> dict[str, str]:
    """What was asked, by the ids of tasks."""
    last = max((int(item.rpartition("-")[2]) for item in items), default=-1)
    return {task.id: f"{task.instruction}\n{task.draft.input}" for task in list_programs(last + 1) if task.id in items}
