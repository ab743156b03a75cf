"""The stage that retrieves: what it writes fits together, an edit changes what it must, and bad folders end it."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from netllama.core.errors import StageError
from netllama.core.files import has_findings, read_json, read_jsonl, write_jsonl, write_text
from netllama.core.metrics import read_details
from netllama.core.records import parse_as
from netllama.documents.chunk_file import iter_chunks
from netllama.reading.reading_records import ReadingQuestion, ReadingTask
from netllama.reading.report_material import PER_TYPE
from netllama.rendering.document_texts import REFUSAL
from stages import retrieve

OUTS = (retrieve.TRAIN, retrieve.VAL, retrieve.ASKED, retrieve.CHUNKS, retrieve.DROPPED, retrieve.METRICS)
NOTES = {
    "bgp/timers.md": "# Timers\n\n## Hold timer\n\nThe hold timer is 90 seconds.\n\n## Keepalive\n\nA third of it.\n",
    "bgp/ports.md": "# Ports\n\n## TCP\n\nA session of BGP uses TCP port 179.\n\n## Others\n\nNo port has a limit.\n",
    "cells/jitter.md": "# Jitter\n\n## Limit\n\nThe jitter of a cell passes its limit above 30 ms.\n",
}
TASKS = [
    ("t1", "What is the default hold timer?", "It defaults to 90 seconds."),
    ("t2", "Which TCP port does a session of BGP use?", "Port 179 of TCP."),
    ("t4", "Above what does jitter pass the limit of a cell?", "Above 30 ms."),
    ("code", "Print the hold timer.", "```python\nprint(90)\n```"),
]
make_report_set = cache(retrieve.make_report_set)
"""As the stage makes it, once for all tests: the same arguments give the same set."""


@pytest.fixture
def ready(workdir: Path, set_params: Callable[..., None], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workdir as `split` leaves it: three notes, four tasks, two closed questions, one network on each side."""
    monkeypatch.setattr(retrieve, "make_report_set", make_report_set)
    tiny_tokenizer.save_pretrained(retrieve.TOKENIZER)
    shutil.rmtree(retrieve.CORPUS)
    for name, text in NOTES.items():
        write_note(name, text)
    row = {"family": "bgp_knowledge", "input": "", "source": "extra"}
    tasks = [{"id": name, "instruction": asked, "output": output} for name, asked, output in TASKS]
    write_jsonl(retrieve.TRAIN_SPLIT, [task | row for task in tasks])
    for path in retrieve.QUESTIONS.iterdir():
        path.unlink()
    closed = {"family": "bgp_knowledge", "aliases": [], "key_facts": [], "reference": "", "cluster": ""}
    choice = {"id": "q1", "kind": "choice", "question": "Which port has a session?", "options": ["TCP 179", "UDP 53"]}
    stated = {"id": "q2", "kind": "true_false", "question": "The hold timer is 90.", "options": [], "answer": "true"}
    write_jsonl(retrieve.QUESTIONS / "bgp.jsonl", [choice | closed | {"answer": "A"}, stated | closed])
    set_params(
        **{
            "retrieve.corpus": ["bgp", "cells"],
            "retrieve.train_networks": 1,
            "retrieve.train_tasks": 20,
            "retrieve.val_networks": 1,
            "retrieve.test_networks": 1,
            "retrieve.rag_share": 1.0,
        }
    )
    return workdir


def write_note(name: str, text: str) -> None:
    write_text(retrieve.CORPUS / name, text)


def read_tasks() -> list[ReadingTask]:
    return read_jsonl(retrieve.TRAIN, lambda row: parse_as(ReadingTask, row)) if has_findings(retrieve.TRAIN) else []


def read_asked(path: Path = retrieve.ASKED) -> list[ReadingQuestion]:
    return read_jsonl(path, lambda row: parse_as(ReadingQuestion, row)) if has_findings(path) else []


def written() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in OUTS}


def list_shown() -> Iterator[str]:
    for task in read_tasks():
        yield from task.documents
    for question in [*read_asked(retrieve.VAL), *read_asked()]:
        for shown in question.arms.values():
            yield from shown


def test_every_document_that_is_shown_is_written_once_and_no_other(ready: Path) -> None:
    retrieve.main()
    chunks = [chunk.id for chunk in iter_chunks(retrieve.CHUNKS)]
    assert chunks == sorted(set(chunks)) == sorted(set(list_shown()))
    assert {name.partition("/")[0] for name in chunks if "#" in name} == {"bgp", "cells"}


def test_training_validation_and_test_share_no_report(ready: Path) -> None:
    retrieve.main()
    trained = {name for task in read_tasks() for name in task.documents if task.family == "network_reports"}
    held, asked = (
        {name for row in read_asked(path) if row.kind == "report" for names in row.arms.values() for name in names}
        for path in (retrieve.VAL, retrieve.ASKED)
    )
    assert trained
    assert held
    assert asked
    assert not trained & held
    assert not (trained | held) & asked
    assert {name.partition("-")[0] for name in trained | held} == {"train"}
    assert {name.partition("-")[0] for name in asked} == {"test"}
    own = {question.question for question in make_report_set(42, 1, "val", 1, 60).questions}
    assert {row.question for row in read_asked(retrieve.VAL)} == own


def test_tasks_are_of_reports_and_of_rows_without_code(ready: Path) -> None:
    retrieve.main()
    own = [task for task in read_tasks() if task.family == "bgp_knowledge"]
    assert [task.id for task in own] == ["t1+documents", "t2+documents", "t4+documents"]
    outputs = {f"{name}+documents": output for name, _, output in TASKS}
    for task in own:
        end = f" [{task.documents.index(task.golden[0]) + 1}]" if task.golden else ""
        assert task.output == (outputs[task.id] + end if task.golden else REFUSAL)
    on_reports = [task for task in read_tasks() if task.family == "network_reports"]
    assert len(on_reports) == 20
    by_text = {question.question: question for question in make_report_set(42, 1, "train", PER_TYPE, 60).questions}
    refused = 0
    for task in on_reports:
        asked = by_text[task.instruction]
        shown = [number for number, name in enumerate(task.documents, 1) if name in asked.golden]
        assert len(task.documents) <= 3
        assert task.output == (f"{asked.answer} [{shown[0]}]" if shown else REFUSAL)
        refused += not shown
    assert 0 < refused < len(on_reports)


def test_questions_are_of_reports_with_exact_answers_and_of_closed_ones(ready: Path) -> None:
    retrieve.main()
    asked = read_asked()
    assert [row.id for row in asked if row.kind != "report"] == ["q1"]
    texts = {chunk.id: chunk.text for chunk in iter_chunks(retrieve.CHUNKS)}
    for row in asked:
        if row.kind == "report" and row.golden:
            assert row.arms["oracle"] == row.golden
            assert not set(row.golden) & set(row.arms["distractors"])
            assert row.answer in texts[row.golden[0]] or row.choices or row.answer[0].isdigit()
    details = read_details(retrieve.METRICS)
    assert (details["training_tasks"], details["questions"]) == (len(read_tasks()), len(asked))
    assert details["reports"]["questions"] == sum(row.kind == "report" and bool(row.golden) for row in asked)
    assert details["reports"]["parser"] >= details["reports"]["recall_at_3"]["value"] - 0.05


def test_a_second_run_writes_the_same_bytes_with_and_without_a_kept_index(ready: Path) -> None:
    retrieve.main()
    first = written()
    retrieve.main()
    assert written() == first
    shutil.rmtree(".scratch")
    retrieve.main()
    assert written() == first
    assert all(str(ready).encode() not in content for content in first.values())


def test_off_is_empty(ready: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"retrieve.corpus": [], "retrieve.train_networks": 0, "retrieve.test_networks": 0})
    retrieve.main()
    assert read_jsonl(retrieve.TRAIN) == [{"none": retrieve.NO_TASKS}]
    assert read_jsonl(retrieve.VAL) == [{"none": retrieve.NO_VALIDATION}]
    assert read_jsonl(retrieve.ASKED) == [{"none": "no question has documents"}]
    assert retrieve.CHUNKS.read_bytes() == b""
    assert read_jsonl(retrieve.DROPPED) == [{"none": "every file of the corpus was read"}]
    assert read_details(retrieve.METRICS) == {"training_tasks": 0, "questions": 0, "dropped_files": 0}


@pytest.mark.parametrize(
    ("off", "kinds", "families", "validated"),
    [
        ({"corpus": []}, {"report"}, {"network_reports"}, True),
        ({"test_networks": 0}, {"choice"}, {"network_reports", "bgp_knowledge"}, True),
        ({"val_networks": 0}, {"report", "choice"}, {"network_reports", "bgp_knowledge"}, False),
        ({"train_networks": 0}, {"report", "choice"}, {"bgp_knowledge"}, False),
        ({"train_tasks": 0}, {"report", "choice"}, {"bgp_knowledge"}, False),
        ({"train_networks": 0, "rag_share": 0.0}, {"report", "choice"}, set(), False),
    ],
)
def test_each_part_can_be_off_by_itself(
    ready: Path,
    set_params: Callable[..., None],
    off: dict[str, Any],
    kinds: set[str],
    families: set[str],
    validated: bool,
) -> None:
    set_params(**{f"retrieve.{key}": value for key, value in off.items()})
    retrieve.main()
    assert {row.kind for row in read_asked()} == kinds
    assert {task.family for task in read_tasks()} == families
    assert bool(read_asked(retrieve.VAL)) == validated
    assert ("reports" in read_details(retrieve.METRICS)) == ("report" in kinds)


def test_documents_of_training_do_not_depend_on_those_of_the_test(ready: Path, set_params: Callable[..., None]) -> None:
    retrieve.main()
    tasks = read_tasks()
    set_params(**{"retrieve.test_networks": 0})
    retrieve.main()
    assert read_tasks() == tasks


def test_a_single_document_is_shown_where_only_one_may_be(ready: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"retrieve.top_k": 1})
    retrieve.main()
    assert {len(task.documents) for task in read_tasks()} == {1}
    assert {len(shown) for row in read_asked() for arm, shown in row.arms.items() if arm != "closed"} == {1}
    assert all(task.documents == task.golden for task in read_tasks() if task.golden)


def test_an_edit_of_a_note_changes_its_chunk_and_nothing_else(ready: Path) -> None:
    retrieve.main()
    before, asked, tasks = written(), read_asked(), read_tasks()
    write_note("bgp/timers.md", NOTES["bgp/timers.md"].replace("A third of it.", "A third of that."))
    retrieve.main()
    assert (read_asked(), read_tasks()) == (asked, tasks)
    old, new = (content[retrieve.CHUNKS].splitlines() for content in (before, written()))
    differ = [line for line in new if line not in old]
    assert len(new) == len(old)
    assert all(b"bgp/timers.md#keepalive" in line for line in differ)


def test_a_note_on_something_else_changes_nothing(ready: Path) -> None:
    retrieve.main()
    before = written()
    write_note("cells/weather.md", "# Weather\n\nClouds gather over mountains.\n")
    retrieve.main()
    assert written() == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bpg", r"retrieve\.corpus: bpg: no such folder in data/corpus/; there are bgp, cells$"),
        ("bgp/timers.md", r"retrieve\.corpus: 'bgp/timers.md': put the folder into data/corpus/"),
        ("../seeds", r"retrieve\.corpus: '../seeds': put the folder into data/corpus/"),
        ("..", r"retrieve\.corpus: '..': put the folder into data/corpus/"),
        (".", r"retrieve\.corpus: '.': put the folder into data/corpus/"),
        ("/", r"retrieve\.corpus: '/': put the folder into data/corpus/"),
        ("/tmp", r"retrieve\.corpus: '/tmp': put the folder into data/corpus/"),
        ("", r"retrieve\.corpus: '': put the folder into data/corpus/"),
    ],
)
def test_a_folder_that_is_none_of_the_corpus_is_one_line(
    ready: Path, set_params: Callable[..., None], name: str, said: str
) -> None:
    set_params(**{"retrieve.corpus": [name], "retrieve.train_networks": 0, "retrieve.test_networks": 0})
    with pytest.raises(StageError, match=f"^{said}"):
        retrieve.main()
    assert not any(path.exists() for path in OUTS)


def test_broken_lines_of_the_questions_and_the_split_are_said_at_once(ready: Path) -> None:
    broken = [retrieve.TRAIN_SPLIT, retrieve.QUESTIONS / "bgp.jsonl"]
    for path in broken:
        path.write_text("{\n[]\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(StageError) as raised:
        retrieve.main()
    places = [line.split(": ")[0] for line in str(raised.value).splitlines()]
    assert places == [f"{path}:{number}" for path in broken for number in (1, 2)]


@pytest.mark.parametrize(("corpus", "said"), [(["bgp", "bgp"], "bgp"), (["empty"], "empty folder")])
def test_a_folder_twice_or_without_a_document_is_one_line(
    ready: Path, set_params: Callable[..., None], corpus: list[str], said: str
) -> None:
    (retrieve.CORPUS / "empty").mkdir()
    set_params(**{"retrieve.corpus": corpus, "retrieve.train_networks": 0, "retrieve.test_networks": 0})
    with pytest.raises(StageError, match=said):
        retrieve.main()
    assert not any(path.exists() for path in OUTS)


def test_files_that_cannot_be_read_are_listed_up_to_a_share_and_end_the_stage_above_it(
    ready: Path, set_params: Callable[..., None]
) -> None:
    (retrieve.CORPUS / "bgp" / "latin.md").write_bytes(b"# Caf\xe9\n\nNo UTF-8.\n")
    set_params(**{"retrieve.train_networks": 0, "retrieve.test_networks": 0})
    with pytest.raises(
        StageError, match=r"^1 of 4 files can't be read, above retrieve\.max_dropped_share 0\.1: bgp/la"
    ):
        retrieve.main()
    assert not any(path.exists() for path in OUTS)
    set_params(**{"retrieve.max_dropped_share": 0.25})
    retrieve.main()
    [dropped] = read_jsonl(retrieve.DROPPED)
    assert (dropped["file"], dropped["cause"]) == ("bgp/latin.md", "undecodable")
    assert read_details(retrieve.METRICS)["dropped_files"] == 1


def test_a_bad_row_of_the_split_is_named_by_its_line(ready: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"retrieve.train_networks": 0, "retrieve.test_networks": 0})
    with open(retrieve.TRAIN_SPLIT, "a", encoding="utf-8") as file:
        file.write('{"id": "t9"}\n')
    with pytest.raises(StageError, match=r"^data/splits/train\.jsonl:5: "):
        retrieve.main()
    assert not any(path.exists() for path in OUTS)


def test_the_numbers_are_written_as_every_stage_writes_them(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retrieve.main()
    assert read_json(retrieve.METRICS).keys() == {"details"}
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "corpus: 3 documents, 5 chunks, 0 files dropped"
    assert said[1].endswith("questions with documents -> data/retrieved/questions.jsonl")
