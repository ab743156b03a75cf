"""Prompts and seed tasks into instructions: Self-Instruct through an OpenAI-compatible API.

Reads  data/prompts/F.txt, data/seeds/F.jsonl for each family, data/recorded/ (answers to replay),
       params `generate`
Writes data/generated/instructions.jsonl, rejected.jsonl (with reasons), responses.jsonl (the answers used),
       metrics/generate.json
Run    python -m stages.generate [--promote]

Recorded answers are replayed: offline, free, the same bytes everywhere. What is not recorded is asked
live and stored in .scratch/responses/ before it is used, so that a killed run goes on where it was.
--promote moves the answers of the last run into data/recorded/ for everybody else to replay.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.core.errors import StageError, run_stage
from stages.core.files import read_text, scratch, write_json, write_jsonl, write_text
from stages.core.params import load_params
from stages.core.records import load_seeds
from stages.selfinstruct.rounds import Family, grow
from stages.teacher.client import Teacher
from stages.teacher.store import ResponseStore

PROMPTS = Path("data/prompts")
SEEDS = Path("data/seeds")
RECORDED = Path("data/recorded")
INSTRUCTIONS = Path("data/generated/instructions.jsonl")
REJECTED = Path("data/generated/rejected.jsonl")
RESPONSES = Path("data/generated/responses.jsonl")
METRICS = Path("metrics/generate.json")


def load_families(params: Any) -> list[Family]:
    """Every family's files, all read before the first question is asked."""
    families = []
    for name in params.families:
        directive = read_text(PROMPTS / f"{name}.txt").strip()
        if not directive:
            raise StageError(f"{PROMPTS / name}.txt: empty; write what a good task of {name} is")
        families.append(Family(name, directive, load_seeds(SEEDS, name), params))
    return families


async def generate(families: list[Family], params: Any, store: ResponseStore) -> str:
    """Grow all families behind a progress bar; returns what was asked and what was replayed."""
    total = params.num_instructions_to_generate * len(families)
    async with Teacher(params.base_url, store, params.max_concurrency) as teacher:
        with tqdm(total=total, unit="task", desc="generate") as bar:

            def report() -> None:
                rejected = sum(len(family.rejected) for family in families)
                bar.update(sum(len(family.kept) for family in families) - bar.n)
                bar.set_postfix(rejected=rejected, asked=teacher.asked, replayed=teacher.replayed)

            teacher.on_answer = report
            await grow(families, teacher, report)
        return f"{teacher.asked} answers asked, {teacher.replayed} replayed"


def write_outs(families: list[Family]) -> None:
    write_jsonl(INSTRUCTIONS, (row.model_dump() for family in families for row in family.kept))
    write_jsonl(REJECTED, (row for family in families for row in family.rejected))
    write_jsonl(RESPONSES, (response.model_dump() for family in families for response in family.responses))
    by_family = {family.name: family.summary() for family in families}
    kept = sum(summary["kept"] for summary in by_family.values())
    rejected = sum(len(family.rejected) for family in families)
    write_json(METRICS, {"kept": kept, "rejected": rejected, "family": by_family})


def promote() -> None:
    """The answers of the last run become part of the repository: one file, what it held before is replaced."""
    write_text(RECORDED / "responses.jsonl", read_text(RESPONSES))
    print(f"{RECORDED / 'responses.jsonl'}: written; commit it, and a fresh clone replays it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--promote", action="store_true", help="move the last run's answers into data/recorded/")
    if parser.parse_args().promote:
        return promote()
    params = load_params("generate").generate
    families = load_families(params)
    store = ResponseStore(scratch("responses") / "responses.jsonl", sorted(RECORDED.glob("*.jsonl")))
    log = asyncio.run(generate(families, params, store))
    write_outs(families)
    for family in families:
        short = params.num_instructions_to_generate - len(family.kept)
        if short > 0:
            print(f"{family.name}: {short} short of the number after generate.max_requests={params.max_requests}")
    print(f"{log}; kept {sum(len(family.kept) for family in families)} -> {INSTRUCTIONS}, rejected -> {REJECTED}")


if __name__ == "__main__":
    run_stage(main)
