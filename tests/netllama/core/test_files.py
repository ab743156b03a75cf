"""Reading and writing: old file or new file but never half of one, the same bytes, errors that name file and line."""

import errno
import hashlib
import json
import os
import random
import stat
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.credentials import find_secret
from netllama.core.errors import StageError, run_stage
from netllama.core.files import (
    atomic_path,
    dump_canonical_json,
    ensure_scratch_folder,
    hash_file,
    hash_json,
    iter_jsonl,
    read_json,
    read_jsonl,
    read_text,
    write_csv,
    write_findings,
    write_json,
    write_jsonl,
    write_text,
)
from tests.support.tokenized_tables import write_tokenized_rows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")

    def fail_half_way() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["out.txt"]


def test_a_failing_writer_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("old")

    def interrupted() -> None:
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (folder / "weights").read_text() == "old"
    assert listing(tmp_path) == ["adapter"]


def test_a_new_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    for name in ("old", "new"):
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert listing(folder) == ["new"]
    assert listing(tmp_path) == ["adapter"]


def test_the_old_file_stands_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_leaves_the_old_file_and_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}])

    def stage() -> None:
        with atomic_path(path) as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_text("x" * 100_000, encoding="utf-8")

    with pytest.raises(SystemExit) as ended:
        run_stage(stage)
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"error: {path}: No space left on device\n"
    assert path.read_text() == '{"a": 1}\n'
    assert listing(tmp_path) == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded"),
        # As safetensors and tokenizers raise it.
        (
            Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
            "No space left on device",
        ),
        (RuntimeError("File too large (os error 27)"), "File too large"),
    ],
)
def test_what_can_not_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], raised: Exception, said: str
) -> None:
    def stage() -> None:
        with atomic_path(tmp_path / "out"):
            raise raised

    with pytest.raises(SystemExit):
        run_stage(stage)
    assert capsys.readouterr().err == f"error: {tmp_path / 'out'}: {said}\n"
    assert listing(tmp_path) == []


def test_an_error_that_is_not_of_writing_keeps_its_own_name(tmp_path: Path) -> None:
    def write(error: Exception) -> None:
        with atomic_path(tmp_path / "out"):
            raise error

    with pytest.raises(FileNotFoundError) as named:
        write(FileNotFoundError(errno.ENOENT, "No such file", "model.gguf"))
    assert named.value.filename == "model.gguf"
    with pytest.raises(StageError, match=r"^the wheel says \(os error 28\)$"):
        write(StageError("the wheel says (os error 28)"))


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_library_s_private_files_get_the_permissions_of_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for target in (tmp_path / "model.safetensors", tmp_path / "folder"):
            with atomic_path(target) as temporary:
                if target.name == "folder":
                    (temporary / "deep").mkdir(parents=True)
                    temporary = temporary / "deep" / "weights"
                temporary.touch(mode=0o600)
                temporary.chmod(0o600)
    finally:
        os.umask(before)
    for path in (tmp_path / "model.safetensors", tmp_path / "folder" / "deep" / "weights"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder" / "deep").stat().st_mode) == 0o777 & ~umask


def test_a_script_stays_one(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "run") as temporary:
        temporary.touch(mode=0o700)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) & 0o100


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_every_writer_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    import pyarrow.parquet

    path = tmp_path / f"out.{kind}"
    path.write_text("old")

    def full(*arguments: Any, **options: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(pyarrow.parquet, "ParquetWriter", full)
    parquet = write_tokenized_rows
    write: dict[str, Any] = {"json": write_json, "jsonl": write_jsonl, "csv": write_csv, "parquet": parquet}
    with pytest.raises(OSError, match="No space left"):
        write[kind](path, [])
    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == [path.name]


def test_a_row_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(TypeError):
        write_jsonl(path, [{"a": 2}, {"a": object()}])
    assert path.read_text() == '{"a": 1}\n'


def test_missing_folders_are_made_and_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "out.txt"
    write_text(path, "x")
    plain = tmp_path / "plain.txt"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_bytes_are_canonical(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [{"b": "Zürich\r\n", "a": [1, 0.5, None, True]}, {}])
    assert (tmp_path / "rows.jsonl").read_bytes() == ('{"a": [1, 0.5, null, true], "b": "Zürich\\r\\n"}\n{}\n'.encode())
    write_json(tmp_path / "value.json", {"b": {"d": 1, "c": 2}, "a": "é"})
    assert (tmp_path / "value.json").read_bytes() == (
        '{\n  "a": "é",\n  "b": {\n    "c": 2,\n    "d": 1\n  }\n}\n'.encode()
    )
    write_csv(tmp_path / "plot.csv", [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}])
    assert (tmp_path / "plot.csv").read_bytes() == b"step,loss\n1,0.5\n2,0.25\n"
    write_csv(tmp_path / "empty.csv", [])
    assert (tmp_path / "empty.csv").read_bytes() == b""


@given(value=st.dictionaries(st.text(), JSON, max_size=6), seed=st.integers())
def test_equal_values_give_equal_lines_whatever_the_order_of_their_keys(value: dict[str, Any], seed: int) -> None:
    keys = list(value)
    random.Random(seed).shuffle(keys)
    line = dump_canonical_json({key: value[key] for key in keys})
    assert line == dump_canonical_json(value)
    assert "\n" not in line
    assert json.loads(line) == value
    assert hash_json(value) == hashlib.sha256(line.encode()).hexdigest()


@given(rows=st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5))
def test_rows_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_jsonl(path, rows)
    assert read_jsonl(path) == rows


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0c", "\x1e"])
def test_a_line_ends_at_a_line_feed_and_nowhere_else(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"text": f"above{separator}below"}
    write_jsonl(path, [row, row])
    assert read_jsonl(path) == [row, row]


def test_blank_lines_and_windows_line_ends_are_fine_but_count(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\r\n\r\n  \r\n{"a": 2}\r\n')
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}]
    path.write_bytes(b'{"a": 1}\r\n\r\n{"a": \r\n')
    with pytest.raises(StageError, match=rf"^{path}:3: not valid JSON"):
        read_jsonl(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert read_jsonl(path) == [{"a": 1}]
    assert read_json(path) == {"a": 1}


@pytest.mark.parametrize("line", ["{'a': 1}", '{"a": 1', "[1, 2]", '"text"', '{"a": 1}{"a": 2}', "9" * 5000])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n{{"a": 3}}\n')
    with pytest.raises(StageError) as raised:
        read_jsonl(path)
    assert str(raised.value).startswith(f"{path}:2: ")
    assert "\n" not in str(raised.value)


def test_rows_one_by_one_end_in_an_error_that_lists_every_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{\n\n{"a": 3}\n[1]\n')
    rows = iter_jsonl(path, lambda row: row["a"])
    assert next(rows) == 1
    with pytest.raises(StageError) as raised:
        next(rows)
    assert [line.split(": ")[0] for line in str(raised.value).splitlines()] == [f"{path}:2", f"{path}:5"]


def test_what_the_parser_refuses_is_named_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": -1}\n')

    def positive(row: dict[str, Any]) -> int:
        if row["a"] < 0:
            raise ValueError("a is negative")
        return int(row["a"])

    with pytest.raises(StageError) as raised:
        read_jsonl(path, positive)
    assert str(raised.value) == f"{path}:3: a is negative"


def test_broken_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text('{\n  "a": 1,\n  "b": oops\n}\n')
    with pytest.raises(StageError, match=rf"^{path}:3: not valid JSON \(.+\)$"):
        read_json(path)


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    path = tmp_path / "latin1.jsonl"
    path.write_bytes('{"a": "Zürich"}'.encode("latin-1"))
    with pytest.raises(StageError, match=rf"^{path}: not UTF-8 at byte 8; save the file as UTF-8$"):
        read_jsonl(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_text, read_json, read_jsonl):
        with pytest.raises(StageError, match="nowhere: no such file"):
            read(tmp_path / "nowhere")


def test_the_hash_of_a_file_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(bytes(range(256)) * 5000)
    assert hash_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_scratch_lies_in_the_checkout_that_dvc_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert ensure_scratch_folder("responses").resolve() == tmp_path / ".scratch" / "responses"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "parent"))
    assert ensure_scratch_folder("responses") == tmp_path / "parent" / ".scratch" / "responses"
    assert ensure_scratch_folder("responses").is_dir()


def test_a_secret_comes_from_the_environment_before_the_env_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_secret("HF_TOKEN", "hf_token") is None
    (workdir / ".env").write_text("hf_token=from-file\n")
    assert find_secret("HF_TOKEN", "hf_token") == "from-file"
    monkeypatch.setenv("hf_token", "from-environment")
    assert find_secret("HF_TOKEN", "hf_token") == "from-environment"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StageError("params.yaml: lora.r: missing"), 1, "error: params.yaml: lora.r: missing\n"),
        (PermissionError(errno.EACCES, "Permission denied", "data/x"), 1, "error: data/x: Permission denied\n"),
        (KeyboardInterrupt(), 130, "interrupted: everything stored so far is kept, run again to continue\n"),
    ],
)
def test_a_stage_ends_in_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def stage() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_stage(stage)
    assert ended.value.code == code
    assert capsys.readouterr().err == line


def test_our_own_bug_keeps_its_traceback() -> None:
    def stage() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        run_stage(stage)


@pytest.mark.parametrize(("rows", "lines"), [([], ['{"none": "all is well"}']), ([{"id": 1}], ['{"id": 1}'])])
def test_a_file_of_findings_says_where_there_are_none(tmp_path: Path, rows: list[Any], lines: list[str]) -> None:
    write_findings(path := tmp_path / "found.jsonl", iter(rows), none="all is well")
    assert path.read_text().splitlines() == lines
