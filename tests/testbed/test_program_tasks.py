"""Tasks by program: their answers against independent ways to find them, how they are drawn, how they are worded."""

import ast
import ipaddress
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netllama.code_tasks.code_extraction import extract_code
from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.params import read_params
from netllama.core.records import ProgramInstruction, load_questions
from testbed.internet.bgp import PathAttributes, encode_update, make_as_path
from testbed.internet.mrt_writer import BgpSession, encode_message, encode_peer_index_table, encode_rib
from testbed.reports.network_names import find_side
from testbed.reports.report_records import Side
from testbed.tasks.broken_scripts import SCRIPTS
from testbed.tasks.repair_tasks import break_script, fill_script
from testbed.tasks.task_records import KINDS, LEVELS, ProgramTask, TaskKind
from testbed.tasks.task_set import DRAWS, HELD_OUT, TEST_SEED, make_tasks
from tests.support.clones import ROOT
from tests.support.stream_replay import START, Row, import_shim, write_config, write_dump, write_index

SIDES: tuple[Side, ...] = ("train", "test")
NUMBER = 180
AS_NUMBER = re.compile(r"(?<![\d.:/])4[2-4]\d{4}(?![\d.:/])")
ADDRESS = re.compile(r"(?<![\d.])(\d{1,3})(?:\.\d{1,3}){3}(?![\d.])")
COLLECTORS = {
    "rrc00": ("ris", "gz"),
    "rrc04": ("ris", "gz"),
    "route-views.sg": ("routeviews", "bz2"),
    "route-views2": ("routeviews", "bz2"),
}


@cache
def draw(side: Side) -> list[ProgramTask]:
    return make_tasks(side, TEST_SEED if side == "test" else 42, NUMBER)


def list_of(kind: TaskKind) -> list[ProgramTask]:
    return [task for side in SIDES for task in draw(side) if task.kind == kind]


def describe(task: ProgramTask) -> str:
    return f"{task.id}: {task.instruction}\n{task.draft.input}"


def test_a_longer_draw_begins_with_the_shorter_one_and_no_two_tasks_are_the_same() -> None:
    tasks = draw("train")
    assert make_tasks("train", 42, 20) == tasks[:20]
    assert make_tasks("train", 43, 6) != tasks[:6]
    assert len({(task.instruction, task.draft.input) for task in tasks}) == NUMBER
    assert Counter((task.kind, task.difficulty) for task in tasks) == {
        (kind, level): NUMBER // 18 for kind in KINDS for level in LEVELS
    }


def test_training_and_evaluation_share_no_system_no_address_and_no_number_of_a_script() -> None:
    systems, octets = defaultdict(set), defaultdict(set)
    for side in SIDES:
        for task in draw(side):
            text = f"{task.instruction}\n{task.draft.input}\n{task.draft.answer}"
            if task.kind not in ("repair", "percentile"):
                if task.kind != "retransmissions":  # whose sequence numbers may look like AS numbers
                    systems[side] |= set(map(int, AS_NUMBER.findall(text)))
                octets[side] |= set(ADDRESS.findall(text))
    for side in SIDES:
        assert len(systems[side]) > 50
        assert {find_side(asn) for asn in systems[side]} == {side}
    assert octets["train"]
    assert octets["test"]
    assert not octets["train"] & octets["test"]
    inputs = [{task.draft.input for task in draw(side) if task.kind in ("repair", "percentile")} for side in SIDES]
    assert not inputs[0] & inputs[1]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_twelve_wordings_to_train_on_and_others_for_evaluation_alone(kind: TaskKind) -> None:
    wordings = DRAWS[kind][1]
    assert len(set(wordings)) == len(wordings) >= 12 + HELD_OUT
    heads = [wording.split("{")[0] for wording in wordings[-HELD_OUT:] if not wording.startswith("{")]
    assert heads
    assert not any(task.instruction.startswith(head) for head in heads for task in draw("train") if task.kind == kind)


def test_no_task_gives_a_question_away_by_the_rule_for_hand_written_tasks() -> None:
    params = read_params(ROOT / "params.yaml")
    strict = Evaluation(load_questions(ROOT / "data" / "questions"), params.contamination, strict=True)
    rows = [
        ProgramInstruction(
            id=task.id,
            family="testbed",
            instruction=task.instruction,
            input=task.draft.input,
            output=task.draft.answer,
            difficulty=task.difficulty,
        )
        for side in SIDES
        for task in draw(side)
    ]
    found = {row.id: strict.find_given_away(row) for row in rows}
    assert {name: str(given_away) for name, given_away in found.items() if given_away} == {}


def decode_prefixes(octets: bytes, bits: int) -> list[str]:
    """Prefixes as RFC 4271, 4.3 writes them."""
    found = []
    while octets:
        length, size = octets[0], -(-octets[0] // 8)
        packed = octets[1 : 1 + size].ljust(bits // 8, b"\0")
        found.append(f"{ipaddress.ip_address(packed)}/{length}")
        octets = octets[1 + size :]
    return found


def decode_update(message: bytes) -> dict[str, str]:
    """An UPDATE in a plain loop over its octets, written from RFC 4271, 4760, 1997 and 8092 alone."""
    assert message[:16] == b"\xff" * 16
    assert int.from_bytes(message[16:18], "big") == len(message)
    assert message[18] == 2
    number = lambda octets: int.from_bytes(octets, "big")  # noqa: E731
    end = 21 + number(message[19:21])
    withdrawn = decode_prefixes(message[21:end], 32)
    stop = end + 2 + number(message[end : end + 2])
    announced, at = decode_prefixes(message[stop:], 32), end + 2
    found: dict[str, str] = {}
    while at < stop:
        wide = bool(message[at] & 0x10)
        code, size = message[at + 1], number(message[at + 2 : at + 4] if wide else message[at + 2 : at + 3])
        value = message[at + 3 + wide : at + 3 + wide + size]
        at += 3 + wide + size
        if code == 2:
            path, rest = [], value
            while rest:
                count = rest[1]
                assert rest[0] == 2
                path += [number(rest[2 + 4 * place : 6 + 4 * place]) for place in range(count)]
                rest = rest[2 + 4 * count :]
            found |= {"path": " ".join(map(str, path)), "origin": str(path[-1])}
        elif code == 3:
            found["next_hop"] = ".".join(map(str, value))
        elif code == 4:
            found["med"] = str(number(value))
        elif code == 7:
            found["aggregator"] = str(number(value[:4]))
        elif code == 8:
            pairs = [(number(value[n : n + 2]), number(value[n + 2 : n + 4])) for n in range(0, size, 4)]
            found["communities"] = ", ".join(f"{a}:{b}" for a, b in pairs)
        elif code == 14:
            hop = value[3]
            found["next_hop"] = str(ipaddress.ip_address(value[4 : 4 + hop]))
            announced += decode_prefixes(value[5 + hop :], 128)
        elif code == 15:
            withdrawn += decode_prefixes(value[3:], 128)
        elif code == 32:
            triples = [[number(value[n + k : n + k + 4]) for k in (0, 4, 8)] for n in range(0, size, 12)]
            found["large"] = ", ".join(":".join(map(str, triple)) for triple in triples)
    return found | {"prefix": ", ".join(announced), "prefixes": ", ".join(announced), "withdrawn": ", ".join(withdrawn)}


ASKED = {
    "the announced prefix": "prefix",
    "all announced prefixes": "prefixes",
    "the withdrawn prefixes": "withdrawn",
    "the AS path": "path",
    "the AS that originates the route": "origin",
    "the next hop": "next_hop",
    "the MULTI_EXIT_DISC": "med",
    "the standard communities": "communities",
    "the large communities": "large",
    "the AS number in AGGREGATOR": "aggregator",
}


def test_a_plain_loop_over_the_octets_decodes_what_was_asked_for() -> None:
    for task in list_of("decode"):
        name = ASKED[task.draft.fields["asked"]]
        assert task.draft.fields["asked"] in task.instruction
        assert decode_update(bytes.fromhex(task.draft.input))[name] == task.draft.answer, describe(task)
    assert {ASKED[task.draft.fields["asked"]] for task in list_of("decode")} == set(ASKED.values())


def test_the_origin_is_the_end_of_the_path_of_the_most_specific_prefix() -> None:
    for task in list_of("origin"):
        rows = [line.split("|") for line in task.draft.input.splitlines()[1:]]
        wanted = task.draft.fields["target"].removeprefix("the route that ").removesuffix(" uses")
        network = ipaddress.ip_network(wanted)
        holders = [
            row
            for row in rows
            if (own := ipaddress.ip_network(row[4])).version == network.version
            and int(own.network_address)
            == int(network.network_address) >> (b := own.max_prefixlen - own.prefixlen) << b
        ]
        best = max(holders, key=lambda row: int(row[4].split("/")[1]))
        assert best[5].split()[-1] == task.draft.answer, describe(task)
        assert (task.difficulty == "hard") == ("route that" in task.draft.fields["target"])


def test_numpy_computes_the_same_percentiles() -> None:
    for task in list_of("percentile"):
        values = np.array(list(map(float, task.draft.input.split())))
        if task.difficulty == "hard":
            values = np.abs(np.diff(values))
        method = "inverted_cdf" if task.difficulty == "easy" else "linear"
        right = np.percentile(values, int(task.draft.fields["share"]), method=method)
        assert float(task.draft.answer) == pytest.approx(right, abs=1e-9), describe(task)
        assert {"easy": "Nearest rank", "medium": "interpolation", "hard": "Jitter"}[
            task.difficulty
        ] in task.instruction


def find_repeated(listing: str) -> list[tuple[int, int, int]]:
    """(number, start, end) of the lines that carry an octet which an earlier line of the same direction carried."""
    carried: dict[str, set[int]] = defaultdict(set)
    found = []
    for line in listing.splitlines():
        if span := re.search(r"^(\d+) \S+ ([<>]) .*seq (\d+):(\d+)", line):
            number, direction, start, end = int(span[1]), span[2], int(span[3]), int(span[4])
            octets = set(range(start, end))
            if octets & carried[direction]:
                found.append((number, start, end))
            carried[direction] |= octets
    return found


def test_the_retransmissions_are_the_lines_that_carry_an_octet_again() -> None:
    for task in list_of("retransmissions"):
        found = find_repeated(task.draft.input)
        answers = {
            "numbers": ", ".join(str(number) for number, _, _ in found),
            "octets": str(sum(end - start for _, start, end in found)),
            "first": str(found[0][1]),
        }
        asked = task.draft.fields["asked"]
        name = "numbers" if "numbers" in asked else "octets" if "octets of payload" in asked else "first"
        assert answers[name] == task.draft.answer, describe(task)


def test_scapy_finds_the_retransmissions_of_a_connection_like_those_of_the_tasks(tmp_path: Path) -> None:
    from random import Random

    from scapy.layers.inet import IP, TCP

    from testbed.captures.connections import encode_segment
    from testbed.captures.tcp_simulation import simulate_connection
    from testbed.tasks.retransmission_tasks import _draw_plan
    from testbed.tasks.task_networks import open_network

    network = open_network("train", 42, 0)
    for place in range(12):
        rng = Random(f"scapy {place}")
        plan = _draw_plan(network, rng, LEVELS[place % 3])
        segments, facts = simulate_connection(plan, rng)
        seen: set[tuple[int, int]] = set()
        repeated = []
        for segment in segments:
            source, target, octets = encode_segment(plan, segment)
            packet = IP(bytes(IP(src=source, dst=target, proto=6) / octets))
            size = len(packet[TCP].payload)
            if packet.src == plan.client and size:
                if (packet[TCP].seq, size) in seen:
                    repeated.append((segment.time, packet[TCP].seq))
                seen.add((packet[TCP].seq, size))
        assert repeated == [(time, seq) for time, seq, _ in facts.retransmissions]


def write_archive_of(task: ProgramTask, folder: Path) -> list[tuple[str, str, int, str]]:
    """The elements of a filter task as MRT files; returns (type, collector, peer, prefix) of its lines."""
    rows: list[Row] = []
    listed = []
    for line in task.draft.input.splitlines()[1:]:
        number, kind, collector, peer, prefix, path, communities = line.split("|")
        listed.append((kind, collector, int(peer), prefix))
        ipv6 = ":" in prefix
        hop, own = ("2001:db8::1", "2001:db8::fe") if ipv6 else ("192.0.2.1", "192.0.2.254")
        session = BgpSession(int(peer), hop, 12654, own)
        pairs = tuple((int(a), int(b)) for a, b in (each.split(":") for each in communities.split()))
        attributes = PathAttributes(make_as_path(*map(int, path.split())), hop, communities=pairs)
        project, ending = COLLECTORS[collector]
        at = START + 10 * int(number)
        if kind == "R":
            records = [
                encode_peer_index_table(START, "192.0.2.254", [session]),
                encode_rib(START, 0, prefix, [(0, START - 500, attributes)]),
            ]
        elif kind == "A":
            records = [encode_message(at, session, encode_update([prefix], attributes=attributes))]
        else:
            records = [encode_message(at, session, encode_update(withdrawn=[prefix]))]
        name = f"mrt/{collector}/{'bview' if kind == 'R' else 'updates'}.{number}.{ending}"
        write_dump(folder / name, records)
        rows.append((name, project, "ribs" if kind == "R" else "updates", collector, START, 300))
    write_index(folder, rows)
    return listed


def test_the_replay_of_pybgpstream_selects_the_wanted_elements_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pybgpstream: Any = import_shim("pybgpstream")
    for task in list_of("filter"):
        folder = tmp_path / task.id
        folder.mkdir()
        listed = write_archive_of(task, folder)
        monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(write_config(folder, folder)))
        stream = pybgpstream.BGPStream(from_time=START, until_time=START + 290, filter=task.draft.answer)
        found = [(elem.type, elem.collector, elem.peer_asn, elem.fields["prefix"]) for elem in stream]
        wanted = [listed[number - 1] for number in task.draft.selected]
        assert Counter(found) == Counter(wanted), describe(task)
        assert 0 < len(wanted) < len(listed)
        for term in task.draft.fields["terms"].split(" and "):
            assert re.search(rf"\b{term}\b", task.draft.answer)


def test_each_fault_is_in_the_script_and_its_repair_is_the_script_that_ran() -> None:
    by_level = dict.fromkeys(LEVELS, 0)
    for script in SCRIPTS:
        values = {name: str(min(numbers)) for name, (numbers, _) in script.numbers.items()}
        values |= {name: options[0] for name, options in script.words.items()}
        right = fill_script(script.text, values)
        assert "@" not in right + fill_script(script.goal, values)
        ast.parse(right)
        for mutation in script.mutations:
            assert break_script(script, mutation, values) != right
            by_level[mutation.level] += 1
        assert {mutation.level for mutation in script.mutations} == set(LEVELS)
    assert min(by_level.values()) >= 15
    texts = {extract_code(task.draft.answer) for task in list_of("repair")}
    assert all(ast.parse(text) for text in texts)
    assert len(texts) > 30


def test_a_fault_in_a_text_that_does_not_occur_once_is_refused() -> None:
    fault = SCRIPTS[0].mutations[0]._replace(right="counts")
    with pytest.raises(ValueError, match="peer_counts: 'counts' does not occur once"):
        break_script(SCRIPTS[0], fault, {})
