"""The leakage report against plain loops, and what it lets pass."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from netllama.contamination.leakage_report import Leak, leaks, too_leaky
from netllama.contamination.normalisation import exact, template, words
from netllama.core.records import Instruction, Question
from netllama.novelty.rouge import tokens
from netllama.splitting.groups import comparable
from tests.netllama.contamination.test_evaluation_questions import question

SCORER = RougeScorer(["rougeL"])


def row(number: int, instruction: str, output: str = "Done.", input: str = "") -> Instruction:
    return Instruction(
        id=f"r-{number:03d}", family="bgp", source="extra", instruction=instruction, input=input, output=output
    )


def rouge(one: str, other: str) -> float:
    return float(SCORER.score(template(one), template(other))["rougeL"].fmeasure)


def runs(text: str, length: int) -> list[list[str]]:
    said = tokens(words(text))
    return [said[i : i + length] for i in range(len(said) - length + 1)]


def slowly(
    texts: dict[str, list[str]], said: dict[str, str], train: dict[str, list[str]], whole: Sequence[str],
    threshold: float, ngram: int, shortest: int,
) -> tuple[dict[str, set[str]], float]:  # fmt: skip
    """The ids that each measure finds, and the highest similarity."""
    found: dict[str, set[str]] = {"exact": set(), "near": set(), "ngram": set()}
    most = 0.0
    for name, forms in texts.items():
        for form in forms:
            for other in (text for listed in train.values() for text in listed):
                if exact(form) == exact(other):
                    found["exact"].add(name)
                score = rouge(form, other)
                most = max(most, score)
                if score >= threshold - 1e-9:
                    found["near"].add(name)
        length = ngram
        if shortest:
            number = len(tokens(words(said[name])))
            length = min(number, ngram) if number >= shortest else 0
        mine = runs(said[name], length) if length else []
        if mine and sum(any(run in runs(text, length) for text in whole) for run in mine) >= len(mine) / 2:
            found["ngram"].add(name)
    return found, most


WORDS = st.sampled_from(["bgp", "Hold", "7", "10.0.0.1", "é", "route", "leak", "!"])
TEXT = st.lists(WORDS, min_size=1, max_size=10).map(" ".join)
TASK = st.tuples(TEXT, TEXT, st.just("") | TEXT)


@settings(max_examples=150, deadline=None)
@given(
    tasks=st.lists(st.tuples(TASK, st.sampled_from(["train", "train", "val", "test"])), min_size=2, max_size=10),
    asked=st.lists(TEXT, min_size=1, max_size=4),
    threshold=st.sampled_from([0.5, 0.7, 1.0]),
    ngram=st.integers(2, 10),
)
def test_the_numbers_are_those_of_plain_loops(
    tasks: list[tuple[tuple[str, str, str], str]], asked: list[str], threshold: float, ngram: int
) -> None:
    sides: dict[str, list[Instruction]] = {"train": [], "val": [], "test": []}
    for number, (fields, side) in enumerate(tasks):
        sides[side].append(row(number, *fields))
    questions = [question(number, text) for number, text in enumerate(asked)]
    report, found = leaks(sides, questions, threshold, ngram)
    whole = [comparable(r) for r in sides["train"]]
    train_rows = {r.id: [comparable(r)] for r in sides["train"]}
    train_prompts = {r.id: [r.instruction, f"{r.instruction} {r.input}"] for r in sides["train"]}
    for name in ("val", "test", "questions"):
        if name == "questions":
            texts = {q.id: [q.question] for q in questions}
            hits, most = slowly(texts, {q.id: q.question for q in questions}, train_prompts, whole, threshold, ngram, 8)
        else:
            texts = {r.id: [comparable(r)] for r in sides[name]}
            said = {r.id: comparable(r) for r in sides[name]}
            hits, most = slowly(texts, said, train_rows, whole, threshold, ngram, 0)
        leaked = set().union(*hits.values())
        assert report[name] == {
            **{measure: len(ids) for measure, ids in hits.items()},
            "max_similarity": pytest.approx(most, abs=1e-4),
            "leaked": len(leaked),
            "share": round(len(leaked) / max(1, len(texts)), 4),
        }
        listed = {(leak.id, leak.measure) for leak in found if leak.side == name}
        assert listed == {(one, measure) for measure, ids in hits.items() for one in ids}
    of = {r.id for r in sides["train"]}
    assert all(leak.of in of for leak in found)


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


def test_imports_and_boilerplate_that_scripts_share_are_no_leak() -> None:
    one, other = (row(n, TASKS[n], f"```python\n{SCRIPT}{CODE[n]}\n```") for n in range(2))
    report, found = leaks({"train": [one], "val": [other], "test": []}, [], 0.7, 13)
    assert found == []
    assert report["val"]["leaked"] == 0


def test_a_passage_that_two_rows_share_is_a_leak_although_they_are_not_near() -> None:
    passage = " ".join(f"word{number}" for number in range(40))
    long = row(1, "Summarise.", " ".join(f"other{number}" for number in range(200)), passage)
    short = row(2, "Which word is first?", "word0", passage)
    report, found = leaks({"train": [long], "val": [], "test": [short]}, [], 0.7, 13)
    assert (report["test"]["near"], report["test"]["ngram"], report["test"]["share"]) == (0, 1, 1.0)
    assert [(leak.id, leak.of, leak.measure) for leak in found] == [("r-002", "r-001", "ngram")]


def test_tables_of_other_numbers_are_no_leak() -> None:
    one = row(1, "What is the mean of these delays in milliseconds?", "See below.", " ".join(map(str, range(100, 200))))
    other = row(2, "Sort by size and give me all duplicates.", "None there.", " ".join(map(str, range(300, 400))))
    assert leaks({"train": [one], "val": [other], "test": []}, [], 1.0, 13)[0]["val"]["ngram"] == 0


def test_an_n_gram_names_the_row_that_holds_most_of_it() -> None:
    said = [f"word{number}" for number in range(30)]
    train = [row(1, " ".join(said[:14])), row(2, " ".join(said[5:30])), row(3, "else")]
    (leak,) = leaks({"train": train, "val": [], "test": [row(4, " ".join(said))]}, [], 0.95, 5)[1]
    assert (leak.measure, leak.of) == ("ngram", "r-002")


def test_a_question_is_found_in_an_instruction_and_as_a_whole_in_an_answer() -> None:
    asked: list[Question] = [
        question(1, "Why is the hold timer reset?"),
        question(2, "What does a speaker do when its hold timer expires?"),
    ]
    train = [
        row(1, "why is the HOLD timer reset"),
        row(2, "Talk.", "What does a speaker do when its hold timer expires?"),
    ]
    report, found = leaks({"train": train, "val": [], "test": []}, asked, 0.7, 13)
    assert [(leak.id, leak.measure, leak.of) for leak in found] == [("q-1", "near", "r-001"), ("q-2", "ngram", "r-002")]
    assert report["questions"]["leaked"] == 2


def test_a_leak_is_told_in_one_line_with_both_texts() -> None:
    leak = leaks({"train": [row(1, "a b c")], "val": [row(2, "a b\nc")], "test": []}, [], 0.7, 13)[1][0]
    assert str(leak) == "val r-002: exact 1.00 to r-001: 'a b c Done.' / 'a b c Done.'"
    assert isinstance(leak, Leak)


def test_more_than_the_limit_is_too_leaky_and_the_limit_itself_is_not() -> None:
    report = {"val": {"leaked": 1}, "test": {"leaked": 3}, "questions": {"leaked": 2}}
    sizes = {"val": 100, "test": 200, "questions": 100}
    assert too_leaky(report, sizes, 0.01) == ["3 of 200 rows of test", "2 of 100 questions"]
    assert too_leaky(report, sizes, 0.02) == []
    assert too_leaky({"val": {"leaked": 0}}, {"val": 0}, 0.0) == []
