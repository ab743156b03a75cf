"""Scripts that hold and scripts with a fault, by a teacher on loopback: which of them the filter `runs` keeps."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import netllama.code_checks.code_runner as room
from netllama.code_checks.code_runner import CodeRunner
from netllama.code_checks.run_store import RunStore
from netllama.core.records import RejectedCandidate
from netllama.sandbox.exchange import Limits
from netllama.selfinstruct.rounds import Family, grow_families
from netllama.teacher.client import Teacher
from netllama.teacher.store import ResponseStore
from tests.support.families import family, seed
from tests.support.openai_server import WORDS, Answer, Asked, OpenAIServer
from tests.support.planted_faults import FAMILIES, FAULTS, MISSED, Row, list_faulty, list_right

ROWS = 200
QUICK = (
    "no such collector",
    "an invented attribute whose error is swallowed",
    "a column that is not there",
    "no output",
)


@pytest.fixture(autouse=True)
def shared_network(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ensure_network", lambda cache, seed: network)
    # Four of the scripts never end.
    monkeypatch.setattr(room, "LIMITS", Limits(cpu_seconds=5, idle_seconds=5, wall_seconds=600))


def grow(rows: Sequence[Row]) -> list[Family]:
    """One family of each name, after its teacher has written the rows of that family, five an answer."""
    waiting = {name: [row for row in rows if row.family == name] for name in FAMILIES}

    def write(asked: Asked) -> Answer:
        [name] = re.findall(r"Write tasks about (\w+)\.", asked.prompt)
        batch, waiting[name] = waiting[name][:5], waiting[name][5:]
        tasks = [
            f"###\n{number}. Instruction: {word(asked.number, number)}\n{number}. Output:\n{row.output}\n"
            for number, row in enumerate(batch, 2)
        ]
        return Answer("".join(tasks))

    def word(answer: int, number: int) -> str:
        return " ".join(f"{WORDS[(answer * 5 + number + each) % len(WORDS)]}{answer}{number}" for each in range(6))

    with OpenAIServer(write) as server:
        settings = {"base_url": server.url, "api": "chat", "num_instructions_to_generate": 1000, "max_concurrency": 1}
        settings["required_imports"] = []  # what it says of a script says nothing of `runs`
        families = []
        for name in FAMILIES:
            answers = -(-len(waiting[name]) // 5)
            if answers:
                one = family(name, [seed("words of the only example")], **settings, max_requests=answers)
                one.runner = CodeRunner(RunStore(Path("runs")))
                one.__post_init__()
                families.append(one)

        async def run() -> None:
            async with Teacher(server.url, ResponseStore(Path("responses.jsonl")), 1) as teacher:
                await grow_families(families, teacher, lambda: None)

        asyncio.run(run())
    return families


def sort_out(rows: Sequence[Row], families: Sequence[Family]) -> tuple[list[Row], list[RejectedCandidate]]:
    """(faulty rows that were kept, rows that hold and were rejected)."""
    kinds = {row.output: row for row in rows}
    kept = [kinds[row.output] for one in families for row in one.kept]
    rejected = [row for one in families for row in one.rejected]
    assert len(kept) + len(rejected) == len(rows)
    return [row for row in kept if row.kind], [row for row in rejected if not kinds[row.output].kind]


def test_a_few_faults_are_found_and_what_holds_is_kept(workdir: Path) -> None:
    rows = [*list_right(4), *(row for row in list_faulty() if row.kind in QUICK)]
    missed, wrong = sort_out(rows, grow(rows))
    assert [row.output for row in wrong] == []
    assert [row.kind for row in missed] == []


@pytest.mark.slow
def test_of_200_scripts_no_right_one_is_rejected_and_only_faults_that_nobody_sees_are_kept(workdir: Path) -> None:
    faulty = list_faulty()
    assert (len(FAULTS), len(faulty)) == (30, 60)
    rows = [*faulty, *list_right(ROWS - len(faulty))]
    families = grow(rows)
    missed, wrong = sort_out(rows, families)
    assert [(row.reason, row.fault, row.output) for row in wrong] == []
    assert {row.kind for row in missed} == set(MISSED)
    assert len(missed) <= 0.05 * len(faulty), [row.kind for row in missed]
    reasons = {row.reason for one in families for row in one.rejected}
    assert reasons == {"runs", "broken_code"}
