"""The default, from a fresh clone to its results: seconds, memory and share of the matrix limit, stage by stage.

Clones the committed state into a temporary folder, with an empty cache for the model, and runs `dvc repro` there once.
A stage's seconds and its largest process are measured around its command, by a `python` that stands first in the PATH;
what DVC itself takes is the rest. The limit is the faster of this machine's matrix products, and a stage's share of it
counts only the operations that it can't do without (bench/flops.py), over all of its seconds, loading included.

Run    python -m bench.default [--check] [--minutes N] [--folder FOLDER]
       --check: exit code 1 if it takes longer than N minutes (8) or a process more than 3 GB
       --folder: a new folder, in which the clone stays
"""

import argparse
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.flops import count_reading_flops, count_training_flops
from bench.hardware import describe_hardware, measure_matmul_speeds
from netllama.core.params import read_params
from netllama.core.tokenized_rows import read_tokenized_rows
from netllama.models.precision import describe_precision

if TYPE_CHECKING:
    from netllama.scoring.material import Material

MOST_MEGABYTES = 3000
PYTHON = """#!{python}
import json, os, sys, time
start = time.perf_counter()
child = os.fork()
if not child:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
_, status, usage = os.wait4(child, 0)
row = {{"stage": sys.argv[2], "seconds": time.perf_counter() - start, "megabytes": usage.ru_maxrss * 1024 / 1e6}}
with open({log!r}, "a") as log:
    log.write(json.dumps(row) + "\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run_default(folder: Path) -> tuple[float, list[dict[str, Any]]]:
    """`dvc repro` in a new clone in `folder`: seconds in all, and {stage, seconds, megabytes} of each stage."""
    clone, bin_folder, log = folder / "clone", folder / "bin", folder / "stages.jsonl"
    subprocess.run(["git", "clone", "--quiet", str(Path.cwd()), str(clone)], check=True)
    bin_folder.mkdir()
    (python := bin_folder / "python").write_text(PYTHON.format(python=sys.executable, log=str(log)), encoding="utf-8")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    paths = [str(bin_folder), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(paths), "NETLLAMA_CACHE": str(folder / "cache")}
    start = time.perf_counter()
    # A changed processor gives other bytes from `train` on: what git has is not compared.
    done = subprocess.run(["dvc", "repro", "--force"], cwd=clone, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise SystemExit(f"dvc repro: failed with exit code {done.returncode}")
    seconds = time.perf_counter() - start
    return seconds, [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def count_stage_flops(clone: Path, cache: Path) -> dict[str, float]:
    """By stage, what it can't do without; only of those that run the model."""
    from transformers import AutoConfig

    from netllama.scoring.material import MaterialFiles, load_material
    from netllama.scoring.reading_scores import load_reading, render_reports
    from netllama.training.batch_plan import BatchPlan

    params = read_params(clone / "params.yaml")
    config = AutoConfig.from_pretrained(next(path.parent for path in cache.rglob("config.json")))
    tokenized, train = clone / "data" / "tokenized", params.train
    rows, validation = (read_tokenized_rows(tokenized / f"{side}.parquet") for side in ("train", "val"))
    size, accumulation = train.per_device_train_batch_size, train.gradient_accumulation_steps
    plan = BatchPlan([row.length for row in rows], train.seed, size, accumulation, 1, train.group_by_length)
    steps = [step for _, step in zip(range(train.max_steps), plan.steps(), strict=False)]
    trained = [rows[row] for step in steps for batch in step for row in batch]
    validations = 1 + -(-train.max_steps // train.eval_steps)
    rank = params.lora.r
    read = count_reading_flops(
        [row.length for row in validation], sum(row.answer_tokens for row in validation), config, rank
    )
    files = MaterialFiles(
        tokenized / "test.parquet",
        clone / "data" / "questions",
        clone / "data" / "retrieved" / "questions.jsonl",
        clone / "data" / "retrieved" / "chunks.jsonl",
        clone / "models" / "tokenizer",
    )
    material = load_material(files, params.prompt, params.evaluate)
    flops = {"train": count_training_flops(trained, config, rank) + validations * read}
    lengths = measure_prompts(material)
    for stage, name, lora in (("baseline", "base", 0), ("evaluate", "tuned", rank)):
        answers = [json.loads(line) for line in (clone / "results" / f"{name}.jsonl").read_text().splitlines()]
        flops[stage] = count_evaluation_flops(material, lengths, answers, config, lora)
    chosen_on = load_reading(
        clone / "data" / "retrieved" / "val.jsonl", files.chunks, [], params.evaluate.num_val_reports, 0
    )
    balanced = [len(each.prompt) for each in render_reports(chosen_on, material.renderer)]
    flops["evaluate"] += count_reading_flops(balanced, len(balanced), config, rank)
    return flops


def measure_prompts(material: "Material") -> dict[tuple[str, str, str], int]:
    """Tokens of the prompt of each answer that is written, by kind, arm and item."""
    from netllama.scoring.code_questions import select_code
    from netllama.scoring.program_scores import ask_programs
    from netllama.scoring.reading_scores import render_reports
    from netllama.scoring.task_answers import sample_rows
    from netllama.scoring.written_parts import ask_code
    from netllama.scoring.written_questions import ask_written, select_written

    renderer, params = material.renderer, material.params
    written, coded = (
        select_written(material.questions, params.num_open),
        select_code(material.questions, params.num_code),
    )
    lengths = {("generation", "", row.id): row.answer_start for row in sample_rows(material.rows, params.num_generated)}
    for questions, prompts in ((written, ask_written(written, renderer, 1)), (coded, ask_code(coded, renderer, 1))):
        for question, prompt in zip(questions, prompts, strict=True):
            lengths[question.kind, "", question.id] = len(prompt.ids)
    for task, prompt in zip(material.programs, ask_programs(material.programs, renderer, 1), strict=True):
        lengths["program", "", task.id] = len(prompt.ids)
    for each in render_reports(material.reading, renderer):
        lengths["report", each.arm, each.row.id] = len(each.prompt)
    return lengths


def count_evaluation_flops(
    material: "Material",
    lengths: Mapping[tuple[str, str, str], int],
    answers: Sequence[Mapping[str, Any]],
    config: Any,
    rank: int,
) -> float:
    """Of what a model reads and writes: options and held-out answers, and the `answers` that it wrote.

    Left out are the second readings of an option (without its question, in another wording, as a blank's rival), and
    sampled answers to code questions, of which the default has none.
    """
    from netllama.scoring.choice import render_question, select_closed
    from netllama.scoring.heldout import split_row
    from netllama.scoring.reading_scores import render_closed
    from netllama.scoring.shared_prefixes import cut_shared_beginning

    renderer, total = material.renderer, 0.0
    closed = [render_question(question, renderer) for question in select_closed(material.questions)]
    with_documents = [each.text for each in render_closed(material.reading, renderer)]
    for texts in (closed, with_documents, [split_row(row) for row in material.rows]):
        _, texts = cut_shared_beginning(texts)
        scored = sum(text.width - len(text.context) + 1 for text in texts)
        total += count_reading_flops([text.width for text in texts], scored, config, rank)
    keys = [(row["kind"], row["arm"], row["item"]) for row in answers]
    written = [
        (lengths[key], len(renderer.tokenizer(row["answer"]).input_ids))
        for key, row in zip(keys, answers, strict=True)
        if key in lengths
    ]
    if len(written) < len(lengths):
        raise SystemExit(f"{len(lengths) - len(written)} prompts have no answer among the results")
    new = sum(answer for _, answer in written)
    return total + count_reading_flops([prompt + answer for prompt, answer in written], new, config, rank)


def main() -> None:
    parser = argparse.ArgumentParser(description="The default from a fresh clone, stage by stage.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if it is too slow or takes too much memory")
    parser.add_argument("--minutes", type=float, default=8, help="for --check: minutes that it may take (8)")
    parser.add_argument("--folder", type=Path, help="a new folder, in which the clone stays")
    given = parser.parse_args()
    speeds = measure_matmul_speeds()
    faster = max(speeds, key=speeds.__getitem__)
    if given.folder:
        given.folder.mkdir()
    with nullcontext(given.folder.resolve()) if given.folder else tempfile.TemporaryDirectory() as name:
        seconds, stages = run_default(Path(name))
        flops = count_stage_flops(Path(name) / "clone", Path(name) / "cache")
    products = ", ".join(f"{precision} {speed / 1e9:,.0f} GFLOP/s" for precision, speed in speeds.items())
    print(f"{describe_hardware()}; matrix product {products}; {describe_precision('auto')}\n")
    print("| stage | seconds | peak MB | share of the matrix limit |\n|---|---|---|---|")
    for row in stages:
        stage = row["stage"].removeprefix("stages.")
        share = f"{flops[stage] / row['seconds'] / speeds[faster]:.0%}" if stage in flops else "-"
        print(f"| {stage} | {row['seconds']:.1f} | {row['megabytes']:,.0f} | {share} |")
    print(f"| DVC itself | {seconds - sum(row['seconds'] for row in stages):.1f} | - | - |")
    peak = max(row["megabytes"] for row in stages)
    print(f"\nfresh clone to results: {seconds / 60:.1f} minutes, largest process {peak:,.0f} MB")
    if given.check and (seconds > 60 * given.minutes or peak > MOST_MEGABYTES):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
