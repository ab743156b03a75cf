"""Every reader of what others write: whatever is in it, there is a StageError or a result, never another exception."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netllama.code_tasks.code_extraction import extract_code
from netllama.core.credentials import find_secret
from netllama.core.errors import StageError
from netllama.core.files import DEEPEST, has_findings, parse_json, read_json, read_jsonl
from netllama.core.params import parse_yaml, read_params
from netllama.core.records import SeedTask, load_instructions, load_questions, parse_as
from netllama.core.sections import TrainParams
from netllama.core.server_section import find_url_problems
from netllama.core.tokenizer_files import load_tokenizer
from netllama.documents.corpus import read_corpus
from netllama.question_shapes.question_files import read_entries
from netllama.splitting.extra import load_extra
from netllama.teacher import retries
from netllama.teacher.api_answer import ErrorInAnswer, NotAnAnswer, parse_answer
from netllama.teacher.batch_api_files import read_results
from netllama.teacher.error_bodies import read_server_error
from netllama.teacher.error_verdicts import judge_server_error
from netllama.teacher.store import ResponseStore
from tests.support.clones import ROOT
from tests.support.openai_server import Answer, Asked, Body, OpenAIServer, Page, Reply
from tests.support.teacher_requests import ask, request

DIGITS = "9" * 5_000
NESTED = "[" * 100_000
NASTY = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"null", b"[]", b"{}", b'"x"', b"NaN", b"-Infinity", b"1e999",
    DIGITS.encode(), NESTED[:10_000].encode(), ('{"a":' * 5_000).encode(), ("[" * 400 + "]" * 400).encode(),
    ('{"a":' * 300 + "1" + "}" * 300).encode(), b'"\\ud83d"', b'{"id": "\\udc00"}', b"2024-13-45", b"a: 2024-13-45",
    b"train:\n  seed: " + DIGITS.encode(), b"&a [*a]", b"a: &a {b: *a}", b"1: 2", b"? [1]\n: 2", b"\x1f\x8b",
    b"!!int x", b"!!float .", b"!!timestamp x", b"!!binary a", b"!!omap a", b"a: !!set [1]", b"<<: 1", b"- <<: [1]",
    b"%YAML 9.9\n---\na", b"0o9: 1", b"a: 0x", b"a: 1_0", b"a: 12:30:45", b"a: 99999-01-01",
    b"OPENAI_API_KEY='", b"PAR1PAR1", b"!!python/object:os {}",
]  # fmt: skip
"""What broke some reader once, and what looks as if it could."""


def json_values() -> st.SearchStrategy[Any]:
    names = [
        "id",
        "family",
        "instruction",
        "input",
        "output",
        "options",
        "conversations",
        "messages",
        "role",
        "content",
    ]
    names += ["choices", "message", "usage", "error", "detail", "loc", "custom_id", "response", "body", "status_code"]
    leaf = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=8)
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(names), inner, max_size=4),
        max_leaves=12,
    )


def rubbish(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes, nasty ones, JSON of any shape, and `valid` with a few bytes changed."""

    def damage(whole: bytes, seed: int) -> bytes:
        draw, data = random.Random(seed), bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            place = draw.randrange(len(data) or 1)
            data[place : place + draw.choice([0, 1, 1, 8])] = draw.choice(
                [b"", b"\0", b"{", b'"', b"\xff", b"9", b"\n- "]
            )
        return bytes(data)

    rows = json_values().map(lambda value: json.dumps(value).encode())
    short = [content for content in NASTY if len(content) < 1000]  # of the others, one of each takes long enough
    made = st.sampled_from(short) | st.binary(max_size=80) | rows | st.lists(rows, max_size=3).map(b"\n".join)
    return made | st.builds(damage, st.sampled_from(valid), st.integers(0, 2**32)) if valid else made


SEED_ROW = (ROOT / "data/seeds/bgp_knowledge.jsonl").read_bytes().splitlines()[0]
QUESTION_ROW = next((ROOT / "data/questions").glob("*.jsonl")).read_bytes().splitlines()[0]
READERS: dict[str, Callable[[Path], object]] = {
    "json": read_json,
    "jsonl": read_jsonl,
    "findings": has_findings,
    "seed tasks": lambda path: read_jsonl(path, lambda row: parse_as(SeedTask, row)),
    "instructions": load_instructions,
    "questions": lambda path: load_questions(path.parent),
    "foreign questions": read_entries,
    "foreign rows": load_extra,
    "yaml": parse_yaml,
    "params": read_params,
    "corpus": lambda path: list(read_corpus([path.parent]).documents),
    "stored answers": lambda path: ResponseStore(path),
    "recorded answers": lambda path: ResponseStore(path.with_name("live"), [path]),
    "dotenv": lambda path: find_secret("OPENAI_API_KEY"),
}
NAMES = {"dotenv": ".env", "corpus": "notes.md", "params": "params.yaml"}


@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_rubbish_is_an_error_of_ours_or_a_result(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = tmp_path / "read" / NAMES.get(reader, "file.jsonl")
    if reader == "dotenv":
        path = tmp_path / ".env"
    path.parent.mkdir(exist_ok=True)

    @settings(suppress_health_check=list(HealthCheck))
    @given(rubbish(SEED_ROW, QUESTION_ROW, (ROOT / "params.yaml").read_bytes()))
    def read(content: bytes) -> None:
        path.write_bytes(content)
        said = path.name
        try:
            READERS[reader](path)
        except StageError as error:
            said = str(error)
        assert path.name in said or path.parent.name in said

    for content in NASTY:
        read.hypothesis.inner_test(content)  # type: ignore[attr-defined]
    read()


BROKEN = [*NASTY[:30], b'{"model": {"type": "BPE", "vocab": {}, "merges": ["a"]}}']


@pytest.mark.parametrize("content", BROKEN, ids=map(str, range(len(BROKEN))))
def test_a_broken_tokenizer_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(StageError, match="no usable tokenizer") as error:
        load_tokenizer(tmp_path)
    assert "\n" not in str(error.value)


@given(json_values() | st.fixed_dictionaries({"choices": st.lists(json_values(), max_size=2), "usage": json_values()}))
def test_a_body_of_any_shape_is_an_answer_or_none(body: Any) -> None:
    for api in ("chat", "completions", "responses"):
        try:
            answer = parse_answer(request("https://a/v1", api="chat").model_copy(update={"api": api}), body)
        except (NotAnAnswer, ErrorInAnswer):
            continue
        assert answer.prompt_tokens >= 0 <= answer.completion_tokens
        answer.model_dump_json().encode()
    judge_server_error(400, read_server_error(body), "server", "model", {"temperature": 1})


def test_an_error_in_an_error_in_an_error_is_read_to_some_depth() -> None:
    body: Any = {"message": "inner"}
    for _ in range(400):
        body = {"error": body}
    assert read_server_error(body).message == ""
    assert read_server_error({"error": {"message": "m", "code": DIGITS}}).status is None


@settings(suppress_health_check=list(HealthCheck))
@given(rubbish(b'{"custom_id": "k", "response": {"status_code": 200, "body": {"choices": [{"text": "t"}]}}}'))
def test_a_file_of_the_batch_api_is_read_or_named_unreadable(content: bytes) -> None:
    read_results(content, "file-1", {"k": request("https://a/v1")}, "server")


RUDE: dict[str, Reply] = {
    "deep": Page(NESTED, "application/json"),
    "digits": Page(f'{{"choices": {DIGITS}}}', "application/json"),
    "deep error": Page(NESTED, "application/json", 400),
    "digits error": Page(DIGITS, "application/json", 401),
    "list": Body([1]),
    "negative": Body({"choices": [{"text": "t"}], "usage": {"prompt_tokens": -5, "completion_tokens": 10**30}}),
    "surrogate model": Page('{"model": "\\ud83d", "choices": [{"text": "\\udc00"}]}', "application/json"),
}


@pytest.mark.parametrize("name", RUDE)
def test_a_rude_server_is_one_line_or_an_answer_that_can_be_stored(
    name: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)

    def reply(asked: Asked) -> Reply:
        return RUDE[name] if "prompt" in asked.body else Answer("")

    with OpenAIServer(reply) as server:
        if name in ("negative", "surrogate model"):
            [answer] = ask(server.url, [request(server.url)], max_retries=1)
            assert answer.prompt_tokens == answer.completion_tokens == 0
            assert ResponseStore(Path("responses.jsonl")).find(request(server.url)) == answer
        else:
            with pytest.raises(StageError) as error:
                ask(server.url, [request(server.url)], max_retries=1)
            assert "\n" not in str(error.value)


def test_depth_is_counted_in_levels_not_in_brackets() -> None:
    assert parse_json("[" + "[]," * 1000 + "1]")
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)
    assert parse_json('"' + "[" * 1000 + '"') == "[" * 1000
    with pytest.raises(ValueError, match="levels deep"):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  seed: 2024-13-45", "a value that cannot be read (month must be in 1..12)"),
        (f"  seed: {DIGITS}", "a value that cannot be read (Exceeds the limit"),
    ],
    ids=["day", "digits"],
)
def test_a_value_that_yaml_cannot_read_is_found_by_its_line(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"train:\n  max_steps: 4\n{line}\n")
    with pytest.raises(StageError) as error:
        parse_yaml(path)
    assert str(error.value).startswith(f"{path}:3: {said}")


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_that_no_generator_takes_is_found_before_any_model_is_loaded(
    seed: int, workdir: Path, set_params: Callable[..., None]
) -> None:
    assert "seed" in TrainParams.model_fields
    for section in ("train", "generate", "retrieve", "split"):
        set_params(**{f"{section}.seed": seed})
    with pytest.raises(StageError) as error:
        read_params(workdir / "params.yaml")
    for section in ("train", "generate", "retrieve", "split"):
        assert f"{section}.seed: input should be" in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1", "http://[::1/v1", "https://a:99999/v1", "https://a:-1/v1", "https://a:b/v1", "https://a\0b/v1",
        "https://a b/v1", "https://a/v1\n", "https://[x]/v1", "https://a/v1\u2028",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_named(url: str, workdir: Path, set_params: Callable[..., None]) -> None:
    set_params(**{"teacher.base_url": url, "teacher.model_name": "m"})
    with pytest.raises(StageError, match="base_url"):
        read_params(workdir / "params.yaml")


@settings(suppress_health_check=list(HealthCheck))
@given(st.text(max_size=20).map("http://".__add__) | st.text(max_size=20))
def test_any_text_as_an_address_is_taken_or_named(text: str) -> None:
    assert all(problem.startswith("base_url") for problem in find_url_problems(text))


def test_code_of_any_form_is_cut_out_of_an_answer() -> None:
    for content in NASTY:
        extract_code(content.decode("utf-8", "replace"))
