"""Configurations of routers and logs: statements keep their lines together, and nothing but separators is left out."""

import re

from hypothesis import given
from hypothesis import strategies as st

from netllama.documents.cutting import cut_documents
from netllama.documents.document import TextBlock
from netllama.documents.listing_reader import read_listing
from netllama.documents.outline import build_document

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
        TextBlock("code", " ip address 192.0.2.1 255.255.255.0", "interface GigabitEthernet0/1"),
        TextBlock(
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
        TextBlock(
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
        TextBlock("code", '  File "hook.py", line 3', "Traceback:"),
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


@given(st.lists(st.sampled_from(["a b", " c", "\td {", "}", "};", "} else {", "!", " #", "", "! why", "]"])))
def test_no_line_but_separators_is_lost_or_moved(lines: list[str]) -> None:
    outline = read_listing("\n".join(lines))
    blocks = [item for item in outline.items if isinstance(item, TextBlock)]
    assert len(blocks) == len(outline.items)
    assert all(block.text.strip() for block in blocks)
    kept = [line.rstrip() for line in lines if not re.fullmatch(r"\s*[!#]*\s*", line)]
    assert "\n".join(block.whole for block in blocks) == "\n".join(kept)
