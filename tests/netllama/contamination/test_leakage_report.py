"""The leakage report against plain loops, and what it lets pass."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.contamination.common_text import CommonText
from netllama.contamination.compared_texts import join_texts
from netllama.contamination.leakage_report import LeakedText, SideLeakage, list_leaky_sides, measure_leakage
from netllama.contamination.normalisation import list_words, squeeze_text
from netllama.core.records import Instruction, Question
from netllama.core.sections import ContaminationParams
from tests.support.given_away import is_worded, make_question, make_row, score


def row(number: int, instruction: str, output: str = "Done.", input: str = "") -> Instruction:
    return make_row(instruction, input, output, f"r-{number:03d}")


def measure(
    train: Sequence[Instruction],
    test: Sequence[Instruction] = (),
    questions: Sequence[Question] = (),
    threshold: float = 0.7,
    ngram: int = 13,
) -> tuple[dict[str, SideLeakage], list[LeakedText]]:
    sides = {"train": train, "val": [], "test": test}
    limits = ContaminationParams(similarity_threshold=threshold, ngram=ngram)
    return measure_leakage(sides, questions, CommonText([*train, *test], ngram), threshold, limits, Path())


def runs(text: str, length: int) -> list[list[str]]:
    said = list_words(text)
    return [said[start : start + length] for start in range(len(said) - length + 1)]


def slowly(
    texts: dict[str, list[str]], passages: dict[str, list[str]], train: list[str], wholes: list[list[str]],
    threshold: float, ngram: int, shortest: int,
) -> tuple[dict[str, set[str]], float]:  # fmt: skip
    """The ids that each measure finds, and the highest similarity. Runs are looked for in each of `wholes`, which a
    passage may be spread over."""
    found: dict[str, set[str]] = {"exact": set(), "near": set(), "ngram": set()}
    most = 0.0
    for name, forms in texts.items():
        for form, other in product(forms, train):
            if squeeze_text(form) == squeeze_text(other):
                found["exact"].add(name)
            most = max(most, near := score(form, other))
            if near >= threshold - 1e-9:
                found["near"].add(name)
        for passage in passages[name]:
            length = ngram
            if shortest:
                number = len(list_words(passage))
                length = min(number, ngram) if number >= shortest else 0
            mine = runs(passage, length) if length else []
            if not shortest:
                mine = [run for place, run in enumerate(mine) if run not in mine[:place]]
            for whole in wholes:
                if mine and sum(any(run in runs(text, length) for text in whole) for run in mine) >= len(mine) / 2:
                    found["ngram"].add(name)
    return found, most


WORDS = st.sampled_from(["bgp", "Hold", "7", "10.0.0.1", "é", "route", "leak", "!", "as_path"])
TEXT = st.lists(WORDS, min_size=1, max_size=10).map(" ".join)
TASK = st.tuples(TEXT, TEXT, st.just("") | TEXT)
THRESHOLD = st.sampled_from([0.5, 0.7, 1.0])


@given(
    tasks=st.lists(st.tuples(TASK, st.sampled_from(["train", "train", "val", "test"])), min_size=2, max_size=10),
    asked=st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=2, max_size=2, unique=True)), min_size=1, max_size=4),
    row_threshold=THRESHOLD,
    question_threshold=THRESHOLD,
    ngram=st.integers(2, 10),
)
def test_the_numbers_are_those_of_plain_loops(
    tasks: list[tuple[tuple[str, str, str], str]],
    asked: list[tuple[str, list[str]]],
    row_threshold: float,
    question_threshold: float,
    ngram: int,
) -> None:
    sides: dict[str, list[Instruction]] = {"train": [], "val": [], "test": []}
    for number, (fields, side) in enumerate(tasks):
        sides[side].append(row(number, *fields))
    questions = [make_question(number, text, "choice", "A", options) for number, (text, options) in enumerate(asked)]
    limits = ContaminationParams(similarity_threshold=question_threshold, ngram=ngram)
    common = CommonText([each for listed in sides.values() for each in listed], ngram)
    report, found = measure_leakage(sides, questions, common, row_threshold, limits, Path())
    whole = [join_texts(r) for r in sides["train"]]
    prompts = [text for r in sides["train"] for text in (r.instruction, f"{r.instruction} {r.input}")]
    prompts += [r.input for r in sides["train"] if is_worded(r.input)]
    for name in ("val", "test", "questions"):
        if name == "questions":
            texts = {q.id: [q.question, " ".join([q.question, *q.options])] for q in questions}
            passages = {q.id: [q.question, *filter(is_worded, q.options)] for q in questions}
            hits, most = slowly(texts, passages, prompts, [whole], question_threshold, ngram, 8)
        else:
            texts = {r.id: [join_texts(r)] for r in sides[name]}
            hits, most = slowly(texts, texts, whole, [[text] for text in whole], row_threshold, ngram, 0)
        leaked = set().union(*hits.values())
        assert asdict(report[name]) == {
            **{measure: len(ids) for measure, ids in hits.items()},
            "max_similarity": pytest.approx(most, abs=1e-4),
            "leaked": len(leaked),
            "share": round(len(leaked) / max(1, len(texts)), 4),
        }
        listed = {(each.id, each.measure) for each in found if each.side == name}
        assert listed == {(one, measure) for measure, ids in hits.items() for one in ids}
    assert all(each.of in {r.id for r in sides["train"]} for each in found)


SCRIPT = """import pybgpstream
from datetime import datetime
stream = pybgpstream.BGPStream(
    from_time="2024-01-01 00:00:00", until_time="2024-01-01 01:00:00 UTC",
    collectors=["route-views.sg", "route-views.eqix"], record_type="updates",
)
for elem in stream:
    """
TASKS = (
    "Count the announcements of each peer in an hour and print the ten peers that sent most of them.",
    "Write every prefix that two origins announce at the same time to a file, with both of the origin numbers.",
)
CODE = (
    'if elem.type == "A":\n        counts[elem.peer_asn] += 1\n'
    "for peer, number in counts.most_common(10):\n    print(peer)",
    'prefix, path = elem.fields["prefix"], elem.fields["as-path"]\n    origins[prefix].add(path.split()[-1])\n'
    'with open("moas.txt", "w") as file:\n    for prefix, found in origins.items():\n        if len(found) > 1:\n'
    '            file.write(f"{prefix} {sorted(found)} is announced by more than one of the networks we know of")',
)


def test_imports_and_boilerplate_that_scripts_share_are_not_a_leak() -> None:
    one, other = (row(n, TASKS[n], f"```python\n{SCRIPT}{CODE[n]}\n```") for n in range(2))
    report, found = measure([one], [other])
    assert found == []
    assert report["test"].leaked == 0


def test_a_passage_that_two_rows_share_is_a_leak_although_they_are_not_near() -> None:
    passage = " ".join(f"word{number}" for number in range(40))
    long = row(1, "Summarise.", " ".join(f"other{number}" for number in range(200)), passage)
    short = row(2, "Which word is first?", "word0", passage)
    report, found = measure([long], [short])
    assert (report["test"].near, report["test"].ngram, report["test"].share) == (0, 1, 1.0)
    assert [(each.id, each.of, each.measure) for each in found] == [("r-002", "r-001", "ngram")]


def test_tables_of_other_numbers_are_not_a_leak() -> None:
    one = row(1, "What is the mean of these delays in milliseconds?", "See below.", " ".join(map(str, range(100, 200))))
    other = row(2, "Sort by size and give me all duplicates.", "None there.", " ".join(map(str, range(300, 400))))
    assert measure([one], [other], threshold=1.0)[0]["test"].ngram == 0


def test_an_n_gram_names_the_row_that_holds_most_of_it() -> None:
    said = [f"word{number}" for number in range(30)]
    train = [row(1, " ".join(said[:14])), row(2, " ".join(said[5:30])), row(3, "else")]
    (leaked,) = measure(train, [row(4, " ".join(said))], threshold=0.95, ngram=5)[1]
    assert (leaked.measure, leaked.of) == ("ngram", "r-002")


def test_a_question_that_several_rows_repeat_in_parts_is_found() -> None:
    said = [f"word{number}" for number in range(40)]
    train = [row(1, "Explain.", " ".join(said[:20])), row(2, "Explain it.", " ".join(said[20:]))]
    (leaked,) = measure(train, questions=[make_question(1, " ".join(said))])[1]
    assert (leaked.side, leaked.id, leaked.measure) == ("questions", "q-1", "ngram")


def test_a_question_is_found_in_an_instruction_and_as_a_whole_in_an_answer() -> None:
    asked = [
        make_question(1, "Why is the hold timer reset?"),
        make_question(2, "What does a speaker do when its hold timer expires?"),
    ]
    train = [
        row(1, "why is the HOLD timer reset"),
        row(2, "Talk.", "What does a speaker do when its hold timer expires?"),
    ]
    report, found = measure(train, questions=asked)
    assert [(each.id, each.measure, each.of) for each in found] == [("q-1", "near", "r-001"), ("q-2", "ngram", "r-002")]
    assert report["questions"].leaked == 2


def test_of_the_passages_of_a_question_the_one_that_is_repeated_most_counts() -> None:
    said, fact = ([f"{name}{number}" for number in range(20)] for name in ("word", "fact"))
    for share, repeated in ((0.625, said[:17]), (0.75, said[:18])):  # of 8 runs of 13 words: 5 and 6
        train = [row(1, "Explain.", f"{' '.join(repeated)} and {' '.join(fact[:16])}")]  # 4 runs of the key fact
        for text, key_fact in ((said, fact), (fact, said)):
            question = make_question(1, " ".join(text), key_facts=[" ".join(key_fact)])
            (leaked,) = measure(train, questions=[question])[1]
            assert leaked.score == share


def test_of_rows_with_the_same_text_the_first_is_named() -> None:
    train = [row(1, "Why?", input="a b"), row(2, "Why?", input="c d")]
    assert {each.of for each in measure(train, questions=[make_question(1, "Why?")])[1]} == {"r-001"}


def test_a_leaked_text_is_told_in_one_line_with_both_texts() -> None:
    leaked = measure([row(1, "a b c")], [row(2, "a b\nc")])[1][0]
    assert str(leaked) == "test r-002: exact 1.00 to r-001: 'a b c Done.' / 'a b c Done.'"


def test_more_than_the_limit_is_too_much_and_the_limit_itself_is_not() -> None:
    leaked = {"val": 1, "test": 3, "questions": 2}
    report = {side: SideLeakage(0, 0, 0, 0.0, number, 0.0) for side, number in leaked.items()}
    sizes = {"val": 100, "test": 200, "questions": 100}
    assert list_leaky_sides(report, sizes, 0.01) == ["3 of 200 rows of test", "2 of 100 questions"]
    assert list_leaky_sides(report, sizes, 0.02) == []
    assert list_leaky_sides({"val": SideLeakage(0, 0, 0, 0.0, 0, 0.0)}, {"val": 0}, 0.0) == []
