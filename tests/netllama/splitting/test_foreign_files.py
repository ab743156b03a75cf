"""Files as they come: packed or not, an array or lines under either name, and what a file seems to be that can't be
read."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.splitting import foreign_files
from netllama.splitting.extra import load_extra, load_files
from netllama.splitting.foreign_files import name_rows

ROWS = [{"instruction": f"What is {number}?", "output": "A number."} for number in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
ONE_LINE = json.dumps(ROWS).encode()
PRETTY = json.dumps(ROWS, indent=2).encode()
SPREAD = "\n".join(json.dumps(row, indent=2) for row in ROWS).encode()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def refused(path: Path) -> str:
    with pytest.raises(StageError) as raised:
        load_extra(path)
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "content", [LINES, PRETTY, json.dumps(ROWS).encode(), b"\xef\xbb\xbf" + PRETTY, b"\n\n" + PRETTY]
)
@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl", "mine.JSON", "mine.jsonl.gz", "mine.txt"])
def test_the_layout_is_told_by_what_is_in_a_file_and_not_by_its_name(
    tmp_path: Path, name: str, content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    found = load_extra(write(tmp_path / name, pack(content)))
    assert [row.instruction for row, _ in found.rows] == [row["instruction"] for row in ROWS]
    unit = "line" if content == LINES else "item"
    assert [(origin and origin.unit, origin and origin.number) for _, origin in found.rows] == [
        (unit, number) for number in (1, 2, 3)
    ]
    assert all(row.id.startswith("mine-") for row, _ in found.rows)


def test_ids_are_the_same_packed_or_not(tmp_path: Path) -> None:
    packed = load_extra(write(tmp_path / "mine.jsonl.gz", gzip.compress(LINES, mtime=0)))
    assert [row for row, _ in packed.rows] == [row for row, _ in load_extra(write(tmp_path / "mine.json", PRETTY)).rows]
    assert {name_rows(name) for name in ("mine.json", "mine.JSON.GZ", "mine.jsonl.gz", "mine")} == {"mine"}
    with pytest.raises(StageError, match="two files are called mine: ids come from the name"):
        load_files(tmp_path, ["mine.jsonl.gz", "mine.json"])


def test_a_few_bytes_that_unpack_to_very_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_files, "MOST_UNPACKED", 2**21)
    load_extra(write(tmp_path / "mine.jsonl.gz", gzip.compress(LINES + b" " * 2**20, mtime=0)))
    assert refused(write(tmp_path / "mine.jsonl.gz", gzip.compress(LINES + b" " * 2**22, mtime=0))) == (
        ": more than 0.00195312 GiB when it is unpacked; split it"
    )


@pytest.mark.parametrize("layout", ["lines", "array"])
def test_an_answer_of_a_megabyte_is_a_row_like_any_other(tmp_path: Path, layout: str) -> None:
    rows = [*ROWS, {"instruction": "Print it all.", "output": "word " * 200_000}]
    text = json.dumps(rows) if layout == "array" else "\n".join(map(json.dumps, rows))
    found = load_extra(write(tmp_path / "mine.jsonl", text.encode()))
    assert [len(row.task.output) for row in found.rows] == [9, 9, 9, 1_000_000]


def test_a_single_object_over_several_lines_is_a_row(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    for row in (ROWS[0], {"conversations": turns}):
        found = load_extra(write(tmp_path / "mine.json", json.dumps(row, indent=1).encode()))
        assert len(found.rows) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ": is empty; put rows into it, or take it out of split.extra"),
        (b"\xef\xbb\xbf \n\n", ": is empty; put rows into it, or take it out of split.extra"),
        (gzip.compress(b"", mtime=0), ": is empty; put rows into it, or take it out of split.extra"),
        (b"[]", ": has no rows; put some into it, or take it out of split.extra"),
        (LINES.decode().encode("utf-16"), ": is UTF-16: save it as UTF-8, or run iconv -f UTF-16 -t UTF-8"),
        (LINES.decode().encode("utf-16-le"), ": is UTF-16: save it as UTF-8, or run iconv -f UTF-16 -t UTF-8"),
        (PRETTY.decode().encode("utf-16-be"), ": is UTF-16: save it as UTF-8, or run iconv -f UTF-16 -t UTF-8"),
        (gzip.compress(LINES.decode().encode("utf-16"), mtime=0), ": is UTF-16: save it as UTF-8, or run iconv"),
        (LINES.decode().encode("utf-32"), ": is UTF-32: save it as UTF-8"),
        (PRETTY.replace(b"A number", b"caf\xe9"), ": not UTF-8 at byte "),
        (gzip.compress(LINES, mtime=0)[:-12], ": broken gzip ("),
        (gzip.compress(LINES, mtime=0)[:20] + b"\0" * 40, ": broken gzip ("),
        (bz2.compress(LINES), ": is packed with bzip2: unpack it"),
        (lzma.compress(LINES), ": is packed with xz: unpack it"),
        (b"PAR1\x15\x04\x15", ": is Parquet: write its rows as JSON Lines, one object a line"),
        (b"PK\x03\x04\x14\0", ": is a ZIP archive: unpack it"),
        (SPREAD, ": its objects are spread over several lines; write one a line, as jq -c . does"),
        (
            json.dumps({"version": 1, "data": ROWS}).encode(),
            ": is one JSON object; keep only the array under its key data",
        ),
        (json.dumps({"data": ROWS}).encode() + b"\n", ": is one JSON object; keep only the array under its key data"),
        (
            json.dumps({"features": [{"name": "x"}], "items": ROWS}).encode(),
            ": is one JSON object; keep only the array under its key items",
        ),
        (
            b",\n".join(LINES.splitlines()[:1] * 3) + b"\n",
            ":1: goes on behind its object (','): write one a line, alone",
        ),
        (b"".join(LINES.splitlines()[:2]) + b"\n", ":1: goes on behind its object ('{"),
        (
            json.dumps({"version": 1, "data": ROWS}, indent=1).encode(),
            ": is one JSON object; keep only the array under",
        ),
        (b"instruction,input,output\nWhy?,,So.\n", ": is a table of columns (CSV): write its rows as JSON Lines"),
        (b"id\tprompt\tcompletion\n1\tWhy?\tSo.\n", ": is a table of columns (CSV): write its rows as JSON Lines"),
        (PRETTY[:-20], ":12: not valid JSON ("),
        (PRETTY.replace(b"},", b"}"), ":6: not valid JSON (Expecting ',' delimiter), at item 2 of the array"),
        (ONE_LINE.replace(b"}, {", b"} {"), ":1: not valid JSON (Expecting ',' delimiter), at item 2 of the array"),
        (ONE_LINE[:-4], ":1: not valid JSON (Unterminated string starting at), at item 3 of the array"),
        (b"[" * 100_000, ": not valid JSON ("),
        (b'["a"]', ": 1 of 1 rows are not valid instructions. Is this the right file? item 1: expected an object with"),
    ],
)
@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl"])
def test_a_file_that_cannot_be_read_says_what_it_is_and_what_to_do(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    assert refused(write(tmp_path / name, content)).startswith(said)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b'{"instruction": "What", "outp', "not_json"),
        (b'{"instruction": "What?", "output": "So."},', "not_json"),
        (b'{"instruction": "What?", "output": "So."} {"instruction": "Why?", "output": "So."}', "not_json"),
        (b"[INFO] 3 rows written", "not_json"),
        (b"[1, 2", "not_json"),
        (b"[1, 2]", "not_an_object"),
        (b"[caf\xe9", "not_utf8"),
        (b"prompt,completion", "not_json"),
        (b"# my rows", "not_json"),
        (b"7", "not_an_object"),
        (b'{"data": [{"a": 1}]}', "unknown_keys"),
        (b"[" * 100_000, "not_json"),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_a_bad_first_line_is_one_bad_row(tmp_path: Path, first: bytes, reason: str, rows: int) -> None:
    lines = b"".join(LINES.splitlines(keepends=True)[:rows])
    found = load_extra(write(tmp_path / "mine.jsonl", first + b"\n" + lines))
    assert len(found.rows) == rows
    assert [(drop.reason, drop.origin and drop.origin.number) for drop in found.drops] == [(reason, 1)]


def test_several_bad_first_lines_are_as_many_bad_rows(tmp_path: Path) -> None:
    found = load_extra(write(tmp_path / "mine.jsonl", b"[INFO]\n# rows\n{\n" + LINES))
    assert (len(found.rows), [drop.origin.number for drop in found.drops if drop.origin]) == (3, [1, 2, 3])


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("form", ["[\n{}\n]", "[{}\n]", "[\n{}]", "[{}]"])
@pytest.mark.parametrize("between", [",\n", "\n,", "\n,\n"])
def test_an_array_with_an_object_a_line_is_an_array(tmp_path: Path, rows: int, form: str, between: str) -> None:
    text = form.replace("{}", between.join(map(json.dumps, ROWS[:rows])))
    found = load_extra(write(tmp_path / "mine.json", text.encode()))
    assert [origin and (origin.unit, origin.number) for _, origin in found.rows] == [
        ("item", number + 1) for number in range(rows)
    ]
    assert not found.drops


def test_a_row_with_a_list_of_objects_beside_its_texts_is_a_row(tmp_path: Path) -> None:
    row = ROWS[0] | {"sources": [{"title": "RFC 4271"}]}
    for indent in (None, 1):
        assert len(load_extra(write(tmp_path / "mine.json", json.dumps(row, indent=indent).encode())).rows) == 1


def test_lines_that_are_arrays_are_bad_rows_and_not_a_broken_array(tmp_path: Path) -> None:
    found = load_extra(write(tmp_path / "mine.jsonl", b'["x", "y"]\n' + LINES))
    assert len(found.rows) == 3
    assert [drop.reason for drop in found.drops] == ["not_an_object"]


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    write(tmp_path / "good.jsonl", LINES)
    write(tmp_path / "empty.jsonl", b"")
    write(tmp_path / "broken.json", PRETTY[:-20])
    with pytest.raises(StageError) as raised:
        load_files(tmp_path, ["empty.jsonl", "good.jsonl", "broken.json", "missing.jsonl"])
    lines = str(raised.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        f"{tmp_path}/empty.jsonl", f"{tmp_path}/broken.json:12", f"{tmp_path}/missing.jsonl",
    ]  # fmt: skip
