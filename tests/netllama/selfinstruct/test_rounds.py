"""The rounds: the same bytes at every concurrency, each row's origin, and what a change asks again."""

import asyncio
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netllama.novelty.rouge import compute_rouge_l
from netllama.selfinstruct.exemplars import draw_exemplars
from netllama.selfinstruct.rounds import Family, grow_families
from netllama.teacher.client import Teacher
from netllama.teacher.store import Request, ResponseStore
from tests.support.families import TEACHER, Scripted, dump_rows, family, grown, join_texts, load_family_seeds, tasks_for
from tests.support.openai_server import WORDS, Answer, Asked, OpenAIServer, Reply

CONTRACTS: list[dict[str, Any]] = [
    {"api": "completions"},
    {"api": "chat"},
    {"api": "chat", "output_contract": "json_schema"},
]
every_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=["completions", "chat", "json_schema"])
NAMES = ("bgp_knowledge", "packet_analysis")
ENDLESS = {"num_instructions_to_generate": 1000, "max_requests": 32, "requests_per_round": 8}
"""Four rounds of eight slots, whatever they yield."""


def grown_through(server: OpenAIServer, store: str, concurrency: int, **changes: Any) -> list[Family]:
    families = [family(name, base_url=server.url, **changes) for name in NAMES]

    async def run() -> None:
        async with Teacher(server.url, ResponseStore(Path(store)), concurrency) as teacher:
            await grow_families(families, teacher, lambda: None)

    asyncio.run(run())
    return families


@every_contract
def test_concurrency_and_the_order_of_the_answers_do_not_change_a_byte(contract: dict[str, Any], workdir: Path) -> None:
    latest = 0.0

    def late(asked: Asked) -> Reply:
        answer = tasks_for(asked)
        return Answer(answer.text, delay=random.random() * latest)

    changes = contract | {"num_instructions_to_generate": 40, "requests_per_round": 12}
    with OpenAIServer(late) as server:
        one = grown_through(server, "1.jsonl", 1, **changes)
        in_order = server.prompts.copy()
        latest = 0.02  # one at a time come in order, late or not
        many = grown_through(server, "64.jsonl", 64, **changes)
        out_of_order = server.prompts[len(in_order) :]
        assert server.most_at_once > 4
    assert dump_rows(*one) == dump_rows(*many)
    assert [len(grown.kept) for grown in one] == [40, 40]
    assert min(grown.rounds for grown in one) > 1
    assert sorted(in_order) == sorted(out_of_order)
    assert Path("1.jsonl").read_bytes() != Path("64.jsonl").read_bytes(), "the answers did come in another order"


@every_contract
def test_every_row_carries_its_origin(contract: dict[str, Any]) -> None:
    grown_family = family(**contract, num_instructions_to_generate=30, requests_per_round=5, num_machine_exemplars=2)
    teacher = grown(grown_family)
    requests = {request.key: request for request in teacher.asked}
    answers = {response.key: response for response in grown_family.responses}
    texts = {task.id: written(task.output, contract) for task in (*grown_family.seeds, *grown_family.kept)}
    rows = [*grown_family.kept, *grown_family.rejected]
    for row in rows:
        assert answers[row.request].draw == f"bgp_knowledge/{row.round}/{row.slot}"
        assert row.id.startswith(f"bgp_knowledge-r{row.round:03d}-s{row.slot:02d}-t")
        assert row.model == "test"
        sent = join_texts(requests[row.request])
        assert {name for name, text in texts.items() if text in sent} == set(row.exemplars)
        places = [sent.index(texts[name]) for name in row.exemplars]
        assert places == sorted(places), "in their order"
    assert len({row.id for row in rows}) == len(rows)
    assert {row.source for row in grown_family.kept} == {"generated"}
    assert any(name.startswith("bgp_knowledge-r") for row in rows for name in row.exemplars), "machine-made ones too"
    for place, row in enumerate(grown_family.kept):
        assert written(row.output, contract) in written(answers[row.request].text, {})
        before = [*grown_family.seeds, *grown_family.kept[:place]]
        scores = [compute_rouge_l(row.instruction, other.instruction) for other in before]
        best = max(scores)
        nearest = before[scores.index(best)].id if best else None
        assert (row.nearest, row.nearest_score) == (nearest, round(best, 4))
    if contract.get("output_contract"):
        assert {row.category for row in grown_family.kept} <= {task.category for task in grown_family.seeds}


def written(text: str, contract: dict[str, Any]) -> str:
    """A text as it stands in a prompt."""
    return json.dumps(text, ensure_ascii=False)[1:-1] if contract.get("output_contract") else text


def test_a_request_is_made_of_the_params() -> None:
    changes: dict[str, Any] = {
        "temperature": 0.3,
        "top_p": 0.9,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "stop": ["20."],
        "max_tokens": 99,
        "model_name": "gpt",
    }
    [request, *_] = family(**changes).build_round()
    asked = request.model_dump()
    assert asked["teacher"] == TEACHER
    assert asked["model"] == changes.pop("model_name")
    assert {name: asked[name] for name in changes} == changes
    assert request.draw == "bgp_knowledge/0/0"
    same, other = (family(**changes, model_name="gpt", seed=number).build_round()[0].key for number in (42, 7))
    assert same == request.key != other


def test_slots_of_a_round_see_the_pool_as_it_was_when_the_round_began() -> None:
    one = family(num_seed_exemplars=1, num_machine_exemplars=4, **ENDLESS)
    grown(one)
    rounds = {row.id: row.round for row in (*one.kept, *one.rejected)}
    seen = 0
    for row in one.kept:
        for name in row.exemplars:
            if name in rounds:
                assert rounds[name] < row.round
                seen += 1
    assert seen > 20


def test_a_slot_draws_by_its_name_from_the_seeds_and_all_rows_of_earlier_rounds() -> None:
    one = family(num_seed_exemplars=1, num_machine_exemplars=2, max_exemplar_tokens=1000, seed=7, **ENDLESS)
    grown(one)
    for (number, slot), drew in list_exemplars(one).items():
        before = [row for row in one.kept if row.round < number]
        drawn = draw_exemplars(one.seeds, before, 1, 2, 1000, f"7/bgp_knowledge/{number}/{slot}")
        assert drew == {task.id for task in drawn}


@every_contract
@pytest.mark.parametrize("machine", [0, 1])
def test_a_higher_number_keeps_the_earlier_rows_and_asks_only_for_more(contract: dict[str, Any], machine: int) -> None:
    changes = contract | {"num_machine_exemplars": machine}
    few, more = (family(**changes, num_instructions_to_generate=number) for number in (7, 30))
    asked_for_few = grown(few).asked
    asked_for_more = grown(more).asked
    assert (len(few.kept), len(more.kept)) == (7, 30)
    assert more.kept[:7] == few.kept
    assert more.responses[: len(few.responses)] == few.responses
    assert asked_for_more[: len(asked_for_few)] == asked_for_few
    assert len(asked_for_more) > len(asked_for_few)


def list_exemplars(one: Family) -> dict[tuple[int, int], set[str]]:
    """What each slot drew."""
    return {(row.round, row.slot): set(row.exemplars) for row in (*one.kept, *one.rejected)}


def index_requests(teacher: Scripted) -> dict[tuple[int, int], Request]:
    slots = {tuple(map(int, request.draw.split("/")[1:])): request for request in teacher.asked}
    return {(number, slot): request for (number, slot), request in slots.items()}


@every_contract
@pytest.mark.parametrize("machine", [0, 1])
def test_an_edited_seed_asks_again_only_for_slots_that_drew_it_or_a_row_that_changed_with_it(
    contract: dict[str, Any], machine: int
) -> None:
    seeds = load_family_seeds("bgp_knowledge")
    before = family(seeds=seeds, num_machine_exemplars=machine, **contract, **ENDLESS)
    asked_before = index_requests(grown(before))
    drew_before = list_exemplars(before)
    drawn = {task.id: sum(task.id in drew for drew in drew_before.values()) for task in seeds}
    place = next(place for place, task in enumerate(seeds) if 1 < drawn[task.id] < 9)
    task = seeds[place]
    # Of the same length: the budget lets the same examples in.
    edited = [*seeds[:place], task.model_copy(update={"output": "Z" + task.output[1:]}), *seeds[place + 1 :]]
    after = family(seeds=edited, num_machine_exemplars=machine, **contract, **ENDLESS)
    asked_after = index_requests(grown(after))
    drew_after = list_exemplars(after)
    assert set(asked_before) == set(asked_after) == set(drew_before) == set(drew_after)

    rows_before, rows_after = ({row.id: row for row in one.kept} for one in (before, after))
    names = {*rows_before, *rows_after}
    changed = {task.id} | {name for name in names if not same_text(rows_before.get(name), rows_after.get(name))}
    again = {slot for slot in asked_before if asked_before[slot].key != asked_after[slot].key}
    assert again == {slot for slot in drew_before if (drew_before[slot] | drew_after[slot]) & changed}
    assert 0 < len(again) < 32
    if not machine:
        assert again == {slot for slot, drew in drew_before.items() if task.id in drew}


def same_text(first: Any, second: Any) -> bool:
    return bool(first and second) and (first.instruction, first.input, first.output, first.category) == (
        second.instruction,
        second.input,
        second.output,
        second.category,
    )


@every_contract
def test_a_useless_teacher_is_asked_max_requests_times_and_no_more(contract: dict[str, Any]) -> None:
    refusing: Callable[[Asked], Answer] = lambda asked: Answer("", refusal="I can't help with that.")  # noqa: E731
    one = family(**contract, max_requests=5, requests_per_round=2)
    teacher = grown(one, teacher=Scripted(refusing))
    assert len(teacher.asked) == len(one.responses) == 5
    assert (one.rounds, one.kept) == (3, [])
    assert [row.reason for row in one.rejected] == ["refusal"] * 5


BARREN = {
    "malformed": Answer("I would rather talk about the weather."),
    "refusal": Answer("", refusal="I can't help with that."),
    "truncated": Answer("<think>\nFirst, I have to consider", "length"),
    "word_count": Answer("###\n9. Instruction: Name it.\n9. Output:\nBGP."),
}


@pytest.mark.parametrize("reason", BARREN)
@pytest.mark.parametrize(("width", "asked"), [(1, 8), (3, 9), (4, 8), (8, 16), (32, 64)])
def test_a_family_of_which_nothing_is_kept_is_asked_two_rounds_and_eight_requests(
    reason: str, width: int, asked: int
) -> None:
    one = family(requests_per_round=width, max_requests=1000)
    teacher = grown(one, teacher=Scripted(lambda _: BARREN[reason]))
    assert one.is_barren
    assert (len(teacher.asked), one.kept) == (asked, [])
    assert {row.reason for row in one.rejected} == {reason}


def test_a_family_with_a_task_is_asked_to_the_end_even_if_nothing_new_comes() -> None:
    same = Answer(f"###\n9. Instruction: {' '.join(WORDS[:8])}\n9. Output:\n{' '.join(WORDS[8:])}")
    one = family(max_requests=20)
    assert len(grown(one, teacher=Scripted(lambda _: same)).asked) == 20
    assert (len(one.kept), one.is_barren) == (1, False)
    late = family(max_requests=20)
    grown(late, teacher=Scripted(lambda asked: same if asked.number == 7 else BARREN["malformed"]))
    assert (len(late.kept), len(late.responses), late.is_barren) == (1, 20, False)


def test_the_embedded_teacher_costs_nothing_and_is_asked_to_the_end() -> None:
    free = family(base_url="", model_name="smollm2-135m-instruct", max_requests=20)
    grown(free, teacher=Scripted(lambda asked: Answer("chatter")))
    assert (len(free.responses), free.is_barren) == (20, False)


def test_a_barren_family_does_not_stop_the_others() -> None:
    barren, fertile = family("bgp_knowledge"), family("packet_analysis")
    script = lambda asked: BARREN["refusal"] if "bgp_knowledge" in asked.prompt else tasks_for(asked)  # noqa: E731
    grown(barren, fertile, teacher=Scripted(script))
    assert (len(barren.responses), barren.is_barren) == (8, True)
    assert (len(fertile.kept), fertile.is_barren) == (8, False)


def test_too_few_answers_to_judge_a_family_by_do_not_make_it_barren() -> None:
    few = family(max_requests=3)
    grown(few, teacher=Scripted(lambda _: BARREN["malformed"]))
    assert (len(few.responses), few.kept, few.is_barren) == (3, [], False)
    none = family(num_instructions_to_generate=0)
    grown(none)
    assert not none.is_barren


def test_a_number_of_zero_asks_nothing() -> None:
    one = family(num_instructions_to_generate=0)
    assert grown(one).asked == []
    assert dump_rows(one) == []


def test_families_that_are_done_wait_for_the_others_and_are_not_asked_again() -> None:
    easy, hard = family("bgp_knowledge"), family("packet_analysis", min_words=9, max_requests=20)
    one = family("packet_analysis", num_instructions_to_generate=1)
    grown(one)
    hard.kept = one.kept
    teacher = grown(easy, hard)
    assert len(easy.kept) == 8
    assert (len(hard.kept), len(hard.responses)) == (1, 20)
    assert {row.reason for row in hard.rejected} == {"malformed", "word_count"}
    asked = [request.draw.split("/")[0] for request in teacher.asked]
    assert asked.count("bgp_knowledge") == len(easy.responses) < 20


def test_what_comes_after_the_number_is_reached_is_not_judged() -> None:
    one = family(num_instructions_to_generate=1, requests_per_round=4)
    grown(one)
    assert (len(one.kept), len(one.responses)) == (1, 4)
    assert len(one.rejected) == 0


def test_every_slot_of_a_family_is_a_draw_of_its_own() -> None:
    teacher = grown(family(**ENDLESS))
    assert [request.draw for request in teacher.asked] == [
        f"bgp_knowledge/{number}/{slot}" for number in range(4) for slot in range(8)
    ]
    assert len({request.key for request in teacher.asked}) == 32


def test_the_report_is_called_after_every_round() -> None:
    one, seen = family(**ENDLESS), []
    asyncio.run(grow_families([one], Scripted(), lambda: seen.append(len(one.responses))))
    assert seen == [8, 16, 24, 32]


def test_a_task_with_no_text_is_no_row_even_without_a_filter() -> None:
    texts = [("", "b"), ("a", ""), ("a", "b")]
    text = "\n###\n".join(f"1. Instruction: {instruction}\n1. Output:\n{output}" for instruction, output in texts)
    one = family(enabled=[], max_requests=1)
    grown(one, teacher=Scripted(lambda asked: Answer(text)))
    assert [row.reason for row in one.rejected] == ["empty_field", "empty_field"]
    assert [row.output for row in one.kept] == ["b"]


def test_the_ids_of_a_family_sort_in_the_order_of_its_rows() -> None:
    one = family(**ENDLESS)
    grown(one)
    ids = [row.id for row in one.kept]
    assert ids == sorted(ids)
    assert all(re.fullmatch(r"bgp_knowledge-r\d{3}-s\d\d-t\d\d", name) for name in ids)
