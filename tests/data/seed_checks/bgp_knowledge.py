"""Knowledge of BGP, first half: what the short programs print, worked out by hand from the RFCs."""

from tests.data.seed_checks import Ran, check


@check("bgp_knowledge-019", same_everywhere=True)
def longest_prefix_of_the_table_is_found_for_each_address(ran: Ran) -> None:
    assert ran.lines == [
        "198.51.100.200 -> 198.51.100.128/25",
        "198.51.100.7 -> 198.51.100.0/24",
        "198.51.7.1 -> 198.51.0.0/16",
        "203.0.113.9 -> 0.0.0.0/0",
        "2001:db8:1::5 -> 2001:db8::/32",
        "2001:db9::1 -> None",
    ]


@check("bgp_knowledge-023", same_everywhere=True)
def prefixes_take_only_the_octets_that_their_lengths_need(ran: Ran) -> None:
    assert ran.lines == [
        "10.0.0.0/8 08 0a",
        "172.16.32.0/19 13 ac 10 20",
        "192.0.2.128/26 1a c0 00 02 80",
        "203.0.113.7/32 20 cb 00 71 07",
    ]


@check("bgp_knowledge-027", same_everywhere=True)
def message_of_55_octets_is_an_update(ran: Ran) -> None:
    assert ran.lines == ["55 2"]


@check("bgp_knowledge-039", same_everywhere=True)
def flag_bits_of_four_octets_are_named(ran: Ran) -> None:
    length = "length field 1 octet(s)"
    assert ran.lines == [
        f"0x40: well-known, transitive, complete, {length}",
        f"0x80: optional, non-transitive, complete, {length}",
        f"0xc0: optional, transitive, complete, {length}",
        f"0xe0: optional, transitive, partial, {length}",
    ]


@check("bgp_knowledge-046", same_everywhere=True)
def copies_side_by_side_are_counted_and_a_return_is_kept(ran: Ran) -> None:
    assert ran.lines == [
        "64500 64510 64510 64510 64496 -> 64500 64510 64496; prepended: AS64510 +2",
        "64520 64496 -> 64520 64496; prepended: none",
        "64500 64530 64530 64499 64499 -> 64500 64530 64499; prepended: AS64530 +1, AS64499 +1",
        "64520 64530 64530 64520 64496 -> 64520 64530 64520 64496; prepended: AS64530 +1",
    ]


@check("bgp_knowledge-049", same_everywhere=True)
def med_removes_only_the_path_of_the_same_neighbor(ran: Ran) -> None:
    assert ran.lines == ["['A', 'B'] -> A"]
