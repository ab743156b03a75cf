"""The lookup before the first request: says what is unknown or will shut down, and never ends a run."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from netllama.teacher.batch_api_teacher import BatchTeacher
from netllama.teacher.connection import connect
from netllama.teacher.model_lookup import describe_model
from netllama.teacher.store import ResponseStore
from tests.support.batch_server import BatchServer
from tests.support.openai_server import Answer, OpenAIServer
from tests.support.teacher_requests import LIVE, always, ask, request

TODAY = date(2026, 11, 28)


@pytest.fixture(autouse=True)
def _in_a_folder_without_keys(workdir: object) -> None:
    pass


def describe(models: Any, model: str = "small") -> str:
    async def run(url: str) -> str:
        async with connect(url, 5.0) as client:
            return await describe_model(client, "server", model, TODAY)

    with OpenAIServer(always(Answer("text")), models=models) as server:
        return asyncio.run(run(server.url))


@pytest.mark.parametrize(
    ("shutdown", "says"),
    [
        (None, ""),
        ("2027-02-27", ""),
        ("2027-02-26", "server: the model small shuts down on 2027-02-26 (in 90 days)"),
        ("2027-01-14", "shuts down on 2027-01-14 (in 47 days)"),
        ("2026-11-28", "shuts down on 2026-11-28 (today)"),
        ("2026-10-23", "was shut down on 2026-10-23 (36 days ago)"),
        ("2027-01-14T00:00:00Z", "in 47 days"),
        ("soon", ""),
        (1800000000, ""),
    ],
)
def test_a_shutdown_within_ninety_days_is_said_with_its_date(shutdown: Any, says: str) -> None:
    line = describe([{"id": "small", "shutdown_date": shutdown}])
    assert line.startswith(says) if says.startswith("server") else says in line
    assert bool(line) == bool(says)


def test_an_unknown_model_is_said_with_those_that_there_are() -> None:
    assert describe([{"id": "large"}, {"id": "a/b"}]) == ("server: does not list the model small; it lists a/b, large")
    assert describe([{"id": f"m{number}"} for number in range(20)]).endswith("m14, m15, ...")


def test_a_name_with_a_slash_is_found() -> None:
    assert describe([{"id": "meta/small"}], "meta/small") == ""


@pytest.mark.parametrize("models", [None, [{"name": "small"}], [7]])
def test_a_server_without_a_list_of_models_is_asked_all_the_same(models: Any) -> None:
    assert describe(models) == ""


def test_the_lookup_comes_once_before_the_first_request_and_not_for_stored_answers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    soon = (date.today() + timedelta(days=9)).isoformat()
    with OpenAIServer(always(Answer("text")), models=[{"id": "small", "shutdown_date": soon}]) as server:
        requests = [request(server.url, slot) for slot in range(4)]
        ask(server.url, requests)
        assert server.lookups == ["/v1/models/small"]
        assert soon in capsys.readouterr().out
        ask(server.url, requests)
        assert server.lookups == ["/v1/models/small"]


def test_the_batch_api_looks_the_model_up_once_before_the_first_batch(capsys: pytest.CaptureFixture[str]) -> None:
    soon = (date.today() + timedelta(days=9)).isoformat()
    described = {"small": {"id": "small", "shutdown_date": soon}}

    async def run(url: str) -> None:
        async with BatchTeacher(url, ResponseStore(LIVE), poll_seconds=0.01) as teacher:
            for slot in range(2):
                await teacher.ask_all([request(url, slot)])

    with BatchServer(always(Answer("text")), models=described) as server:
        asyncio.run(run(server.url))
        assert len(server.batches) == 2
    assert capsys.readouterr().out.count(f"the model small shuts down on {soon}") == 1
