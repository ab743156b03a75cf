"""Questions with documents: who is asked, what an answer is worth in each arm, and what the numbers are made of."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.core.files import write_findings, write_jsonl
from netllama.core.records import Question
from netllama.documents.chunk_file import write_chunks
from netllama.documents.document import show_chunk
from netllama.models.loading import load_base
from netllama.reading.reading_records import ARMS, Arm, ReadingQuestion
from netllama.rendering.document_texts import REFUSAL, phrase_with_documents
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring.comparison import ARM_NAMES
from netllama.scoring.material import Material
from netllama.scoring.measure import measure_model
from netllama.scoring.reading_scores import (
    ANSWER_TOKENS,
    ReadingMaterial,
    ask_reports,
    judge_reading,
    load_reading,
    require_room,
    score_reading,
)
from netllama.scoring.reading_summary import summarize_reading
from netllama.scoring.score import Score
from tests.support.reading_sets import make_asked, make_report_chunks
from tests.support.training_runs import SHIPPED, loading_params

TEXTS = {chunk.id: show_chunk(chunk.headings, chunk.text) for chunk in make_report_chunks()}
CLOSED = {"aliases": [], "key_facts": [], "reference": "", "cluster": ""}


def make_question(number: int, family: str = "bgp") -> Question:
    row = {"id": f"q{number}", "family": family, "kind": "choice", "question": f"Which port has peer {number}?"}
    return Question.model_validate(row | CLOSED | {"options": ["TCP 179", "UDP 53"], "answer": "AB"[number % 2]})


def make_closed(number: int, family: str = "bgp") -> ReadingQuestion:
    question = make_question(number, family)
    row = {"id": question.id, "kind": "choice", "family": family, "question": question.question, "answer": ""}
    arms = {"oracle": ["r0"], "retrieved": ["r1", "r0"]}
    return ReadingQuestion.model_validate(row | {"choices": [], "golden": ["r0"], "arms": arms})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Questions with documents, and the documents: 4 with an answer, 4 without, 3 closed ones, 1 of them general."""
    rows = [make_asked(number, ["r1", f"r{number}"]) for number in (0, 2, 3, 4)]
    rows += [make_asked(number, ["r1"], answered=False) for number in range(4)]
    rows += [make_closed(0), make_closed(1), make_closed(2, "general")]
    write_jsonl(tmp_path / "questions.jsonl", [row.model_dump() for row in rows])
    write_chunks(tmp_path / "chunks.jsonl", make_report_chunks())
    return tmp_path / "questions.jsonl", tmp_path / "chunks.jsonl"


QUESTIONS = [make_question(0), make_question(1), make_question(2, "general")]


@pytest.mark.parametrize(("num_reports", "answered", "unanswered"), [(0, 0, 0), (1, 1, 0), (2, 2, 1), (99, 4, 4)])
def test_half_as_many_questions_without_an_answer_are_asked(
    files: tuple[Path, Path], num_reports: int, answered: int, unanswered: int
) -> None:
    material = load_reading(*files, QUESTIONS, num_reports, 9)
    assert [bool(row.golden) for row in material.reports] == [True] * answered + [False] * unanswered
    assert [row.id for row, _ in material.closed] == ["q0", "q1"], "general questions have no note"
    assert material.documents == TEXTS


def test_a_larger_sample_holds_the_smaller_one(files: tuple[Path, Path]) -> None:
    samples = [{row.id for row in load_reading(*files, QUESTIONS, number, 0).reports} for number in range(9)]
    assert all(small <= large for small, large in itertools.pairwise(samples))


def test_where_nothing_is_asked_no_document_is_read(files: tuple[Path, Path]) -> None:
    asked, chunks = files
    chunks.unlink()
    assert load_reading(asked, chunks, QUESTIONS, 0, 0) == ReadingMaterial([], [], {})
    write_findings(asked, [], none="no question has documents")
    assert load_reading(asked, chunks, QUESTIONS, 9, 9) == ReadingMaterial([], [], {})


def test_files_that_do_not_fit_each_other_are_one_line(
    files: tuple[Path, Path], one_thread: None, tiny_tokenizer: Any
) -> None:
    asked, chunks = files
    with pytest.raises(
        StageError, match=r"questions\.jsonl: q1 is no question of data/questions/; run `dvc repro retr"
    ):
        load_reading(asked, chunks, QUESTIONS[:1], 9, 9)
    chunks.write_text("")
    material = load_reading(asked, chunks, QUESTIONS, 9, 9)
    with pytest.raises(
        StageError, match=r"^data/retrieved/: question rq0 needs r0, which is missing; run `dvc repro -f"
    ):
        ask_reports(material, Renderer(tiny_tokenizer, "chat", ""))
    chunks.unlink()
    with pytest.raises(StageError, match=r"chunks\.jsonl: no such file; run `dvc repro retrieve`"):
        load_reading(asked, chunks, QUESTIONS, 9, 9)
    asked.write_text('{"id": "x"}\n')
    with pytest.raises(StageError, match=r"questions\.jsonl:1: kind: field required"):
        load_reading(asked, chunks, QUESTIONS, 9, 9)


def judge(arm: Arm, answer: str, found: Sequence[str] = ("r1", "r0")) -> Score:
    row = make_asked(0, found)
    return judge_reading(row, arm, answer, [TEXTS[name] for name in row.arms[arm]])


@pytest.mark.parametrize(
    ("arm", "found", "answer", "value", "measures"),
    [
        ("closed", "", "AS64500", 1, {"refused": 0, "exact": 1}),
        ("closed", "", REFUSAL, 0, {"refused": 1, "exact": 0}),
        (
            "oracle",
            "",
            "AS64500 [1]",
            1,
            {"cites_golden": 1, "citation_precision": 1, "slot": 1, "exact": 1, "invented": 0},
        ),
        ("retrieved", "r1 r0", "AS64500 [2]", 1, {"cites_golden": 1, "slot": 2, "exact": 1}),
        ("retrieved", "r1 r0", "AS64500 [1]", 1, {"cites": 1, "cites_golden": 0, "citation_precision": 0, "exact": 1}),
        ("retrieved", "r1 r0", "It is AS64500 [1][2].", 1, {"cites_golden": 1, "citation_precision": 0.5, "exact": 0}),
        ("retrieved", "r1 r0", "AS64500 [2] [2] [7]", 1, {"cites_golden": 1, "citation_precision": 0.5}),
        ("retrieved", "r1 r0", "AS64501 [1]", 0, {"refused": 0, "invented": 0, "quotes_found": None}),
        ("retrieved", "r1 r0", 'AS64500, "of routes that nobody saw" [2]', 1, {"quotes_found": 0}),
        ("retrieved", "r1 r0", "AS99 [2]", 0, {"invented": 1, "cites_golden": 1}),
        ("retrieved", "r1 r0", REFUSAL, 0, {"refused": 1, "cites": 0, "exact": 0}),
        ("retrieved", "r1 r2", f"{REFUSAL} [1]", 1, {"refused": 1, "exact": 0}),
        ("retrieved", "r1 r2", "AS64500", 0, {"refused": 0, "exact": 0, "invented": 1}),
        ("distractors", "", REFUSAL, 1, {"refused": 1}),
        ("distractors", "", "AS64504 [1]", 0, {"refused": 0, "invented": 0}),
    ],
)
def test_an_answer_is_worth_what_its_documents_allow(
    arm: Arm, found: str, answer: str, value: float, measures: dict[str, float]
) -> None:
    score = judge(arm, answer, found.split())
    assert (score.value, score.arm, score.suite, score.kind) == (value, arm, "reports", "report")
    assert {name: score.measures.get(name) for name in measures} == measures
    holds = arm in ("closed", "oracle") or (arm == "retrieved" and "r0" in found)
    assert score.expected == ("AS64500" if holds else REFUSAL)
    assert ("slot" in score.measures) == (holds and arm != "closed")
    assert ("citation_precision" in score.measures) == ("slot" in score.measures and "[" in answer)
    assert score.explanation


def test_a_question_that_nothing_answers_wants_the_refusal() -> None:
    row = make_asked(1, ["r0", "r2"], answered=False)
    shown = [TEXTS["r0"], TEXTS["r2"]]
    assert judge_reading(row, "absent", REFUSAL, shown).value == 1
    refused = judge_reading(row, "absent", "AS64500 [1]", shown)
    assert (refused.value, refused.explanation) == (0, "an answer, though no document holds it")


def test_a_model_is_asked_with_the_prompt_of_the_training_arm_by_arm(
    tiny_model_folder: Path, tiny_tokenizer: Any, one_thread: None
) -> None:
    renderer = Renderer(tiny_tokenizer, "chat", "")
    model = load_base(tiny_model_folder, loading_params("fp32", "none", False))
    reports = [make_asked(0, ["r1", "r0"]), make_asked(3, ["r0"], answered=False)]
    material = ReadingMaterial(reports, [(make_closed(1), make_question(1))], TEXTS)
    answer = tiny_tokenizer(f"{REFUSAL}<|end|>", add_special_tokens=False)["input_ids"]
    asked = ask_reports(material, renderer)
    assert {prompt.limit for prompt in asked} == {ANSWER_TOKENS}
    scores = score_reading(model, material, renderer, [answer] * len(asked))
    written = [(score.arm, score.item) for score in scores if score.kind == "report"]
    assert written == [*((arm, "rq0") for arm in ARMS[:4]), ("absent", "rq3x")]
    expected = [
        renderer.render(phrase_with_documents(row.question, [TEXTS[name] for name in row.arms[arm]]), "x")
        for arm, row in [*((arm, reports[0]) for arm in ARMS[:4]), (ARMS[4], reports[1])]
    ]
    assert [prompt.ids for prompt in asked] == [whole.input_ids[: whole.answer_start] for whole in expected]
    assert [score.value for score in scores if score.kind == "report"] == [0, 0, 0, 1, 1]
    closed = [score for score in scores if score.kind == "choice"]
    assert [(score.arm, score.item, score.suite) for score in closed] == [
        ("oracle", "q1", "questions"),
        ("retrieved", "q1", "questions"),
    ]
    assert all("accuracy_pmi" not in score.measures for score in closed)
    assert closed[0].explanation != closed[1].explanation, "the documents are read"
    assert closed[0].expected == "UDP 53"
    assert score_reading(model, ReadingMaterial([], [], {}), renderer, []) == []


answers = st.sampled_from(["AS64500", "AS64500 [1]", "AS64500 [2]", "AS64501 [1][2]", REFUSAL, "AS7"])


@given(st.lists(st.tuples(st.sampled_from(ARMS[:4]), st.booleans(), answers), min_size=1, max_size=12))
def test_the_numbers_are_shares_of_the_answers_that_they_speak_of(asked: list[tuple[Arm, bool, str]]) -> None:
    scores = [judge(arm, answer, ["r1", "r0"] if found else ["r1", "r2"]) for arm, found, answer in asked]
    metrics: Any = summarize_reading(scores)
    for arm in ARMS:
        own = [score for score in scores if score.arm == arm]
        assert (arm in metrics) == bool(own)
        if own:
            assert metrics[arm]["questions"] == len(own)
            assert metrics[arm]["accuracy"] == pytest.approx(sum(score.value for score in own) / len(own), abs=1e-4)
    lacked = [answer == REFUSAL for arm, _, answer in asked if arm == "distractors"]
    held = [answer for arm, found, answer in asked if arm == "oracle" or (arm == "retrieved" and found)]
    for name, values in (("right_refusals", lacked), ("false_refusals", [answer == REFUSAL for answer in held])):
        assert (name in metrics) == bool(values)
        assert not values or metrics[name] == pytest.approx(sum(values) / len(values), abs=1e-4)
    second = ["AS64500" in answer for arm, found, answer in asked if arm == "retrieved" and found]
    assert metrics.get("by_slot", {}) == ({"2": pytest.approx(sum(second) / len(second), abs=1e-4)} if second else {})


def test_of_no_score_there_are_no_numbers() -> None:
    assert summarize_reading([]) == {}


def test_a_question_that_a_model_has_no_room_for_is_named_with_what_to_lower(
    files: tuple[Path, Path], tiny_tokenizer: Any
) -> None:
    material, renderer = load_reading(*files, QUESTIONS, 9, 9), Renderer(tiny_tokenizer, "chat", "")
    sizes = []
    for row in material.reports:
        for arm, ids in row.arms.items():
            prompt = phrase_with_documents(row.question, [TEXTS[name] for name in ids])
            sizes.append((len(renderer.encode_prompt(prompt)) + ANSWER_TOKENS, row.id, arm))
    for row, question in material.closed:
        for arm, ids in row.arms.items():
            prompt = phrase_with_documents(phrase_question(question), [TEXTS[name] for name in ids])
            # Less its end-of-sequence token, which is not scored
            longest = max(len(renderer.render(prompt, option).input_ids) for option in question.options) - 1
            sizes.append((longest, row.id, arm))
    most, name, arm = max(sizes)
    require_room(material, renderer, most)
    require_room(material, renderer, None)
    said = (
        rf"^question {name} {ARM_NAMES[arm]} takes {most} tokens, .*; the model reads {most - 1} \(model\.id\); 1 of "
    )
    over = sum(size == most for size, *_ in sizes)
    with pytest.raises(
        StageError, match=said.replace("1 of ", rf"{over} of {len(sizes)} questions .* retrieve\.top_k")
    ):
        require_room(material, renderer, most - 1)
    with pytest.raises(StageError, match=rf"{len(sizes)} of {len(sizes)} questions are too long"):
        require_room(material, renderer, 8)
    require_room(ReadingMaterial([], [], {}), renderer, 8)


def test_it_is_said_before_anything_is_measured(
    files: tuple[Path, Path], tiny_model_folder: Path, tiny_tokenizer: Any
) -> None:
    model = load_base(tiny_model_folder, loading_params())
    model.config.max_position_embeddings = 64
    reading = load_reading(*files, QUESTIONS, 9, 9)
    material = Material(SHIPPED.evaluate, [], QUESTIONS, reading, [], Renderer(tiny_tokenizer, "chat", ""), None)
    calls: list[object] = []
    model.register_forward_pre_hook(lambda *given: calls.append(given))
    with pytest.raises(StageError, match="; the model reads 64"):
        measure_model(model, material)
    assert calls == []
