"""The hand-written prompts, seed tasks and questions, held to the standards that generated tasks are held to."""

import ast
import re
import sys
from collections import Counter

import pytest
from rouge_score.rouge_scorer import RougeScorer
from source import ROOT

from stages.core.params import read_params
from stages.core.records import Question, SeedTask, load_questions, load_seeds
from stages.selfinstruct.contract import Candidate
from stages.selfinstruct.filters import FENCE
from stages.selfinstruct.pool import Pool, Questions

DATA = ROOT / "data"
GENERATE = read_params(ROOT / "params.yaml").generate
FAMILIES = GENERATE.families
SEEDS: dict[str, list[SeedTask]] = {family: load_seeds(DATA / "seeds", family) for family in FAMILIES}
QUESTIONS: list[Question] = load_questions(DATA / "questions")
LIBRARIES = {"pybgpstream", "scapy", "pandas", "numpy", "matplotlib"}
RUN = 8

a_family = pytest.mark.parametrize("family", FAMILIES)


def directive(family: str) -> str:
    return (DATA / "prompts" / f"{family}.txt").read_text(encoding="utf-8").strip()


def python_blocks(seed: SeedTask) -> list[str]:
    return [code for language, code in FENCE.findall(seed.output) if language in ("python", "py")]


def runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}


def test_every_data_file_belongs_to_a_family_of_the_params() -> None:
    for folder, suffix in (("prompts", "txt"), ("seeds", "jsonl"), ("questions", "jsonl")):
        assert {path.name for path in (DATA / folder).iterdir()} == {f"{family}.{suffix}" for family in FAMILIES}


@a_family
def test_a_prompt_has_150_to_400_words(family: str) -> None:
    assert 150 <= len(directive(family).split()) <= 400


@a_family
def test_a_family_has_at_least_12_seeds_of_several_categories(family: str) -> None:
    assert len(SEEDS[family]) >= 12
    assert len({seed.category for seed in SEEDS[family]}) >= 4


def test_seed_ids_are_unique_across_families() -> None:
    ids = [seed.id for seeds in SEEDS.values() for seed in seeds]
    assert [name for name, number in Counter(ids).items() if number > 1] == []


@a_family
def test_an_instruction_lies_in_the_word_window_of_generated_ones(family: str) -> None:
    lengths = {seed.id: len(seed.instruction.split()) for seed in SEEDS[family]}
    assert {name: n for name, n in lengths.items() if not GENERATE.min_words <= n <= GENERATE.max_words} == {}


@a_family
def test_every_seed_passes_the_filters_of_its_family_and_the_pool_of_the_seeds_before_it(family: str) -> None:
    pool = Pool(family, [], directive(family), Questions(QUESTIONS), GENERATE)
    reasons = {}
    for seed in SEEDS[family]:
        reasons[seed.id] = pool.judge(Candidate(seed.instruction, seed.input, seed.output, seed.category)).reason
        pool.add(seed)
    assert {name: reason for name, reason in reasons.items() if reason} == {}


@a_family
def test_no_two_seeds_of_a_family_are_near_duplicates(family: str) -> None:
    scorer = RougeScorer(["rougeL"])
    seeds = SEEDS[family]
    scores = {
        (seeds[i].id, seeds[j].id): scorer.score(seeds[i].instruction, seeds[j].instruction)["rougeL"].fmeasure
        for i in range(len(seeds))
        for j in range(i)
    }
    assert {pair: score for pair, score in scores.items() if score > GENERATE.rouge_threshold} == {}


@a_family
def test_every_fence_is_closed_and_every_python_block_parses(family: str) -> None:
    for seed in SEEDS[family]:
        assert seed.output.count("```") % 2 == 0, seed.id
        for code in python_blocks(seed):
            ast.parse(code, filename=seed.id)


@a_family
def test_code_imports_the_standard_library_and_the_libraries_of_the_field_only(family: str) -> None:
    strangers = set()
    for seed in SEEDS[family]:
        for node in (node for code in python_blocks(seed) for node in ast.walk(ast.parse(code))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            strangers |= {(seed.id, name) for name in roots - LIBRARIES - sys.stdlib_module_names}
    assert strangers == set()


@pytest.mark.parametrize(
    ("family", "library"),
    [
        ("pybgpstream", "pybgpstream"),
        ("pybgpstream_realtime", "pybgpstream"),
        ("packet_analysis", "scapy"),
        ("performance_analysis", "pandas"),
    ],
)
def test_a_code_family_shows_its_library(family: str, library: str) -> None:
    shown = [seed.id for seed in SEEDS[family] if re.search(rf"\b(import|from) {library}\b", seed.output)]
    assert len(shown) >= 5


@a_family
def test_a_family_has_at_least_12_questions(family: str) -> None:
    assert sum(question.family == family for question in QUESTIONS) >= 12


def test_there_are_at_least_60_questions_each_in_the_file_of_its_family() -> None:
    assert len(QUESTIONS) >= 60
    for path in sorted((DATA / "questions").glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == sum(question.family == path.stem for question in QUESTIONS)


@a_family
def test_no_letter_is_right_more_often_than_the_others(family: str) -> None:
    answers = Counter(q.answer for q in QUESTIONS if q.family == family and q.kind == "choice")
    fair = answers.total() / 4
    assert set(answers) == set("ABCD")
    assert all(abs(number - fair) < 1 for number in answers.values())


@a_family
def test_true_is_right_as_often_as_false(family: str) -> None:
    answers = Counter(q.answer for q in QUESTIONS if q.family == family and q.kind == "true_false")
    assert answers["true"] == answers["false"] > 0


def test_choices_are_four_and_distinct() -> None:
    for question in QUESTIONS:
        if question.kind == "choice":
            assert len({option.casefold().strip() for option in question.options}) == 4, question.id


def test_the_longest_option_is_not_the_safe_guess() -> None:
    closed = [question for question in QUESTIONS if question.kind == "choice"]
    longest = [q for q in closed if max(q.options, key=len) == q.options["ABCD".index(q.answer)]]
    assert len(longest) <= 0.4 * len(closed)


def test_every_seed_and_every_question_names_its_reference() -> None:
    rows: list[SeedTask | Question] = [*QUESTIONS, *(seed for seeds in SEEDS.values() for seed in seeds)]
    assert [row.id for row in rows if not row.reference.strip()] == []


def test_no_question_shares_a_run_of_eight_words_with_a_seed() -> None:
    taught = {
        run: seed.id
        for seeds in SEEDS.values()
        for seed in seeds
        for text in (seed.instruction, seed.input, seed.output)
        for run in runs(text)
    }
    asked = ((q.id, run) for q in QUESTIONS for text in (q.question, *q.options) for run in runs(text))
    assert [(name, taught[run], " ".join(run)) for name, run in asked if run in taught] == []
