"""Notes as tasks and as documents of closed questions: distractors hold no answer, code is left alone."""

from pathlib import Path
from typing import Any

import pytest

from netllama.core.records import Instruction, Question
from netllama.documents.indexed_corpus import index_corpus
from netllama.reading.note_material import NoteSearch, make_questions, make_tasks
from netllama.rendering.document_texts import REFUSAL

NOTES = {
    "timers.md": "# Timers\n\n## Hold\n\nA session's hold timer is 90 seconds when both peers propose that value.\n",
    "copy.md": "# Timers\n\n## Again\n\nA session's hold timer is 90 seconds when both peers propose it.\n",
    "answer.md": "# Numbers\n\nProposals of peers of a session: ninety, sixty, thirty; keepalive is a third.\n",
    "states.md": "# States\n\nA session with a hold timer that expired returns to Idle and drops its routes.\n",
    "ports.md": "# Ports\n\nA session listens on TCP port 179 for its peers and their hold timer proposals.\n",
}


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_tokenizer: Any) -> NoteSearch:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    tiny_tokenizer.save_pretrained(tmp_path / "tokenizer")
    for name, text in NOTES.items():
        (tmp_path / "notes").mkdir(exist_ok=True)
        (tmp_path / "notes" / name).write_text(text, encoding="utf-8")
    return NoteSearch(index_corpus([tmp_path / "notes"], tmp_path / "tokenizer", 160))


def make_row(name: str, instruction: str, output: str, context: str = "") -> Instruction:
    return Instruction(id=name, family="bgp", instruction=instruction, input=context, output=output, source="extra")


def make_question(name: str, kind: str, text: str, options: list[str], answer: str) -> Question:
    row = {"id": name, "family": "bgp", "kind": kind, "question": text, "options": options, "answer": answer}
    return Question.model_validate(row | {"aliases": [], "key_facts": [], "reference": "", "cluster": ""})


def test_distractors_are_found_and_hold_neither_the_answer_nor_the_same_words(search: NoteSearch) -> None:
    asked = "How long is the hold timer of a session?"
    golden = search.find_best(f"{asked} 90 seconds when both peers propose that value")
    assert golden is not None
    assert golden.document == "notes/timers.md"
    found = search.rank(asked, 9)
    assert any("copy.md" in name for name in found)
    others = search.list_distractors(asked, golden, "ninety, sixty, thirty; a keepalive is a third", 9)
    assert {name.partition("#")[0] for name in others} == {"notes/states.md", "notes/ports.md"}
    assert others == [name for name in found if name in others], "in the order of the search"
    assert search.list_distractors(asked, golden, "ninety", 1) == others[:1]


def test_a_copy_of_the_right_note_is_no_distractor_even_where_the_question_does_not_find_the_note(
    search: NoteSearch,
) -> None:
    golden = search.find_best("again: it is timed, both propose it")
    assert golden is not None
    assert golden.document == "notes/copy.md"
    asked = "What is the value?"  # in timers.md alone
    assert [name.partition("#")[0] for name in search.rank(asked, 9)][:1] == ["notes/timers.md"]
    assert golden.id not in search.rank(asked, 9)
    assert not any("timers.md" in name for name in search.list_distractors(asked, golden, "", 9))


@pytest.mark.parametrize(("oracle_share", "with_answer"), [(0.0, 0), (1.0, 2)])
def test_a_task_cites_the_note_that_fits_its_answer_or_refuses(
    search: NoteSearch, oracle_share: float, with_answer: int
) -> None:
    rows = [
        make_row("one", "How long is the hold timer of a session?", "90 seconds when both peers propose that value."),
        make_row("code", "Print the hold timer of a session.", "```python\nprint(90)\n```"),
        make_row("two", "On which port does a session listen?", "On TCP port 179.", context="rrc00"),
        make_row("none", "Qqqq?", "Zzzz."),
    ]
    tasks = make_tasks(rows, search, 42, 3, 1.0, oracle_share)
    assert [task.id for task in tasks] == ["one+documents", "two+documents"]
    assert tasks[1].instruction == "On which port does a session listen?\n\nrrc00"
    assert sum(bool(task.golden) for task in tasks) == with_answer
    for task, note in zip(tasks, ("timers.md", "ports.md"), strict=True):
        if task.golden:
            assert task.golden[0].startswith(f"notes/{note}")
            assert task.output.endswith(f". [{task.documents.index(task.golden[0]) + 1}]")
        else:
            assert task.output == REFUSAL
            assert not any(note in name for name in task.documents)
    assert make_tasks(rows, search, 42, 3, 0.0, oracle_share) == []


def test_four_choice_questions_alone_get_what_the_question_finds_and_what_its_answer_finds(search: NoteSearch) -> None:
    questions = [
        make_question("q1", "choice", "What does a session do?", ["Sleep", "Listen on TCP port 179"], "B"),
        make_question("q2", "true_false", "The hold timer of a session is 90 seconds.", [], "true"),
        make_question("q3", "open", "How long is the hold timer of a session?", [], "90 seconds"),
        make_question("q4", "choice", "Qqqq?", ["Xxxx", "Zzzz"], "A"),
    ]
    [choice] = make_questions(questions, search, 2)
    assert (choice.id, choice.kind, choice.answer, choice.choices) == ("q1", "choice", "", [])
    assert choice.arms["oracle"] == choice.golden
    assert choice.golden[0].startswith("notes/ports.md")
    assert choice.arms["retrieved"] == search.rank("What does a session do?", 2)
