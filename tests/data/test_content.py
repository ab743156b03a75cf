"""The hand-written prompts, seed tasks and questions: counts, spread, and the standards of a published benchmark.

`commands.validate` judges the rest (test_validate.py runs it on the content); the code is run in test_seed_code.py and
test_code_questions.py. Here similarity is measured again, by rouge-score, which is not ours.
"""

import ast
import re
import sys
from collections import Counter
from functools import cache
from itertools import combinations, product

import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from netllama.contamination.evaluation_questions import WHOLE, cut_runs
from netllama.contamination.normalisation import list_words
from netllama.core.markdown import extract_python_blocks
from netllama.core.params import read_params
from netllama.core.records import Question
from tests.support.clones import ROOT
from tests.support.shipped_data import DATA, FAMILIES, GENERAL, SUITES, load_shipped_questions, load_shipped_seeds

PARAMS = read_params(ROOT / "params.yaml")
TOO_NEAR = PARAMS.contamination.similarity_threshold
SEEDS = load_shipped_seeds()
QUESTIONS = load_shipped_questions()
LIBRARIES = {"pybgpstream", "scapy", "pandas", "numpy", "matplotlib"}
LEAST_SEEDS = {
    "bgp_knowledge": 100,
    "pybgpstream": 60,
    "pybgpstream_realtime": 25,
    "packet_analysis": 40,
    "performance_analysis": 40,
}
LEAST_QUESTIONS = {"choice": 300, "true_false": 165, "blank": 160, "open": 60, "code": 40}
CODE_FAMILIES = {family for family in FAMILIES if family != "bgp_knowledge"}

a_family = pytest.mark.parametrize("family", FAMILIES)
a_kind = pytest.mark.parametrize("kind", LEAST_QUESTIONS)


def directive(family: str) -> str:
    return (DATA / "prompts" / f"{family}.txt").read_text(encoding="utf-8").strip()


def of_kind(kind: str) -> list[Question]:
    return [question for question in QUESTIONS if question.kind == kind]


def test_the_families_of_the_params_are_the_shipped_ones_and_perhaps_a_users() -> None:
    assert set(FAMILIES) <= set(PARAMS.families)


@pytest.mark.parametrize(("folder", "suffix"), [("prompts", "txt"), ("seeds", "jsonl")])
def test_every_file_of_a_family_belongs_to_one_of_the_params(folder: str, suffix: str) -> None:
    names = {f"{family}.{suffix}" for family in PARAMS.families}
    assert {path.name for path in (DATA / folder).iterdir()} == names


@a_family
def test_a_prompt_has_150_to_400_words(family: str) -> None:
    assert 150 <= len(directive(family).split()) <= 400


@a_family
def test_a_prompt_shows_no_task_that_could_be_parroted(family: str) -> None:
    text = directive(family)
    assert not re.search(r"```\w*\n|^\s*\d+\.|Instruction:|Output:|for example", text, re.MULTILINE)
    own = set(cut_runs(list_words(text), WHOLE))
    for seed in SEEDS[family]:
        assert not own.intersection(cut_runs(list_words(f"{seed.instruction}\n{seed.output}"), WHOLE)), seed.id


@a_family
def test_a_family_has_its_seeds_in_many_categories_and_forms_of_all_difficulties(family: str) -> None:
    seeds = SEEDS[family]
    assert len(seeds) >= LEAST_SEEDS[family]
    assert len({seed.category for seed in seeds}) >= 15
    forms = Counter(seed.form for seed in seeds)
    assert "" not in forms
    assert len(forms) >= 5
    assert max(forms.values()) <= 0.6 * len(seeds)
    levels = Counter(seed.difficulty for seed in seeds)
    assert set(levels) == {"easy", "medium", "hard"}
    assert min(levels.values()) >= 0.1 * len(seeds)


@a_family
def test_seeds_are_short_and_long(family: str) -> None:
    lengths = sorted(len(seed.output.split()) for seed in SEEDS[family])
    assert lengths[len(lengths) // 10] <= 45
    assert lengths[-len(lengths) // 10] >= 100


def test_seed_ids_are_unique_across_families() -> None:
    ids = [seed.id for seeds in SEEDS.values() for seed in seeds]
    assert [name for name, number in Counter(ids).items() if number > 1] == []


SCORER = RougeScorer(["rougeL"])


@cache
def words(text: str) -> Counter[str]:
    return Counter(DefaultTokenizer().tokenize(text))


def near(one: str, other: str, threshold: float) -> bool:
    """Whether ROUGE-L is above the threshold, asked only where the words in common, in any order, leave that open."""
    common = (words(one) & words(other)).total()
    if 2 * common <= threshold * (words(one).total() + words(other).total()):
        return False
    return bool(SCORER.score(one, other)["rougeL"].fmeasure > threshold)


def test_near_says_what_rouge_score_says() -> None:
    texts = [seed.instruction for seed in SEEDS["bgp_knowledge"][:40]]
    for one, other in combinations(texts, 2):
        score = SCORER.score(one, other)["rougeL"].fmeasure
        assert near(one, other, score - 0.001)
        assert not near(one, other, score)


def test_no_two_seeds_are_near_duplicates_to_rouge_score() -> None:
    every = [seed for seeds in SEEDS.values() for seed in seeds]
    assert [(a.id, b.id) for a, b in combinations(every, 2) if near(a.instruction, b.instruction, 0.7)] == []


@a_family
def test_no_seed_asks_a_question_of_the_benchmark_to_rouge_score(family: str) -> None:
    questions = [question for question in QUESTIONS if question.family == family]
    assert [
        (seed.id, question.id)
        for seed, question in product(SEEDS[family], questions)
        if near(question.question, seed.instruction, TOO_NEAR)
    ] == []


@a_family
def test_every_fence_is_closed_and_every_python_block_parses(family: str) -> None:
    for seed in SEEDS[family]:
        assert seed.output.count("```") % 2 == 0, seed.id
        for code in extract_python_blocks(seed.output):
            ast.parse(code, filename=seed.id)


@a_family
def test_code_imports_the_standard_library_and_the_libraries_of_the_field_only(family: str) -> None:
    codes = [(seed.id, code) for seed in SEEDS[family] for code in extract_python_blocks(seed.output)]
    codes += [(q.id, q.answer) for q in QUESTIONS if q.family == family and q.kind == "code"]
    strangers = set()
    for name, code in codes:
        for node in ast.walk(ast.parse(code)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            roots = {module.split(".")[0] for module in modules}
            strangers |= {(name, root) for root in roots - LIBRARIES - sys.stdlib_module_names}
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
    assert len(shown) >= 15


@a_family
def test_a_family_has_at_least_60_questions(family: str) -> None:
    assert sum(question.family == family for question in QUESTIONS) >= 60


def test_no_question_shares_eight_words_in_a_row_with_a_seed() -> None:
    """Words as Python counts them: a name with underscores is one, a path or an address is several."""

    def runs(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[start : start + 8]) for start in range(len(words) - 7)}

    taught = {
        run: seed.id
        for seeds in SEEDS.values()
        for seed in seeds
        for run in runs(f"{seed.instruction} {seed.input} {seed.output}")
    }
    asked = (
        (question.id, run)
        for question in QUESTIONS
        for text in (question.question, *question.options, *question.key_facts)
        for run in runs(text)
    )
    assert [(name, taught[run], " ".join(run)) for name, run in asked if run in taught] == []


@a_family
def test_a_task_that_mends_code_holds_the_code_to_mend(family: str) -> None:
    for seed in SEEDS[family]:
        if seed.form == "fix_code":
            assert seed.input, seed.id
        if seed.form == "write_code" and family in CODE_FAMILIES:
            assert extract_python_blocks(seed.output), seed.id


@a_kind
def test_there_are_questions_enough_of_every_kind_and_level(kind: str) -> None:
    own = of_kind(kind)
    assert len(own) >= LEAST_QUESTIONS[kind]
    assert {question.difficulty for question in own} == {"easy", "medium", "hard"}
    assert all(question.category for question in own)


def test_there_are_625_closed_questions_of_the_families() -> None:
    closed = [question for kind in ("choice", "true_false", "blank") for question in of_kind(kind)]
    assert sum(question.family in FAMILIES for question in closed) >= 625


def test_questions_stand_in_the_file_of_their_family_under_its_name() -> None:
    for suite in SUITES:
        lines = (DATA / "questions" / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines()
        own = [question for question in QUESTIONS if question.family == suite]
        assert len(lines) == len(own)
        assert all(re.fullmatch(rf"q-{suite}-\d{{3}}", question.id) for question in own)


def test_every_family_is_asked_about_in_every_kind_but_code_on_plain_knowledge() -> None:
    asked = {(question.family, question.kind) for question in QUESTIONS if question.family in FAMILIES}
    wanted = {(family, kind) for family in FAMILIES for kind in LEAST_QUESTIONS} - {("bgp_knowledge", "code")}
    assert asked == wanted


def test_choices_are_four_of_like_length() -> None:
    for question in of_kind("choice"):
        assert len(question.options) == 4
        lengths = [len(option) for option in question.options]
        assert max(lengths) <= 2 * min(lengths) + 8, question.id


@pytest.mark.parametrize("family", [*FAMILIES, GENERAL])
def test_no_letter_and_no_truth_value_is_right_more_often_than_the_others(family: str) -> None:
    for kind, values in (("choice", "ABCD"), ("true_false", ("true", "false"))):
        answers = Counter(question.answer for question in of_kind(kind) if question.family == family)
        fair = answers.total() / len(values)
        assert set(answers) == set(values)
        assert all(abs(number - fair) < 1 for number in answers.values())


def test_an_open_question_has_three_to_six_key_facts() -> None:
    assert {question.id for question in of_kind("open") if not 3 <= len(question.key_facts) <= 6} == set()


def test_aliases_and_key_facts_stand_where_they_are_used() -> None:
    for question in QUESTIONS:
        assert not question.aliases or question.kind == "blank", question.id
        assert not question.key_facts or question.kind == "open", question.id
        assert not question.options or question.kind == "choice", question.id
        assert not question.scenario or question.kind == "code", question.id
        folded = [text.strip() for text in (question.answer, *question.aliases)]
        assert len(set(folded)) == len(folded), question.id


def test_a_cluster_has_at_least_two_questions() -> None:
    clusters = Counter(question.cluster for question in QUESTIONS if question.cluster)
    assert clusters
    assert {name for name, number in clusters.items() if number < 2} == set()


def test_the_data_card_counts_what_there_is() -> None:
    card = (DATA / "README.md").read_text(encoding="utf-8")
    rows = {
        (cells[0], len(cells)): [int(cell) for cell in cells[1:]]
        for line in card.splitlines()
        if (cells := [cell.strip() for cell in line.strip("|").split("|")])[0] in FAMILIES and len(cells) > 1
    }
    for family in FAMILIES:
        seeds = SEEDS[family]
        levels = Counter(seed.difficulty for seed in seeds)
        with_python = sum(bool(extract_python_blocks(seed.output)) for seed in seeds)
        numbers = [len(seeds), with_python, len({seed.category for seed in seeds})]
        assert rows[family, 7] == numbers + [levels[level] for level in ("easy", "medium", "hard")]
        kinds = Counter(question.kind for question in QUESTIONS if question.family == family)
        assert rows[family, 6] == [kinds[kind] for kind in LEAST_QUESTIONS]
    forms = Counter(seed.form.replace("_", " ") for seeds in SEEDS.values() for seed in seeds)
    said = re.search(r"By form: (.*?)\.\n", card, re.DOTALL)
    assert said
    stated = {re.sub(r" data or output| \d+", "", item): int(item.split()[-1]) for item in re.split(r",\s+", said[1])}
    assert stated == forms
    assert f"| {sum(map(len, SEEDS.values()))} tasks with answers" in card
    general = [question for question in QUESTIONS if question.family == GENERAL]
    kinds = Counter(question.kind for question in general)
    counts = " | ".join(str(kinds[kind]) for kind in LEAST_QUESTIONS)
    assert f"| {GENERAL} | {counts} |" in card
    assert f"| {len(QUESTIONS) - len(general)} questions of the families and {len(general)} general ones:" in card
