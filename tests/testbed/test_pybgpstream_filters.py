"""The filter language and add_filter(): what each filter lets pass, and how the library complains about bad filters."""

import ipaddress
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.stream_replay import START, import_shim, list_misuses, read_events, write_config, write_small_archive

pybgpstream = import_shim("pybgpstream")
filters = import_shim("_pybgpstream.filters")
language = import_shim("_pybgpstream.filter_language")
regex = import_shim("_pybgpstream.as_path_regex")

ALL = 10  # elements of the small archive: 2 R, 4 A, 3 W, 1 S


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = write_config(tmp_path, write_small_archive(tmp_path / "archive"))
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(config))
    return tmp_path


def open_stream(text: str | None = None, *added: tuple[str, str]) -> Any:
    made = pybgpstream.BGPStream(from_time=START, until_time=START + 3600, filter=text)
    for kind, value in added:
        made.add_filter(kind, value)
    return made


def list_shown(made: Any) -> list[str]:
    return [f"{elem.type} {elem.fields.get('prefix', elem.peer_asn)}" for elem in made]


R4, R6 = "R 203.0.113.0/24", "R 2001:db8:100::/40"
LOW, HIGH, GONE = "A 203.0.113.0/25", "A 203.0.113.128/25", "W 203.0.113.0/25"
A6, W6 = "A 2001:db8:100::/48", "W 2001:db8:200::/48"
FAR, FAR_GONE, DOWN = "A 198.51.100.0/24", "W 198.51.100.0/24", "S 3333"

MATCHES = [
    ("project ris", {R4, R6, LOW, HIGH, W6, A6, DOWN, GONE}),
    ("proj routeviews ris and collector route-views.sg", {FAR, FAR_GONE}),
    ("coll rrc00 and type ribs", {R4, R6}),
    ("type updates and elemtype ribs", set()),
    ("collector RRC00", set()),
    ("router anything and type ribs", set()),
    ("router rrc00 and type ribs", {R4, R6}),
    ("rout sg amsix", {FAR, FAR_GONE}),
    ("resourcetype batch and type ribs", {R4, R6}),
    ("restype stream", set()),
    ("elemtype announcements", {LOW, HIGH, A6, FAR}),
    ("elemtype withdrawals peerstates", {GONE, W6, FAR_GONE, DOWN}),
    ("peer 65551", {R6, A6, W6}),
    ("peer 65551 18106", {R6, A6, W6, FAR, FAR_GONE}),
    ("peer 3333 and elemtype peerstates", {DOWN}),
    ("origin 64496", {R4}),
    ("orig 64500", {R6, A6}),
    ("origin 64501", set()),
    ("prefix 203.0.113.0/24", {R4, LOW, HIGH, GONE}),
    ("prefix more 203.0.113.0/25", {LOW, GONE}),
    ("pref exact 203.0.113.0/24", {R4}),
    ("prefix exact 203.0.113.77/24", {R4}),
    ("prefix less 203.0.113.0/25", {R4, LOW, GONE}),
    ("prefix less 203.0.113.7/32", {R4, LOW, GONE}),
    ("prefix any 203.0.113.128/25", {R4, HIGH}),
    ("prefix any 203.0.113.128/25 exact 198.51.100.0/24", {R4, HIGH, FAR, FAR_GONE}),
    ("prefix exact 203.0.113.128/25 198.51.100.0/24", {HIGH, FAR, FAR_GONE}),
    ("prefix more 2001:db8::/32", {R6, A6, W6}),
    ("prefix more 0.0.0.0/0", {R4, LOW, HIGH, GONE, FAR, FAR_GONE}),
    ("ipversion 6", {R6, A6, W6}),
    ("ipv 4 and elemtype ribs", {R4}),
    ("ipversion 4 6", {R6, A6, W6}),
    ("community 65000:666", {LOW, HIGH}),
    ("community 65000:*", {LOW, HIGH}),
    ("comm *:100", {R4}),
    ("community *:*", {R4, LOW, HIGH}),
    ("community 1:1 1299:100", {R4}),
    ("community 666:65000", set()),
    ("aspath _1299_", {R4}),
    ("aspath ^3333_", {R4, LOW, HIGH}),
    ("path 64500$", {R6, A6}),
    ('path "_64500[_}]"', set()),  # the boundary is written out in brackets, too
    ("path _64500_", {R6, A6, LOW, HIGH}),
    ("path !^3333 and path !4637", {R6, A6}),
    ('aspath "^3333_{64500,64501}$"', {LOW, HIGH}),
    ("aspath 3333 and aspath 64496", {R4}),
    ('  peer   "3333"   and prefix   exact 203.0.113.0/24', {R4}),
]


@pytest.mark.parametrize(("text", "expected"), MATCHES, ids=[text for text, _ in MATCHES])
def test_each_term_lets_pass_what_it_names(replay: Path, text: str, expected: set[str]) -> None:
    assert set(list_shown(open_stream(text))) == expected


ADDED = [
    ("project", "ris", 8),
    ("collector", "route-views.sg", 2),
    ("record-type", "ribs", 2),
    ("peer-asn", "65551", 3),
    ("not-peer-asn", "65551", 7),
    ("prefix", "203.0.113.0/24", 4),
    ("prefix-more", "203.0.113.0/25", 2),
    ("prefix-less", "203.0.113.0/25", 3),
    ("prefix-exact", "203.0.113.0/24", 1),
    ("prefix-any", "203.0.113.128/25", 2),
    ("community", "*:666", 2),
    ("aspath", "_4637$", 1),
    ("ipversion", "6", 3),
    ("elemtype", "peerstates", 1),
]


@pytest.mark.parametrize(("kind", "value", "count"), ADDED, ids=[kind for kind, _, _ in ADDED])
def test_add_filter_knows_each_type(replay: Path, kind: str, value: str, count: int) -> None:
    assert len(list_shown(open_stream(None, (kind, value)))) == count


def test_values_of_one_type_are_alternatives_and_types_are_conditions(replay: Path) -> None:
    found = list_shown(
        open_stream("elemtype announcements", ("peer-asn", "3333"), ("peer-asn", "18106"), ("ipversion", "4"))
    )
    assert set(found) == {LOW, HIGH, FAR}


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("peer 3333 65551 18106", "RAWS"),
        ("prefix any 0.0.0.0/0 any ::/0", "RAW"),
        ("ipversion 4", "RAW"),
        ("path .", "RA"),
        ("community *:*", "RA"),
        ("origin 64496 64500 4637", "RA"),
    ],
)
def test_which_elements_a_filter_looks_at(replay: Path, text: str, kinds: str) -> None:
    assert {line[0] for line in list_shown(open_stream(text))} == set(kinds)


MALFORMED = [
    ("", "Expected term, found end of string"),
    ("ipv4", "Expected a valid term, found 'ipv4'"),
    ("ipversion=4", "Expected a valid term, found 'ipversion=4'"),
    ("(prefix more 1.0.0.0/8)", "Expected a valid term, found '(prefix'"),
    ("AND peer 1", "Expected a valid term, found 'AND'"),
    ("project", "Expected argument, found end of string"),
    ("project ris and", "Expected term, found end of string"),
    ("project ris and project routeviews", "Term 'project' used more than once"),
    ("coll rrc00 and collector rrc01", "Term 'collector' used more than once"),
    ("rout x and router y", "Term 'router' used more than once"),
    ("type ribs or type updates", "'or' is not yet implemented"),
    ("resourcetype", "Expected argument, found end of string"),
    ("elemtype rib", "unknown element type 'rib'"),
    ("peer AS3333", "invalid peer asn 'AS3333'"),
    ("peer 4294967296", "invalid peer asn '4294967296'"),
    ("peer -1", "invalid peer asn '-1'"),
    ("peer 1,2", "invalid peer asn '1,2'"),
    ("peer 3333 AND type ribs", "invalid peer asn 'AND'"),
    ("origin 1.5", "invalid origin asn '1.5'"),
    ("prefix more", "Expected argument, found end of string"),
    ("prefix 10.0.0.0", "invalid prefix '10.0.0.0'"),
    ("prefix exact 10.0/8", "invalid prefix '10.0/8'"),
    ("prefix 10.0.0.0/33", "invalid prefix '10.0.0.0/33'"),
    ("prefix 2001:db8::/129", "invalid prefix '2001:db8::/129'"),
    ("prefix longer 10.0.0.0/8", "invalid prefix 'longer'"),
    ("ipversion v6", "Unknown IP version 'v6'"),
    ("community 65000", "invalid community '65000'"),
    ("community 65536:1", "invalid community '65536:1'"),
    ("community 1:2:3", "invalid community '1:2:3'"),
    ("aspath 1 2", "term 'aspath' does not allow multiple values"),
    ("aspath (1", "regex error: Unmatched ( or \\("),
    ("aspath [1", "regex error: Unmatched [, [^, [:, [., or [="),
    ("aspath *1", "regex error: Invalid preceding regular expression"),
    ("aspath 1\\", "regex error: Trailing backslash"),
    ("aspath (1)\\2", "bad backreference in regex"),
    ("aspath " + "1" * 300, "regex too long"),
    ('aspath "1 2', "Missing closing quote: '\"1 2'"),
    ('aspath "1"2', 'Found garbage after quoted "1"'),
    ("extcommunity 1:2", "Implementation of filter type Extended Community is still to come!"),
]


@pytest.mark.parametrize(("text", "complaint"), MALFORMED, ids=[text[:40] for text, _ in MALFORMED])
def test_a_malformed_filter_is_a_value_error_and_a_line_on_stderr(
    replay: Path, capfd: Any, text: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match="Invalid filter string") as refused:
        open_stream(text)
    assert str(refused.value) == f"Invalid filter string: {text}"
    assert f"ERROR: {complaint}\n" in capfd.readouterr().err
    (event,) = read_events(replay, "misuse")
    assert event["what"] == "filter-string"
    assert complaint in event["detail"]


def test_filters_before_an_error_stay(replay: Path) -> None:
    made = open_stream()
    with pytest.raises(ValueError, match="Invalid filter string: peer 18106 and wrong"):
        made.parse_filter_string("peer 18106 and wrong")
    assert set(list_shown(made)) == {FAR, FAR_GONE}


@pytest.mark.parametrize(
    ("kind", "value", "complaint"),
    [
        ("peer-asn", "AS1", "invalid peer asn 'AS1'"),
        ("prefix", "10.0.0.1", "invalid prefix '10.0.0.1'"),
        ("community", "x", "invalid community 'x'"),
        ("aspath", "(", "regex error: Unmatched ( or \\("),
        ("ipversion", "ipv4", "Unknown IP version 'ipv4'"),
        ("elemtype", "A", "unknown element type 'A'"),
    ],
)
def test_a_value_that_add_filter_refuses_is_ignored_with_a_word(
    replay: Path, capfd: Any, kind: str, value: str, complaint: str
) -> None:
    assert len(list_shown(open_stream(None, (kind, value)))) == ALL
    assert f"ERROR: {complaint}\n" in capfd.readouterr().err
    assert list_misuses(replay) == ["filter-value"]


@pytest.mark.parametrize("kind", ["origin", "peer", "as-path", "asn", "Prefix", "router", "time"])
def test_a_type_that_add_filter_does_not_know_is_a_value_error(replay: Path, kind: str) -> None:
    with pytest.raises(ValueError, match=f"^Invalid filter type: {kind}$"):
        open_stream(None, (kind, "1"))
    assert list_misuses(replay) == ["filter-type"]


def _draw_networks(rng: random.Random, count: int) -> list[Any]:
    """Networks of both families; many of them contain each other."""
    made = []
    for _ in range(count):
        if rng.random() < 0.5:
            base = ipaddress.ip_address(f"10.{rng.choice((0, 1))}.{rng.choice((0, 128))}.{rng.choice((0, 64, 192))}")
            length = rng.randint(0, 32)
        else:
            base = ipaddress.ip_address(f"2001:db8:{rng.choice('018')}000:{rng.choice('048')}::{rng.choice('01')}")
            length = rng.randint(0, 128)
        made.append(ipaddress.ip_network(f"{base}/{length}", strict=False))
    return made


def _is_related(mode: str, asked: Any, found: Any) -> bool:
    if asked.version != found.version:
        return False
    more, less = found.subnet_of(asked), asked.subnet_of(found)
    return {"exact": found == asked, "more": more, "less": less, "any": more or less}[mode]


def test_prefix_filters_agree_with_the_ipaddress_module() -> None:
    rng = random.Random("prefixes")
    hits = 0
    for _ in range(150):
        asked = {
            network: rng.choice(("exact", "more", "less", "any")) for network in _draw_networks(rng, rng.randint(1, 4))
        }
        wanted = filters.StreamFilters()
        for network, mode in asked.items():
            assert wanted.add(f"prefix-{mode}", str(network)) == ""
        compiled = filters.ElementFilter(wanted)
        for network in _draw_networks(rng, 40):
            expected = any(_is_related(mode, other, network) for other, mode in asked.items())
            address = int(network.network_address)
            assert compiled.wants_prefix(network.version, address, network.prefixlen) is expected, (asked, network)
            hits += expected
    assert 1000 < hits < 5000


def _has_hops(pattern: list[str], anchored: tuple[bool, bool], path: list[str]) -> bool:
    """Whether the hops of a pattern (`.` matches any) stand in a row in the path, and at its ends where anchored."""
    for start in range(len(path) - len(pattern) + 1):
        at_ends = (start == 0, start + len(pattern) == len(path))
        if any(needed and not there for needed, there in zip(anchored, at_ends, strict=True)):
            continue
        if all(hop in (".", path[start + index]) for index, hop in enumerate(pattern)):
            return True
    return False


def test_as_path_expressions_agree_with_a_search_over_the_hops() -> None:
    rng = random.Random("paths")
    matched = 0
    for _ in range(1500):
        path = [rng.choice(("1", "11", "2", "21", "3")) for _ in range(rng.randint(1, 5))]
        pattern = [rng.choice(("1", "11", "2", "3", ".")) for _ in range(rng.randint(1, 3))]
        anchored = (rng.random() < 0.4, rng.random() < 0.4)
        hops = "_".join("[0-9]+" if hop == "." else hop for hop in pattern)
        text = f"{'^' if anchored[0] else '_'}{hops}{'$' if anchored[1] else '_'}"
        expected = _has_hops(pattern, anchored, path)
        expression, negated = regex.compile_expression(text)
        assert (expression.search("_".join(path)) is not None, negated) == (expected, False), (text, path)
        assert regex.compile_expression("!" + text)[1] is True
        matched += expected
    assert 200 < matched < 1300


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("_1_", "1", True),
        ("_1_", "11_21", False),
        ("^1_2$", "1_2", True),
        ("1_2", "1_{2,3}", False),
        ("1__2", "1_{2,3}", True),
        ("_2_", "1_{2,3}", True),
        ("{2,3}", "1_{2,3}", True),
        ("(1|2)_3", "2_3", True),
        ("1{2}", "11", False),
        ("[^1]2", "3_2", True),
        ("^(1_)+2$", "1_1_1_2", True),
        ("_([0-9]+)_\\1_", "5_7_7_9", True),
        ("_([0-9]+)_\\1_", "5_7_8_9", False),
        ("\\d+", "123", False),
        ("[[:digit:]]+_9$", "5_9", True),
        ("^[0-9]+$", "5", True),
        ("1)", "1)", True),
        ("", "", True),
        (".", "", False),
    ],
)
def test_cisco_expressions_mean_what_the_library_says(text: str, path: str, expected: bool) -> None:
    assert (regex.compile_expression(text)[0].search(path) is not None) is expected


@pytest.mark.parametrize(("text", "value"), [("0", 0), (" +7", 7), ("", 0), ("4294967295", 4294967295), ("-0", 0)])
def test_numbers_are_read_as_by_strtoul(text: str, value: int) -> None:
    assert filters.parse_unsigned(text, 0xFFFFFFFF) == value


@pytest.mark.parametrize("text", ["x", "1x", "-1", "4294967296", "1 ", " ", "٣"])
def test_numbers_that_strtoul_leaves_a_rest_of_are_refused(text: str) -> None:
    assert filters.parse_unsigned(text, 0xFFFFFFFF) is None


def test_a_filter_string_is_parsed_into_lists_in_its_order() -> None:
    wanted = filters.StreamFilters()
    language.parse_filter_string('proj ris "and" and type updates ribs and peer 2 1', wanted)
    assert (wanted.projects, wanted.record_types, wanted.peers) == (["ris", "and"], ["updates", "ribs"], [2, 1])
