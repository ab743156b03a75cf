"""Self-Instruct: the block format and its parser, the filters, the draw of examples, the rounds."""

import asyncio
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from clones import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openai_server import Answer, Asked, OpenAIServer, Reply, new_tasks

from stages import generate
from stages.core.files import read_jsonl
from stages.core.params import Generate, read_params
from stages.core.records import Task, load_seeds
from stages.selfinstruct.blocks import Candidate, parse_blocks
from stages.selfinstruct.filters import FILTERS, Context, objection
from stages.selfinstruct.prompting import block, chat_messages, completion_prompt, draw_exemplars, tokens_of
from stages.selfinstruct.rounds import Family
from stages.teacher.store import ResponseStore

FAMILIES = sorted(path.stem for path in (ROOT / "data" / "seeds").glob("*.jsonl"))
DIRECTIVE = "Write tasks for a network engineer who debugs BGP sessions between two autonomous systems every day."
CONTEXT = Context(DIRECTIVE, min_words=3, max_words=8)


# The parser


def test_well_formed_blocks_become_candidates_in_order() -> None:
    text = (
        "###\n3. Instruction: Name the\n BGP port.\n3. Input:\n<noinput>\n3. Output:\nTCP 179.\n"
        "###\n4. Instruction: Decode this.\n4. Input:\n40 01 01 00\n\n4. Output:\nORIGIN IGP\n\nTwo paragraphs.\n###\n"
    )
    assert parse_blocks(text, truncated=False) == [
        Candidate("Name the BGP port.", "", "TCP 179."),
        Candidate("Decode this.", "40 01 01 00", "ORIGIN IGP\n\nTwo paragraphs."),
    ]


def test_the_first_piece_goes_on_where_the_prompt_ended() -> None:
    text = " Name the BGP port.\n3. Input:\n<noinput>\n3. Output:\nTCP 179."
    assert parse_blocks(text, truncated=False) == [Candidate("Name the BGP port.", "", "TCP 179.")]


def test_a_first_piece_that_says_its_number_again_is_taken_as_it_is() -> None:
    text = "\n3. Instruction: Name the BGP port.\n3. Input:\n<noinput>\n3. Output:\nTCP 179."
    assert parse_blocks(text, truncated=False) == [Candidate("Name the BGP port.", "", "TCP 179.")]


def test_a_block_with_no_input_field_has_an_empty_input() -> None:
    text = "###\n3. Instruction: Name the BGP port.\n3. Output:\nTCP 179."
    assert parse_blocks(text, truncated=False) == [Candidate("Name the BGP port.", "", "TCP 179.")]


@pytest.mark.parametrize("written", ["<noinput>", "<NoInput>", "noinput", ""])
def test_noinput_in_any_spelling_is_an_empty_input(written: str) -> None:
    [candidate] = parse_blocks(f"###\n1. Instruction: a\n1. Input:\n{written}\n1. Output:\nb", truncated=False)
    assert candidate == Candidate("a", "", "b")


@pytest.mark.parametrize(
    "piece",
    [
        "1. Output:\nb\n1. Input:\nc\n1. Instruction: a",  # out of order
        "1. Instruction: a\n1. Input:\nb",  # no output
        "1. Instruction: a\n2. Instruction: b\n1. Output:\nc",  # two in one
        "1. Instruction: a\n1. Output:\nb\n1. Output:\nc",
    ],
)
def test_a_block_with_other_fields_is_malformed_and_keeps_its_text(piece: str) -> None:
    good = "2. Instruction: a\n2. Output:\nb"
    assert parse_blocks(f"###\n{piece}\n###\n{good}", truncated=False) == [
        Candidate(instruction=piece, problem="malformed"),
        Candidate("a", "", "b"),
    ]


def test_chatter_before_the_first_block_is_one_malformed_candidate() -> None:
    first, second = parse_blocks("Sure! Here you go:\n###\n1. Instruction: a\n1. Output:\nb", truncated=False)
    assert (first.problem, second) == ("malformed", Candidate("a", "", "b"))


def test_only_the_last_block_of_a_truncated_answer_is_truncated() -> None:
    text = "###\n1. Instruction: a\n1. Output:\nb\n###\n2. Instruction: c\n2. Output:\nd and then"
    assert parse_blocks(text, truncated=True) == [
        Candidate("a", "", "b"),
        Candidate("c", "", "d and then", problem="truncated"),
    ]


@pytest.mark.parametrize("text", ["", " \n\n", "###\n###\n", "###"])
def test_an_empty_answer_has_no_candidates(text: str) -> None:
    assert parse_blocks(text, truncated=True) == []


def test_a_markdown_heading_does_not_end_a_block() -> None:
    [candidate] = parse_blocks("###\n1. Instruction: a\n1. Output:\n### Steps\nb\n#### More\nc", truncated=False)
    assert candidate.output == "### Steps\nb\n#### More\nc"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_seed_task_survives_the_block_format(family: str) -> None:
    seeds = load_seeds(ROOT / "data" / "seeds", family)
    text = "".join(block(number, seed) for number, seed in enumerate(seeds, start=1))
    assert parse_blocks(text, truncated=False) == [
        Candidate(" ".join(seed.instruction.split()), seed.input.strip(), seed.output.strip()) for seed in seeds
    ]


plain = st.text(max_size=60).map(str.strip)


@settings(deadline=None)
@given(st.lists(st.builds(Task, instruction=plain.filter(bool), input=plain, output=plain.filter(bool)), max_size=4))
def test_blocks_that_are_written_are_read_back(tasks: list[Task]) -> None:
    for task in tasks:
        fields = f"{task.instruction}\n{task.input}\n{task.output}"
        assume(not re.search(r"###|(Instruction|Input|Output)\s*:|noinput", fields, re.IGNORECASE))
        assume(" ".join(task.instruction.split()) == task.instruction and task.input.strip("<>") == task.input)
    text = "".join(block(number, task) for number, task in enumerate(tasks, start=1))
    assert parse_blocks(text, truncated=False) == [Candidate(**task.model_dump()) for task in tasks]


# The filters

GOOD = Candidate("Explain the BGP hold timer.", "", "It ends the session when no message came in time.")
LOOP = "The session is down again."
CASES = [
    # filter, objects to, lets pass
    ("empty", Candidate("", "", "b"), GOOD),
    ("empty", Candidate("Explain the hold timer.", "", ""), GOOD),
    ("word_count", Candidate("Too short", "", "b"), Candidate("Now long enough", "", "b")),
    ("word_count", Candidate(" ".join("abcdefghi"), "", "b"), Candidate(" ".join("abcdefgh"), "", "b")),
    ("markers", Candidate("a b c", "", "x\n###\ny"), Candidate("a b c", "", "### Heading\nx # y")),
    ("markers", Candidate("a b c", "", "x\n7. Input: y"), Candidate("a b c", "", "Input: y\n7. Step")),
    ("markers", Candidate("a b c", "y <noinput>", "x"), Candidate("a b c", "y no input", "x")),
    ("markers", Candidate("a b\u200b c", "", "x"), Candidate("a b c é", "", "x")),
    ("prompt_leak", Candidate("a b c", "", f"As asked: {DIRECTIVE}"), Candidate("a b c", "", DIRECTIVE[:35])),
    ("prompt_leak", Candidate(DIRECTIVE.upper()[:75], "", "x"), Candidate(DIRECTIVE[:35], "", "x")),
    ("echo", Candidate("Explain the timer.", "", "explain the TIMER."), Candidate("Explain it.", "", "Explain.")),
    ("echo", Candidate("a b c", "40 01 01", "40 01 01"), Candidate("a b c", "40 01 01", "40 01 01 is ORIGIN")),
    ("repetition", Candidate("a b c", "", f"{LOOP} {LOOP} {LOOP}"), Candidate("a b c", "", f"{LOOP} {LOOP}")),
    ("repetition", Candidate("a b c", "", f"{LOOP}\n" * 3), Candidate("a b c", "", "It is up.\n" * 3)),
    ("broken_code", Candidate("a b c", "", "```\nx = 1"), Candidate("a b c", "", "```\nx = 1\n```")),
    ("broken_code", Candidate("a b c", "", "```python\nx = = 1\n```"), Candidate("a b c", "", "```python\nx = 1\n```")),
    ("broken_code", Candidate("a b c", "", "```py\nx\x00\n```"), Candidate("a b c", "", "```console\nx = = 1\n```")),
]
BY_NAME = {check.__name__: check for check in FILTERS}


@pytest.mark.parametrize(("name", "bad", "good"), CASES)
def test_a_filter_objects_to_what_it_is_for_and_to_nothing_near_it(name: str, bad: Candidate, good: Candidate) -> None:
    check: Callable[[Candidate, Context], bool] = BY_NAME[name]
    assert (check(bad, CONTEXT), check(good, CONTEXT)) == (True, False)


def test_every_filter_has_its_cases() -> None:
    assert {name for name, _, _ in CASES} == set(BY_NAME)


def test_a_good_candidate_meets_no_objection() -> None:
    assert objection(GOOD, CONTEXT) is None


def test_the_first_reason_wins_and_the_parser_comes_before_the_filters() -> None:
    assert objection(Candidate("a", "", f"{LOOP} {LOOP} {LOOP}"), CONTEXT) == "word_count"
    assert objection(Candidate("a", problem="malformed"), CONTEXT) == "malformed"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_filter_objects_to_a_hand_written_seed(family: str) -> None:
    params = read_params(ROOT / "params.yaml").generate
    # No directive: some state facts of the field, and a seed may say the same in as many words.
    context = Context("", params.min_words, params.max_words)
    for seed in load_seeds(ROOT / "data" / "seeds", family):
        candidate = Candidate(seed.instruction, seed.input, seed.output)
        assert (seed.id, objection(candidate, context)) == (seed.id, None)


# The examples of a prompt


def tasks(name: str, sizes: Sequence[int]) -> list[Task]:
    return [Task(instruction=f"{name}{number}", input="", output="x" * 4 * size) for number, size in enumerate(sizes)]


sizes = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@given(sizes, sizes | st.just([]), st.integers(0, 3), st.integers(0, 3), st.integers(1, 150), st.integers())
def test_examples_keep_to_their_numbers_and_to_the_budget(
    seed_sizes: list[int], machine_sizes: list[int], num_seeds: int, num_machine: int, max_tokens: int, draw: int
) -> None:
    assume(num_seeds + num_machine > 0)
    seeds, machine = tasks("seed", seed_sizes), tasks("made", machine_sizes)

    def drawn() -> list[Task]:
        return draw_exemplars(seeds, machine, num_seeds, num_machine, max_tokens, random.Random(draw))

    exemplars = drawn()
    assert exemplars == drawn(), "the same generator draws the same examples"
    used = sum(tokens_of(task) for task in exemplars)
    if used > max_tokens:
        assert exemplars == [min(seeds, key=tokens_of)]
    assert 1 <= len(exemplars) <= num_seeds + num_machine
    assert sum(task in machine for task in exemplars) <= num_machine
    assert len({task.instruction for task in exemplars}) == len(exemplars), "none twice"
    if len(exemplars) < num_seeds + num_machine:
        left = [task for task in seeds if task not in exemplars]
        assert all(used + tokens_of(task) > max_tokens for task in left), "room is left for one more seed"


def test_seeds_take_the_places_of_machine_made_examples_while_there_are_none() -> None:
    seeds, machine = tasks("seed", [1] * 9), tasks("made", [1] * 9)
    for made, expected in (([], 0), (machine[:1], 1), (machine, 2)):
        exemplars = draw_exemplars(seeds, made, 3, 2, 100, random.Random(0))
        assert (len(exemplars), sum(task in machine for task in exemplars)) == (5, expected)


def test_a_machine_made_example_stands_in_every_place_sooner_or_later() -> None:
    seeds, machine = tasks("seed", [1] * 6), tasks("made", [1] * 6)
    draws = [draw_exemplars(seeds, machine, 2, 1, 100, random.Random(number)) for number in range(50)]
    assert {place for draw in draws for place, task in enumerate(draw) if task in machine} == {0, 1, 2}


def test_every_seed_is_drawn_sooner_or_later_and_in_every_place() -> None:
    seeds = tasks("seed", [1] * 6)
    draws = [draw_exemplars(seeds, [], 2, 0, 100, random.Random(number)) for number in range(200)]
    for place in (0, 1):
        assert {draw[place].instruction for draw in draws} == {seed.instruction for seed in seeds}


def test_a_completion_prompt_ends_where_the_next_task_begins() -> None:
    prompt = completion_prompt(f"\n{DIRECTIVE}\n", tasks("seed", [1, 2]))
    assert prompt.startswith(
        f"{DIRECTIVE}\n\n###\n1. Instruction: seed0\n1. Input:\n<noinput>\n1. Output:\nxxxx\n###\n2. "
    )
    assert prompt.endswith("\n###\n3. Instruction:")


def test_chat_messages_hold_the_directive_first_and_say_how_to_go_on() -> None:
    system, user = chat_messages(DIRECTIVE, tasks("seed", [1, 2]))
    assert system == {"role": "system", "content": DIRECTIVE}
    assert user["role"] == "user"
    assert "2. Instruction: seed1\n2. Input:\n<noinput>\n" in user["content"]
    assert "3. Instruction:" in user["content"]


# The rounds


@pytest.fixture
def grown(workdir: Path) -> Callable[..., list[Family]]:
    """`grown(server, store, key=value...)`: two families grown through the server, the outs written."""

    def run(server: OpenAIServer, store: str = "responses.jsonl", **changes: Any) -> list[Family]:
        fields: dict[str, Any] = {
            "families": ["bgp_knowledge", "packet_analysis"],
            "num_instructions_to_generate": 5,
            "base_url": server.url,
            "model_name": "test",
            "rouge_threshold": 0.7,
            "max_concurrency": 4,
        }
        params = Generate(**read_params().generate.model_dump() | fields | changes)
        families = generate.load_families(params)
        asyncio.run(generate.generate(families, params, ResponseStore(Path(store))))
        generate.write_outs(families)
        return families

    return run


def outs() -> dict[str, bytes]:
    paths = (generate.INSTRUCTIONS, generate.REJECTED, generate.RESPONSES, generate.METRICS)
    return {path.name: path.read_bytes() for path in paths}


def tasks_for(asked: Asked) -> Reply:
    return Answer(new_tasks(asked))


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_concurrency_and_the_order_of_the_answers_do_not_change_a_byte(
    api: str, grown: Callable[..., list[Family]]
) -> None:
    def shuffled(asked: Asked) -> Reply:
        return Answer(new_tasks(asked), delay=random.random() * 0.02)

    with OpenAIServer(shuffled) as server:
        grown(server, "one.jsonl", api=api, max_concurrency=1, num_instructions_to_generate=12)
        one, in_order = outs(), server.prompts.copy()
        grown(server, "eight.jsonl", api=api, max_concurrency=8, num_instructions_to_generate=12)
        eight, out_of_order = outs(), server.prompts[len(in_order) :]
    assert one == eight
    assert all(one.values()), "every out holds something to compare"
    assert sorted(in_order) == sorted(out_of_order)
    assert Path("one.jsonl").read_bytes() != Path("eight.jsonl").read_bytes(), "the answers did come in another order"


def test_kept_rows_carry_their_origin(grown: Callable[..., list[Family]]) -> None:
    with OpenAIServer(tasks_for) as server:
        families = grown(server, num_instructions_to_generate=17)
    rows, responses = read_jsonl(generate.INSTRUCTIONS), read_jsonl(generate.RESPONSES)
    by_key = {response["key"]: response for response in responses}
    assert [sum(row["family"] == family.name for row in rows) for family in families] == [17, 17]
    assert max(family.rounds for family in families) > 1
    for row in rows:
        assert row["source"] == "generated"
        assert row["model"] == "test"
        assert row["instruction"] in by_key[row["request"]]["text"]
        name, number, slot, _ = row["id"].rsplit("-", 3)
        assert by_key[row["request"]]["draw"] == f"{name}/{int(number[1:])}/{int(slot[1:])}"
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_metrics_count_what_the_outs_hold(grown: Callable[..., list[Family]]) -> None:
    with OpenAIServer(tasks_for) as server:
        grown(server)
    metrics = json.loads(generate.METRICS.read_text())
    rejected = read_jsonl(generate.REJECTED)
    assert (metrics["kept"], metrics["rejected"]) == (10, len(rejected))
    for name, family in metrics["family"].items():
        draws = [row["draw"] for row in read_jsonl(generate.RESPONSES) if row["draw"].startswith(f"{name}/")]
        assert family["requests"] == len(draws)
        assert family["prompt_tokens"] == 11 * len(draws)
        assert family["completion_tokens"] == 7 * len(draws)
        assert family["rejected"] == {"malformed": sum(row["family"] == name for row in rejected)}


def test_a_near_duplicate_of_a_seed_or_of_a_kept_task_is_rejected_with_its_nearest(
    grown: Callable[..., list[Family]],
) -> None:
    seed = load_seeds(Path("data/seeds"), "bgp_knowledge")[1]
    fresh = "Sketch how quokkas would peer over a submarine cable"
    texts = [seed.instruction, fresh, fresh.upper(), f"{fresh} tonight"]
    blocks = [f"1. Instruction: {text}\n1. Output:\nanswer {number}" for number, text in enumerate(texts)]
    with OpenAIServer(lambda asked: Answer("\n###\n".join(blocks))) as server:
        [family] = grown(server, families=["bgp_knowledge"], max_requests=1)
    [kept] = family.kept
    assert kept.instruction == fresh
    assert [(row["reason"], row["nearest"]) for row in family.rejected] == [
        ("near_duplicate", seed.id),
        ("near_duplicate", kept.id),
        ("near_duplicate", kept.id),
    ]
    assert [row["nearest_score"] for row in family.rejected] == [1.0, 1.0, pytest.approx(18 / 19, abs=1e-4)]


def test_a_higher_number_keeps_the_earlier_rows_and_asks_only_for_more(grown: Callable[..., list[Family]]) -> None:
    with OpenAIServer(tasks_for) as server:
        few = grown(server, num_instructions_to_generate=5)
        asked_for_few = len(server.requests)
        more = grown(server, num_instructions_to_generate=17)
    for before, after in zip(few, more, strict=True):
        assert (len(before.kept), len(after.kept)) == (5, 17)
        assert after.kept[:5] == before.kept
        assert after.responses[: len(before.responses)] == before.responses
    assert sum(len(family.responses) for family in few) == asked_for_few
    assert sum(len(family.responses) for family in more) == len(server.requests) > asked_for_few


def test_an_edited_seed_asks_again_only_for_the_slots_that_drew_it(grown: Callable[..., list[Family]]) -> None:
    path = Path("data/seeds/bgp_knowledge.jsonl")
    changes: dict[str, Any] = {
        "families": ["bgp_knowledge"],
        "requests_per_round": 12,
        "max_requests": 12,
        "num_instructions_to_generate": 100,
    }
    with OpenAIServer(tasks_for) as server:
        grown(server, **changes)
        first = server.prompts.copy()
        drawn = {seed.id: sum(seed.output in text for text in first) for seed in load_seeds(path.parent, path.stem)}
        seed_id = next(name for name, count in drawn.items() if 0 < count < 12)
        lines = path.read_text().splitlines(keepends=True)
        place = next(number for number, line in enumerate(lines) if json.loads(line)["id"] == seed_id)
        row = json.loads(lines[place])
        row["output"] = "Z" + row["output"][1:]  # of the same length: the budget lets the same examples in
        lines[place] = json.dumps(row) + "\n"
        path.write_text("".join(lines))
        grown(server, **changes)
    assert len(first) == 12
    assert len(server.prompts[12:]) == drawn[seed_id]
    assert all(row["output"] in text for text in server.prompts[12:])


def test_a_useless_teacher_is_asked_max_requests_times_and_no_more(grown: Callable[..., list[Family]]) -> None:
    with OpenAIServer(lambda asked: Answer("I can't help with that.")) as server:
        families = grown(server, max_requests=5, requests_per_round=2)
    assert [(len(family.kept), len(family.responses)) for family in families] == [(0, 5), (0, 5)]
    assert len(server.requests) == 10


def test_a_number_of_zero_asks_nothing(grown: Callable[..., list[Family]]) -> None:
    with OpenAIServer(tasks_for) as server:
        grown(server, num_instructions_to_generate=0)
    assert server.requests == []
    assert json.loads(generate.METRICS.read_text())["kept"] == 0
