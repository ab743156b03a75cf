"""Check the hand-written content: seed tasks and questions, each by itself and against the others.

Reads  data/seeds/, data/questions/, data/prompts/, params `families`, `filters`, `contamination`
Run    python -m commands.validate            # form, duplicates, overlap, references, guessing
       python -m commands.validate --run      # and run every script in them against two replay networks

Prints counts and, for each suite of closed questions, how well rules without any knowledge guess the answers. If
anything is wrong, lists every problem and ends with exit code 1. With --run, the code in data/ runs in a sandbox
(netllama/sandbox); --unsafe runs it without one, with your rights.
"""

import argparse
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from netllama.code_tasks.code_answers import VARIANTS, describe_failure, find_differences, run_answer, run_code
from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.cores import count_cores
from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, read_text
from netllama.core.generate_section import FilterParams
from netllama.core.markdown import extract_python_blocks
from netllama.core.param_types import Families
from netllama.core.params import View
from netllama.core.records import Question, SeedTask, load_content, require_unique_ids
from netllama.core.sections import ContaminationParams
from netllama.core.temporary_folders import hold_folder
from netllama.sandbox.sandbox import Sandbox
from netllama.sandbox.sandbox_choice import find_sandbox
from netllama.selfinstruct.output_contract import Candidate
from netllama.selfinstruct.task_pool import TaskPool
from netllama.validation import overlap
from netllama.validation.shortcuts import Suite, measure_learned_guesses, measure_suites
from netllama.validation.source_references import list_reference_problems
from testbed.captures.capture_files import CAPTURES
from testbed.internet.scenarios import ROUTING
from testbed.network import ensure_network

SEEDS = Path("data/seeds")
QUESTIONS = Path("data/questions")
PROMPTS = Path("data/prompts")
PER_SUITE = ("majority", "first", "longest", "shortest", "most overlap")
"""Rules that may not beat chance in any suite. The other rules may not beat it over all families together."""
MARGIN = 0.03
"""A rule may beat chance by this much, or by one question if that is more: neither proves anything."""
SIGNIFICANCE = 0.05
"""Answers are unevenly spread if the p-value of the chi-square test is below this."""

Seeds = dict[str, list[SeedTask]]


class Needs(View):
    """The params of this command."""

    families: Families
    filters: FilterParams
    contamination: ContaminationParams


def find_unread_seeds(families: Sequence[str]) -> Iterator[str]:
    """Files of the seeds' folder that no family of params.yaml reads."""
    for path in sorted(SEEDS.glob("*")):
        if path.name not in {f"{family}.jsonl" for family in families} and path.suffix != ".md" and path.name[0] != ".":
            yield f"{path}: is not read; name it like a family of `families` in params.yaml, with .jsonl, or remove it"


def find_rejected_seeds(seeds: Seeds, evaluation: Evaluation, params: FilterParams) -> Iterator[str]:
    """Seeds that generate would reject if they were its candidates. Similar texts are `overlap`'s to find."""
    for family, own in seeds.items():
        pool = TaskPool(family, [], read_text(PROMPTS / f"{family}.txt"), evaluation, params)
        for seed in own:
            reason = pool.judge_candidate(Candidate(seed.instruction, seed.input, seed.output, seed.category)).reason
            if reason and reason not in ("near_duplicate", "near_question"):
                yield f"{seed.id}: the filter {reason} rejects it"
            pool.add(seed)


def find_malformed_questions(questions: Sequence[Question], families: Collection[str]) -> Iterator[str]:
    """Questions that lack what their kind needs, have what only another kind has, or stand alone in their cluster.

    `families`: those of the params, and the suites that are no family.
    """
    clusters = Counter(question.cluster for question in questions if question.cluster)
    for question in questions:
        for key, kind in (("options", "choice"), ("aliases", "blank"), ("key_facts", "open"), ("scenario", "code")):
            if getattr(question, key) and question.kind != kind:
                yield f"{question.id}: {key}: only {kind} questions have it; remove it or change the kind"
        if not question.answer.strip():
            yield f"{question.id}: answer is empty; write one"
        if clusters[question.cluster] == 1:
            yield f"{question.id}: is alone in cluster {question.cluster}; remove it or name another cluster"
        if question.family not in families:
            yield (
                f"{question.id}: family {question.family} is neither in `families` in params.yaml nor a file of "
                f"{QUESTIONS}/"
            )
        if len({option.casefold().strip() for option in question.options}) != len(question.options):
            yield f"{question.id}: two options are equal; change one"
        if question.kind == "blank" and question.question.count("____") != 1:
            yield f"{question.id}: write the blank as ____, exactly once"
        if question.kind == "open" and not question.key_facts:
            yield f"{question.id}: key_facts is empty; list the facts that a right answer states"


def find_bad_references(rows: Sequence[SeedTask | Question]) -> Iterator[str]:
    """References that do not name a place in a source, and scenarios that do not exist."""
    for row in rows:
        yield from (f"{row.id}: reference {problem}" for problem in list_reference_problems(row.reference))
        if row.scenario and row.scenario not in ROUTING | CAPTURES:
            yield f"{row.id}: unknown scenario {row.scenario!r}; `python -m commands.replay --list` names all"


def find_guessable_suites(measured: Sequence[Suite], rules: Sequence[str]) -> Iterator[str]:
    """Suites in which one of the `rules` beats chance, or whose right answers are unevenly spread."""
    for suite in measured:
        where = f"{suite.family}, {suite.kind}"
        for rule, accuracy in suite.rules.items():
            if rule in rules and accuracy - suite.chance > max(MARGIN, 1 / suite.questions):
                yield (
                    f"{where}: the rule {rule!r} scores {accuracy:.3f}, chance {suite.chance:.3f}; "
                    "rewrite questions that it guesses"
                )
        if suite.p_even < SIGNIFICANCE:
            yield f"{where}: right answers are unevenly spread (chi-square, p = {suite.p_even:.3f}); move some"


def find_failing_scripts(seeds: Seeds, questions: Sequence[Question], sandbox: Sandbox) -> Iterator[str]:
    """Scripts that fail or misuse a library, and code questions with the same result on every network."""
    networks = {variant: ensure_network(ensure_scratch_folder("network"), variant) for variant in VARIANTS}
    tasks = itertools.chain.from_iterable(seeds.values())
    rows: list[SeedTask | Question] = [seed for seed in tasks if extract_python_blocks(seed.output)]
    rows += [question for question in questions if question.kind == "code"]
    with hold_folder(tempfile.gettempdir(), "validate-") as folder, ThreadPoolExecutor(count_cores()) as pool:

        def run_row(number: int, row: SeedTask | Question, variant: int) -> tuple[str, Any]:
            """(problem, result): the problem is empty if there is none; only questions have a result."""
            place = folder / f"{number}-{variant}"
            if isinstance(row, SeedTask):
                run = run_code(
                    "\n\n".join(extract_python_blocks(row.output)), row.scenario, networks[variant], place, sandbox
                )
                problem, value = describe_failure(run), None
            else:
                outcome = run_answer(row, row.answer, networks[variant], place, sandbox)
                run, problem, value = outcome.run, outcome.problem, outcome.value
            shutil.rmtree(place)
            misused = [f"line {misuse['line']}: {misuse['detail']}" for misuse in run.find_misuses()]
            return problem or "".join(misused[:1]), value

        try:
            jobs = [[pool.submit(run_row, number, row, each) for each in VARIANTS] for number, row in enumerate(rows)]
            for row, futures in zip(tqdm(rows, desc="scripts", unit="script"), jobs, strict=True):
                results = [future.result() for future in futures]
                endings = zip(VARIANTS, results, strict=True)
                failed = [f"{row.id} on network {each}: {problem}" for each, (problem, _) in endings if problem]
                yield from failed
                if isinstance(row, Question) and not failed and not [*find_differences(results[0][1], results[1][1])]:
                    yield f"{row.id}: same result on both networks, so a constant passes; ask for what differs"
        finally:
            pool.shutdown(cancel_futures=True)


def format_summary(seeds: Seeds, questions: Sequence[Question], measured: Sequence[Suite]) -> str:
    """A format_summary of counts by family and kind, and one of what guessing scores by suite."""
    kinds = list(dict.fromkeys(question.kind for question in questions))
    counts = Counter((question.family, question.kind) for question in questions)
    width = max(24, *(len(family) + 1 for family in seeds))
    lines = [f"{'':{width}}{'seeds':>8}" + "".join(f"{kind:>12}" for kind in kinds)]
    for family in dict.fromkeys([*seeds, *(question.family for question in questions)]):
        number = len(seeds.get(family, []))
        lines.append(f"{family:{width}}{number:8}" + "".join(f"{counts[family, kind]:12}" for kind in kinds))
    total = Counter(question.kind for question in questions)
    lines.append(f"{'all':{width}}{sum(map(len, seeds.values())):8}" + "".join(f"{total[kind]:12}" for kind in kinds))
    lines += [
        "",
        f"{'accuracy by rule':36}{'n':>5}{'chance':>8}" + "".join(f"{rule:>14}" for rule in PER_SUITE) + "  best rule",
    ]
    for suite in measured:
        values = "".join(f"{suite.rules[rule]:14.3f}" if rule in suite.rules else f"{'-':>14}" for rule in PER_SUITE)
        rule, excess = suite.find_best_rule()
        name = f"{suite.family} {suite.kind}"
        lines.append(f"{name:36}{suite.questions:5}{suite.chance:8.3f}{values}  {rule} ({excess:+.3f})")
    for kind, accuracy in measure_learned_guesses(questions).items():
        lines.append(f"{'all ' + kind + ', learned from a bag of words':49}{accuracy:14.3f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.validate"
    )
    parser.add_argument("--run", action="store_true", help="also run every script on two networks (two minutes)")
    parser.add_argument("--unsafe", action="store_true", help="no sandbox: for scripts that you have read")
    given = parser.parse_args(arguments)
    sandbox = find_sandbox(given.unsafe) if given.run else None
    needs = Needs.load()
    seeds, questions = load_content(SEEDS, QUESTIONS, needs.families)
    suites = {path.stem for path in QUESTIONS.glob("*.jsonl")}
    tasks = [*itertools.chain.from_iterable(seeds.values())]
    rows: list[SeedTask | Question] = [*tasks, *questions]
    require_unique_ids(f"{SEEDS}/ and {QUESTIONS}/", rows)
    evaluation = Evaluation(questions, needs.contamination, strict=True)
    each = measure_suites(questions)
    together = measure_suites([question.model_copy(update={"family": "all"}) for question in questions])
    found = [
        *find_unread_seeds(needs.families),
        *find_bad_references(rows),
        *find_rejected_seeds(seeds, evaluation, needs.filters),
        *find_malformed_questions(questions, {*needs.families, *suites}),
        *overlap.find_alike_seeds(tasks, needs.filters.rouge_threshold),
        *overlap.find_alike_questions(questions, needs.filters.rouge_threshold),
        *overlap.find_given_away_questions(tasks, evaluation),
        *find_guessable_suites(each, PER_SUITE),
        *find_guessable_suites(together, [rule for suite in together for rule in suite.rules]),
    ]
    print(format_summary(seeds, questions, [*each, *together]), flush=True)
    if sandbox:
        print(sandbox.statement, flush=True)
        found += find_failing_scripts(seeds, questions, sandbox)
    if found:
        number = f"{len(found)} problem{'s' * (len(found) > 1)}"
        raise StageError("\n".join([f"{number} in {SEEDS}/, {QUESTIONS}/ and {PROMPTS}/", *found]))
    print("no problems" + ("" if given.run else "; --run also runs the scripts"))


if __name__ == "__main__":
    run_stage(main)
