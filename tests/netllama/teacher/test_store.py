"""The response store: nothing paid for is lost, nothing stored is asked again."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from netllama.core.errors import StageError
from netllama.teacher.store import Request, Response, ResponseStore
from tests.support.racing import race

FIELDS: dict[str, Any] = {
    "teacher": "embedded",
    "model": "small",
    "api": "completions",
    "prompt": "1. Instruction:",
    "messages": None,
    "json_schema": None,
    "temperature": 0.7,
    "top_p": 0.95,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "stop": [],
    "reasoning_effort": None,
    "max_tokens": 320,
    "service_tier": None,
    "cache_key": "",
    "draw": "bgp/0/0",
}


def request(**changes: Any) -> Request:
    return Request(**FIELDS | changes)


def response(to: Request, text: str = "an answer", **changes: Any) -> Response:
    fields: dict[str, Any] = {
        "key": to.key,
        "draw": to.draw,
        "model": to.model,
        "text": text,
        "finish_reason": "stop",
        "max_tokens": to.max_tokens,
        "prompt_tokens": 11,
        "completion_tokens": 100,
    }
    return Response(**fields | changes)


def test_an_added_response_is_found_by_a_store_opened_later(tmp_path: Path) -> None:
    asked = request()
    ResponseStore(tmp_path / "deep" / "live.jsonl").add(response(asked, "Grüße, 経路"))
    found = ResponseStore(tmp_path / "deep" / "live.jsonl").find(asked)
    assert found == response(asked, "Grüße, 経路")


def test_a_response_is_on_the_disk_when_add_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = tmp_path / "live.jsonl"
    store = ResponseStore(live)
    synced: list[tuple[int, bytes]] = []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, live.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    store.add(response(request()))
    # The file, and the folder that has its name since now.
    assert synced == [(path.stat().st_ino, live.read_bytes()) for path in (live, tmp_path)]
    assert synced[0][1].endswith(b"\n")
    store.add(response(request(draw="bgp/0/1")))
    assert synced[2:] == [(live.stat().st_ino, live.read_bytes())]


def test_what_was_not_stored_is_not_found(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "live.jsonl")
    assert store.find(request()) is None
    store.add(response(request()))
    assert store.find(request(draw="bgp/0/1")) is None


def test_a_torn_last_line_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    live = tmp_path / "live.jsonl"
    first, second, third = request(draw="a/0/0"), request(draw="a/0/1"), request(draw="a/0/2")
    store = ResponseStore(live)
    store.add(response(first))
    whole = live.read_bytes()
    store.add(response(second))
    torn = live.read_bytes()[:-10]
    live.write_bytes(torn)

    store = ResponseStore(live)
    assert live.read_bytes() == whole
    assert (store.find(first), store.find(second)) == (response(first), None)
    store.add(response(third))
    assert ResponseStore(live).find(third) == response(third)


def test_a_line_that_another_process_left_torn_is_cut_off_before_the_next_one(tmp_path: Path) -> None:
    live = tmp_path / "live.jsonl"
    first, second = request(draw="a/0/0"), request(draw="a/0/1")
    store = ResponseStore(live)
    store.add(response(first))
    with open(live, "ab") as file:
        file.write(b'{"key": "torn')
    store.add(response(second))
    assert [ResponseStore(live).find(asked) for asked in (first, second)] == [response(first), response(second)]
    assert len(live.read_bytes().splitlines()) == 2


def test_what_another_process_stores_is_found_without_opening_the_store_again(tmp_path: Path) -> None:
    live = tmp_path / "live.jsonl"
    ours, theirs = ResponseStore(live), ResponseStore(live)
    for slot, (writer, reader) in enumerate([(theirs, ours), (theirs, ours), (ours, theirs), (theirs, ours)]):
        asked = request(draw=f"a/0/{slot}")
        assert reader.find(asked) is None
        writer.add(response(asked))
        assert reader.find(asked) == response(asked)
        assert len(reader.list_bought(asked)) == 1
    with open(live, "ab") as file:
        file.write(b"not json\n")
    with pytest.raises(StageError, match=r"live\.jsonl:5: not a stored response"):
        ours.find(request(draw="a/0/4"))


APPEND_AND_LOAD = """
from pathlib import Path
from netllama.teacher.store import ResponseStore, Response

LIVE = Path("live.jsonl")

def append(name):
    store = ResponseStore(LIVE)
    for number in range(40):
        key = f"{name}{number}"
        store.add(Response(key=key, draw=key, model="m", text=key * 60_000, finish_reason="stop",
                           max_tokens=1, prompt_tokens=1, completion_tokens=1))
    Path(name).touch()
"""
LOAD_UNTIL_DONE = """
while not (Path("a").exists() and Path("b").exists()):
    ResponseStore(LIVE)
"""


def test_two_processes_append_while_a_third_loads_and_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    """Lines of 0.2 MB: it takes a while to write one."""
    race(tmp_path, APPEND_AND_LOAD, "append('a')", "append('b')", LOAD_UNTIL_DONE)
    rows = [json.loads(line) for line in (tmp_path / "live.jsonl").read_bytes().splitlines()]
    assert sorted(row["key"] for row in rows) == sorted(f"{name}{number}" for name in "ab" for number in range(40))
    assert [row["key"] for row in rows if row["text"] != row["key"] * 60_000] == []


def test_a_file_of_one_torn_line_is_an_empty_store(tmp_path: Path) -> None:
    live = tmp_path / "live.jsonl"
    live.write_bytes(b'{"key": "a')
    assert ResponseStore(live).find(request()) is None
    assert live.read_bytes() == b""


@pytest.mark.parametrize("bad", [b'{"key": "a"}', b"not json", b"[]", b'{"text": "\xff"}', b""])
def test_a_bad_line_in_the_middle_is_an_error_that_names_file_and_line(tmp_path: Path, bad: bytes) -> None:
    live = tmp_path / "live.jsonl"
    for draw in ("a/0/0", "a/0/1"):
        ResponseStore(live).add(response(request(draw=draw)))
    first, second = live.read_bytes().splitlines(keepends=True)
    live.write_bytes(first + bad + b"\n" + second)
    with pytest.raises(StageError, match=r"live\.jsonl:2: not a stored response") as error:
        ResponseStore(live)
    assert "\n" not in str(error.value)


def test_a_stored_answer_with_another_letter_is_named_and_one_without_a_hash_is_read(tmp_path: Path) -> None:
    """Of the live file DVC has no hash: a bit of a letter that a disk flips would be an answer that nobody gave."""
    live = tmp_path / "live.jsonl"
    ResponseStore(live).add(response(request(), "one"), response(request(draw="bgp/0/1"), "two"))
    whole = live.read_text()
    assert ResponseStore(live).find(request(draw="bgp/0/1")) == response(request(draw="bgp/0/1"), "two")
    live.write_text(whole.replace('"two"', '"twn"'))
    with pytest.raises(StageError, match=r"live\.jsonl:2: not a stored response; remove the line and run again"):
        ResponseStore(live).find(request())
    live.write_text(re.sub(r', "sha256": "\w{64}"', "", whole))
    assert ResponseStore(live).find(request()) == response(request(), "one")


def test_a_bad_line_of_a_recorded_file_is_an_error_that_names_file_and_line(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    ResponseStore(recorded).add(response(request()))
    with open(recorded, "ab") as file:
        file.write(b'{"key": "torn')
    with pytest.raises(StageError, match=r"recorded\.jsonl:2: "):
        ResponseStore(tmp_path / "live.jsonl", [recorded])


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r\n", "\ufeff", "\x00"])
def test_an_answer_with_any_kind_of_line_end_comes_back_as_it_was(tmp_path: Path, odd: str) -> None:
    asked, text = request(), f"before{odd}after{odd}"
    live = tmp_path / "live.jsonl"
    ResponseStore(live).add(response(asked, text))
    for store in (ResponseStore(live), ResponseStore(tmp_path / "other.jsonl", [live])):
        found = store.find(asked)
        assert found is not None
        assert found.text == text


def test_recorded_answers_are_found_and_never_written_to(tmp_path: Path) -> None:
    recorded, live = tmp_path / "recorded.jsonl", tmp_path / "live.jsonl"
    old, new = request(draw="a/0/0"), request(draw="a/0/1")
    ResponseStore(recorded).add(response(old))
    before = recorded.read_bytes()
    store = ResponseStore(live, [recorded])
    store.add(response(new))
    assert store.find(old) == response(old)
    assert recorded.read_bytes() == before
    assert [json.loads(line)["draw"] for line in live.read_text().splitlines()] == ["a/0/1"]


def test_an_empty_recorded_file_is_no_error(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.jsonl"
    recorded.touch()
    assert ResponseStore(tmp_path / "live.jsonl", [recorded]).find(request()) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("teacher", "http://127.0.0.1:8000/v1"),
        ("model", "large"),
        ("api", "chat"),
        ("prompt", "2. Instruction:"),
        ("messages", [{"role": "user", "content": "1. Instruction:"}]),
        ("temperature", 0.71),
        ("top_p", 0.9),
        ("json_schema", {"type": "object"}),
        ("frequency_penalty", 0.5),
        ("presence_penalty", 0.5),
        ("stop", ["###"]),
        ("temperature", None),
        ("reasoning_effort", "low"),
        ("draw", "bgp/0/1"),
    ],
)
def test_the_key_changes_with_everything_that_shapes_the_answer(name: str, value: Any) -> None:
    assert request(**{name: value}).key != request().key


def test_every_field_of_a_request_is_covered_by_the_key_test() -> None:
    assert set(FIELDS) == set(Request.model_fields)


@pytest.mark.parametrize(("name", "value"), [("max_tokens", 4096), ("service_tier", "flex"), ("cache_key", "a")])
def test_the_key_does_not_change_with_the_limit_nor_with_what_decides_the_price_alone(name: str, value: Any) -> None:
    assert request(**{name: value}).key == request().key


def test_what_a_provider_does_not_report_is_not_written(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "live.jsonl")
    store.add(response(request()), response(request(draw="bgp/0/1"), reasoning_tokens=5, service_tier="flex"))
    plain, rich = map(json.loads, store.live.read_text().splitlines())
    assert rich.keys() - plain.keys() == {"reasoning_tokens", "service_tier"}
    assert ResponseStore(store.live).find(request(draw="bgp/0/1")) == store.find(request(draw="bgp/0/1"))


def test_the_key_is_the_one_that_recorded_answers_carry() -> None:
    """A changed hash would orphan every recorded answer."""
    assert request().key == "60b3aaca20f238aa258261ea72c291aa593253c752aae35d855e4fbebc191858"


@pytest.mark.parametrize(
    ("finish_reason", "used", "limit", "found"),
    [
        ("length", 320, 320, True),  # the same limit: it would be cut again
        ("length", 320, 640, False),  # a higher limit: it may now end by itself
        ("length", 320, 160, False),  # a lower limit: it would be cut earlier
        ("stop", 100, 640, True),  # it ended by itself: a higher limit changes nothing
        ("stop", 100, 100, True),  # it still fits
        ("stop", 100, 99, False),  # it would be cut
    ],
)
def test_only_answers_that_a_new_limit_could_change_are_asked_again(
    tmp_path: Path, finish_reason: str, used: int, limit: int, found: bool
) -> None:
    live = tmp_path / "live.jsonl"
    ResponseStore(live).add(response(request(), finish_reason=finish_reason, completion_tokens=used))
    assert (ResponseStore(live).find(request(max_tokens=limit)) is not None) == found


def test_a_truncated_answer_and_the_longer_one_are_both_kept_for_their_limits(tmp_path: Path) -> None:
    live = tmp_path / "live.jsonl"
    short, long = request(max_tokens=320), request(max_tokens=640)
    store = ResponseStore(live)
    store.add(response(short, "cut", finish_reason="length", completion_tokens=320))
    store.add(response(long, "cut off later", completion_tokens=500))
    for opened in (store, ResponseStore(live)):
        assert [opened.find(asked).text for asked in (short, long)] == ["cut", "cut off later"]  # type: ignore[union-attr]
