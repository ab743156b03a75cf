"""Check the hand-written content: seed tasks and questions, by themselves and against each other.

Reads  data/seeds/, data/questions/, data/prompts/, params `families`, `filters`, `contamination`
Run    python -m commands.validate            # forms, duplicates, overlap, references, what guessing gets
       python -m commands.validate --run      # and every script in them, against two replay networks

Prints counts and, for each suite of closed questions, what rules get that know nothing. Exit code 1 and every problem
where there is one. With --run, code in data/ runs with your rights: read what others wrote first.
"""

import argparse
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from netllama.code_tasks.code_answers import VARIANTS, answered, differences, execute, failure
from netllama.core.cores import count_cores
from netllama.core.errors import StageError, run_stage
from netllama.core.files import read_text, scratch
from netllama.core.params import View
from netllama.core.records import Question, SeedTask, load_questions, load_seeds, require_unique_ids
from netllama.core.sections import ContaminationParams, Families, FilterParams
from netllama.selfinstruct.candidate_filters import python_blocks
from netllama.selfinstruct.contract import Candidate
from netllama.selfinstruct.task_pool import Pool, Questions
from netllama.validation import overlap
from netllama.validation.references import problems
from netllama.validation.shortcuts import Suite, learned, suites
from testbed.captures.capture_files import CAPTURES
from testbed.internet.scenarios import ROUTING
from testbed.network import ensure_network

SEEDS = Path("data/seeds")
QUESTIONS = Path("data/questions")
PROMPTS = Path("data/prompts")
PER_SUITE = ("majority", "first", "longest", "shortest", "most overlap")
"""Rules that may not beat chance in any suite. The others are held to that in all families together."""
MARGIN = 0.03
"""By how much they may, or by one question where that is more: it proves nothing."""
SIGNIFICANCE = 0.05
"""Of chi-square, the p-value below which answers are not evenly spread."""

Seeds = dict[str, list[SeedTask]]


class Needs(View):
    """The params of this command."""

    families: Families
    filters: FilterParams
    contamination: ContaminationParams


def of_seeds(seeds: Seeds, questions: Sequence[Question], needs: Needs) -> Iterator[str]:
    """What generate would reject, were the seeds its candidates; the nearness of texts is `overlap`'s."""
    asked = Questions(questions)
    for family, own in seeds.items():
        directive = read_text(PROMPTS / f"{family}.txt")
        pool = Pool(family, [], directive, asked, needs.filters, needs.contamination.similarity_threshold)
        for seed in own:
            reason = pool.judge(Candidate(seed.instruction, seed.input, seed.output, seed.category)).reason
            if reason and reason not in ("near_duplicate", "near_question"):
                yield f"{seed.id}: the filter {reason} rejects it"
            pool.add(seed)


def of_questions(questions: Sequence[Question], families: Sequence[str]) -> Iterator[str]:
    """What each kind needs, and nothing of another: options that differ, something to fill in, key facts, a script."""
    clusters = Counter(question.cluster for question in questions if question.cluster)
    for question in questions:
        for key, kind in (("options", "choice"), ("aliases", "blank"), ("key_facts", "open"), ("scenario", "code")):
            if getattr(question, key) and question.kind != kind:
                yield f"{question.id}: {key} are for {kind} questions"
        if not question.answer.strip():
            yield f"{question.id}: no answer"
        if clusters[question.cluster] == 1:
            yield f"{question.id}: nothing else is in its cluster {question.cluster}"
        if question.family not in families:
            yield f"{question.id}: params.yaml: families does not list {question.family}"
        if len({option.casefold().strip() for option in question.options}) != len(question.options):
            yield f"{question.id}: two options are the same"
        if question.kind == "blank" and question.question.count("____") != 1:
            yield f"{question.id}: a blank is written ____, once"
        if question.kind == "open" and not question.key_facts:
            yield f"{question.id}: no key facts, so nothing to mark an answer by"


def of_rows(rows: Sequence[SeedTask | Question]) -> Iterator[str]:
    """References that name a place, and scenarios that exist."""
    for row in rows:
        yield from (f"{row.id}: reference {problem}" for problem in problems(row.reference))
        if row.scenario and row.scenario not in ROUTING | CAPTURES:
            yield f"{row.id}: no scenario or capture {row.scenario!r}; python -m commands.replay --list"


def of_suites(measured: Sequence[Suite], rules: Sequence[str]) -> Iterator[str]:
    """Suites in which one of the `rules` beats chance, or whose answers are not evenly spread."""
    for suite in measured:
        where = f"{suite.family}, {suite.kind}"
        for rule, accuracy in suite.rules.items():
            if rule in rules and accuracy - suite.chance > max(MARGIN, 1 / suite.questions):
                yield f"{where}: the rule {rule!r} gets {accuracy:.3f}, chance {suite.chance:.3f}"
        if suite.p_even < SIGNIFICANCE:
            yield f"{where}: answers are not evenly spread (chi-square, p = {suite.p_even:.3f})"


def of_scripts(seeds: Seeds, questions: Sequence[Question]) -> Iterator[str]:
    """Scripts that do not end well or misuse a library, and code questions with one result for every network."""
    networks = {variant: ensure_network(scratch("network"), variant) for variant in VARIANTS}
    rows: list[SeedTask | Question] = [seed for own in seeds.values() for seed in own if python_blocks(seed.output)]
    rows += [question for question in questions if question.kind == "code"]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(count_cores()) as pool:

        def ended(number: int, row: SeedTask | Question, variant: int) -> tuple[str, Any]:
            """What is wrong (empty: nothing), and a question's result."""
            place = Path(folder) / f"{number}-{variant}"
            if isinstance(row, SeedTask):
                run = execute("\n\n".join(python_blocks(row.output)), row.scenario, networks[variant], place)
                problem, value = failure(run), None
            else:
                outcome = answered(row, row.answer, networks[variant], place)
                run, problem, value = outcome.run, outcome.problem, outcome.value
            shutil.rmtree(place)
            misused = [f"line {misuse['line']}: {misuse['detail']}" for misuse in run.misuses()]
            return problem or "".join(misused[:1]), value

        try:
            jobs = [[pool.submit(ended, number, row, each) for each in VARIANTS] for number, row in enumerate(rows)]
            for row, futures in zip(tqdm(rows, desc="scripts", unit="script"), jobs, strict=True):
                results = [future.result() for future in futures]
                problems_of = zip(VARIANTS, (problem for problem, _ in results), strict=True)
                failed = [f"{row.id} on network {each}: {problem}" for each, problem in problems_of if problem]
                yield from failed
                if isinstance(row, Question) and not failed and not [*differences(results[0][1], results[1][1])]:
                    yield f"{row.id}: one result for both networks: a constant would be right"
        finally:
            pool.shutdown(cancel_futures=True)


def table(seeds: Seeds, questions: Sequence[Question], measured: Sequence[Suite]) -> str:
    """How many there are of what, and what guessing gets."""
    kinds = list(dict.fromkeys(question.kind for question in questions))
    counts = Counter((question.family, question.kind) for question in questions)
    width = max(24, *(len(family) + 1 for family in seeds))
    lines = [f"{'':{width}}{'seeds':>8}" + "".join(f"{kind:>12}" for kind in kinds)]
    for family, own in seeds.items():
        lines.append(f"{family:{width}}{len(own):8}" + "".join(f"{counts[family, kind]:12}" for kind in kinds))
    total = Counter(question.kind for question in questions)
    lines.append(f"{'all':{width}}{sum(map(len, seeds.values())):8}" + "".join(f"{total[kind]:12}" for kind in kinds))
    lines += [
        "",
        f"{'accuracy by rule':36}{'n':>5}{'chance':>8}" + "".join(f"{rule:>14}" for rule in PER_SUITE) + "  best rule",
    ]
    for suite in measured:
        values = "".join(f"{suite.rules[rule]:14.3f}" if rule in suite.rules else f"{'-':>14}" for rule in PER_SUITE)
        rule, excess = suite.excess()
        name = f"{suite.family} {suite.kind}"
        lines.append(f"{name:36}{suite.questions:5}{suite.chance:8.3f}{values}  {rule} ({excess:+.3f})")
    for kind, accuracy in learned(questions).items():
        lines.append(f"{'all ' + kind + ', a bag of words that learns':49}{accuracy:14.3f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.validate"
    )
    parser.add_argument("--run", action="store_true", help="run every script on two networks, too (two minutes)")
    given = parser.parse_args(arguments)
    needs = Needs.load()
    seeds = {family: load_seeds(SEEDS, family) for family in needs.families}
    questions = load_questions(QUESTIONS)
    rows: list[SeedTask | Question] = [*itertools.chain.from_iterable(seeds.values()), *questions]
    require_unique_ids(f"{SEEDS}/ and {QUESTIONS}/", rows)
    each = suites(questions)
    together = suites([question.model_copy(update={"family": "all"}) for question in questions])
    found = [
        *of_rows(rows),
        *of_seeds(seeds, questions, needs),
        *of_questions(questions, needs.families),
        *overlap.near_seeds(seeds, needs.filters.rouge_threshold),
        *overlap.near_questions(questions, needs.filters.rouge_threshold),
        *overlap.seeds_near_questions(seeds, questions, needs.contamination.similarity_threshold),
        *overlap.shared_runs(seeds, questions),
        *of_suites(each, PER_SUITE),
        *of_suites(together, [rule for suite in together for rule in suite.rules]),
    ]
    print(table(seeds, questions, [*each, *together]), flush=True)
    if given.run:
        found += of_scripts(seeds, questions)
    if found:
        number = f"{len(found)} problem{'s' * (len(found) > 1)}"
        raise StageError("\n".join([f"{number} in {SEEDS}/, {QUESTIONS}/ and {PROMPTS}/", *found]))
    print("no problems" + ("" if given.run else "; --run also runs the scripts"))


if __name__ == "__main__":
    run_stage(main)
