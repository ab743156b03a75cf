"""Configurations of routers and logs: statements keep their lines together, and nothing but separators is left out."""

import re
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.documents.cutting import cut_documents
from netllama.documents.document import TextBlock
from netllama.documents.listing_reader import read_listing
from netllama.documents.open_statements import ListingBlock
from netllama.documents.outline import build_document
from netllama.documents.text_layout import find_indent

IOS = """\
!
hostname edge-fra-01
service timestamps log
!
interface GigabitEthernet0/1
 ip address 192.0.2.1 255.255.255.0
!
router bgp 64500
 neighbor 198.51.100.1 remote-as 64501
 !
 address-family ipv4
  neighbor 198.51.100.1 maximum-prefix 120
 exit-address-family
!
ip prefix-list OURS seq 5 permit 192.0.2.0/24
end
"""
BIRD = """\
router id 192.0.2.1;

protocol device {
}

protocol bgp upstream {
    local as 64500;

    ipv4 {
        import all;
    };
}
"""
LOG = """\
00:00:01 r1 bgpd: 198.51.100.1 Up
00:05:01 r1 bgpd: 198.51.100.1 Down
Traceback:
  File "hook.py", line 3
00:06:01 r1 bgpd: 198.51.100.1 Up
"""


def test_a_configuration_with_indents() -> None:
    outline = read_listing(IOS)
    assert outline.title == "edge-fra-01"
    assert outline.items == [
        TextBlock("code", "hostname edge-fra-01\nservice timestamps log"),
        ListingBlock("code", " ip address 192.0.2.1 255.255.255.0", "interface GigabitEthernet0/1"),
        ListingBlock(
            "code",
            " neighbor 198.51.100.1 remote-as 64501\n"
            " address-family ipv4\n"
            "  neighbor 198.51.100.1 maximum-prefix 120\n"
            " exit-address-family",
            "router bgp 64500",
        ),
        TextBlock("code", "ip prefix-list OURS seq 5 permit 192.0.2.0/24\nend"),
    ]


def test_a_configuration_with_brackets() -> None:
    outline = read_listing(BIRD)
    assert outline.title == ""
    assert outline.items == [
        TextBlock("code", "router id 192.0.2.1;\nprotocol device {\n}"),
        ListingBlock(
            "code",
            "    local as 64500;\n    ipv4 {\n        import all;\n    };",
            "protocol bgp upstream {",
            "}",
        ),
    ]
    assert read_listing("system {\n    host-name mx1;\n}\n").title == "mx1"


def test_a_log() -> None:
    assert read_listing(LOG).items == [
        TextBlock("code", "00:00:01 r1 bgpd: 198.51.100.1 Up\n00:05:01 r1 bgpd: 198.51.100.1 Down"),
        ListingBlock("code", '  File "hook.py", line 3', "Traceback:"),
        TextBlock("code", "00:06:01 r1 bgpd: 198.51.100.1 Up"),
    ]


def test_each_chunk_of_a_long_statement_begins_with_it() -> None:
    neighbours = [f" neighbor 198.51.100.{number} remote-as {64500 + number}" for number in range(40)]
    text = "\n".join(["hostname r1", "router bgp 64500", *neighbours, "line vty 0 4", " login"])
    document = build_document("mine/r1.cfg", read_listing(text))
    chunks = list(cut_documents([document], 40, lambda texts: [len(text.split()) for text in texts]))
    assert all(chunk.headings == ["r1"] for chunk in chunks)
    holding = [chunk.text for chunk in chunks if "neighbor" in chunk.text]
    assert len(holding) > 3
    for text in holding:
        assert text.split(" neighbor")[0].endswith("router bgp 64500\n")
    assert [line for text in holding for line in text.splitlines() if "neighbor" in line] == neighbours


# --- statements in statements


def make_nested(shape: st.DataObject, indent: int, brackets: bool) -> tuple[str, dict[str, list[str]]]:
    """A configuration, and for each statement without any in it the lines above it that it stands in."""
    lines: list[str] = []
    paths: dict[str, list[str]] = {}

    def add(above: list[str], depth: int) -> None:
        for _ in range(shape.draw(st.integers(1, 4))):
            line = f"{' ' * (indent * depth)}s{len(lines)} of lamps"
            lines.append(line)
            if depth < 5 and shape.draw(st.booleans()):
                lines[-1] += " {" if brackets else ""
                add([*above, lines[-1]], depth + 1)
                lines.extend([" " * (indent * depth) + "}"] if brackets else [])
            else:
                paths[line] = above

    add([], 0)
    return "\n".join(lines), paths


def iter_nested(rows: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each line but closing ones, with the lines that it stands in."""
    above: list[str] = []
    for row in rows:
        if row.strip() == "}":
            while not above.pop().endswith("{"):
                pass
            continue
        above = [line for line in above if line.endswith("{") or find_indent(line) < find_indent(row)]
        yield row, list(above)
        above.append(row)


@settings(max_examples=60)
@given(st.data(), st.sampled_from([(2, True), (1, False), (0, True)]), st.integers(34, 120))
def test_each_chunk_says_where_its_statements_stand(
    shape: st.DataObject, form: tuple[int, bool], max_tokens: int
) -> None:
    text, paths = make_nested(shape, *form)
    document = build_document("mine/r1.conf", read_listing(text))
    chunks = list(cut_documents([document], max_tokens, lambda texts: [len(text.split()) for text in texts]))
    fits = all(len(" ".join(path).split()) + len(path) < max_tokens // 2 for path in paths.values())
    found = []
    for chunk in chunks:
        assert chunk.tokens <= max_tokens
        assert not fits or chunk.text.count("{") == chunk.text.count("}")
        rows = chunk.text.split("\n")
        found += [row for row in rows if row in paths]
        assert not fits or all(above == paths[row] for row, above in iter_nested(rows) if row in paths)
    assert found == list(paths)


def test_a_chunk_that_begins_in_deep_statements_repeats_them_all() -> None:
    neighbours = "\n".join(f"      neighbor n{n} {{\n        peer-as {n};\n      }}" for n in range(12))
    text = f"protocols {{\n  bgp {{\n    group peers {{\n{neighbours}\n    }}\n  }}\n  ospf {{\n    area 0;\n  }}\n}}"
    document = build_document("mine/r1.conf", read_listing(text))
    chunks = list(cut_documents([document], 40, lambda texts: [len(text.split()) for text in texts]))
    assert len(chunks) > 2
    for chunk in chunks:
        rows = chunk.text.split("\n")
        assert rows[:2] == ["protocols {", "  bgp {"]
        assert rows[-1] == "}"
    assert chunks[1].text.startswith("protocols {\n  bgp {\n    group peers {\n      neighbor n")
    assert chunks[1].text.endswith("\n      }\n    }\n  }\n}")


DEEP = [
    "routing-instances {",
    "CUSTOMER-ACME-LOGISTICS-VPN-0042 {",
    "protocols {",
    "bgp {",
    "group EBGP-CE-PEERS-IPV6-FRANKFURT {",
    "neighbor 2001:db8:4f:1a2b::1 {",
    "family inet6 {",
    "unicast {",
]
LIMITS = ["prefix-limit {", "maximum 1200", "teardown 90 {", "idle-timeout 30", "}", "}", "rib-group SHARED", "loops 2"]


def test_brackets_are_balanced_where_the_statements_take_too_much() -> None:
    rows: list[str] = []
    depth = 0
    for row in [*DEEP, *LIMITS * 8, *"}" * len(DEEP)]:
        depth -= row == "}"
        rows.append("    " * depth + row)
        depth += row.endswith("{")
    document = build_document("mine/r1.conf", read_listing("\n".join(rows)))
    chunks = list(
        cut_documents([document], 120, lambda texts: [len(re.findall(r"\w+|[^\w ]|\n", text)) for text in texts])
    )
    assert len(chunks) > 2
    assert any("\n    ... { {" in chunk.text for chunk in chunks)
    for chunk in chunks:
        assert chunk.tokens <= 120
        assert chunk.text.count("{") == chunk.text.count("}")


def test_brackets_nest_without_indents_and_one_that_is_never_closed_does_not() -> None:
    assert read_listing("http {\nserver {\nlisten 80;\n}\n}\nend\n").items == [
        ListingBlock("code", "server {\nlisten 80;\n}", "http {", "}"),
        TextBlock("code", "end"),
    ]
    text = "banner motd {\nhostname r1\ninterface e0\n shutdown\nend"
    assert read_listing(text).items == [
        TextBlock("code", "banner motd {\nhostname r1"),
        ListingBlock("code", " shutdown", "interface e0"),
        TextBlock("code", "end"),
    ]


def test_statements_that_stand_too_deep_are_cut_below_the_outermost() -> None:
    steps = "\n".join(" " * depth + f"s{depth}" for depth in range(1, 2000))
    document = build_document("mine/r1.conf", read_listing(f"top\n{steps}"))
    chunks = list(cut_documents([document], 40, lambda texts: [len(text.split()) for text in texts]))
    assert all(chunk.tokens <= 40 and chunk.text.startswith("top\n") for chunk in chunks)
    words = [word for chunk in chunks for word in chunk.text.split()]
    assert list(dict.fromkeys(words)) == f"top {steps}".split()


@given(st.lists(st.sampled_from(["a b", " c", "\td {", "e {", "}", "};", "} else {", "!", " #", "", "! why", "]"])))
def test_no_line_but_separators_is_lost_or_moved(lines: list[str]) -> None:
    outline = read_listing("\n".join(lines))
    blocks = [item for item in outline.items if isinstance(item, TextBlock)]
    assert len(blocks) == len(outline.items)
    assert all(block.text.strip() for block in blocks)
    kept = [line.rstrip() for line in lines if not re.fullmatch(r"\s*[!#]*\s*", line)]
    assert "\n".join(block.whole for block in blocks) == "\n".join(kept)
