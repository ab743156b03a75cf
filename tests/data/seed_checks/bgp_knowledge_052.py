"""Checks of bgp_knowledge-052 to 102. The data are in the code itself: what is right is worked out here by hand."""

from tests.data.seed_checks import Ran, check


def _printed(*rows: str) -> list[str]:
    """Rows of a table as print() sets them, one space between the columns."""
    return [" ".join(row.split()) for row in rows]


@check("bgp_knowledge-057", same_everywhere=True)
def large_communities_take_twelve_octets_each(ran: Ran) -> None:
    octets, values = ran.lines
    # 65550 = 0x1000e, 276 = 0x114, 2000 = 0x7d0, 64499 = 0xfbf3
    assert octets == "0001000e 00000001 00000114 0001000e 000007d0 0000fbf3"
    assert values == "['65550:1:276', '65550:2000:64499']"


@check("bgp_knowledge-065", same_everywhere=True)
def prefixes_outside_or_too_long_are_rejected(ran: Ran) -> None:
    assert ran.lines == [
        "203.0.113.0/24 accept",
        "203.0.113.64/26 reject: longer than /24",
        "2001:db8:6a0::/44 accept",
        "2001:db8:600:8000::/49 reject: longer than /48",
        "2001:db8:700::/40 reject: outside the customer's blocks",
        "198.51.100.0/24 reject: outside the customer's blocks",
        "0.0.0.0/0 reject: outside the customer's blocks",
    ]


@check("bgp_knowledge-066", same_everywhere=True)
def origins_are_validated(ran: Ran) -> None:
    assert ran.lines == _printed(
        "203.0.113.128/25    64499  Valid",
        "203.0.113.64/26     64499  Invalid",
        "2001:db8:a100::/40  64506  Invalid",
        "192.0.2.0/24        64499  NotFound",
    )


@check("bgp_knowledge-073", same_everywhere=True)
def the_leaking_as_is_named(ran: Ran) -> None:
    assert ran.lines == [
        "[64520, 64510, 64530, 64530, 64499] None",
        "[64520, 64505, 64510, 64530, 64499] 64505",
    ]


@check("bgp_knowledge-076", same_everywhere=True)
def false_origins_and_more_specifics_raise_alarms(ran: Ran) -> None:
    assert ran.lines == [
        "203.0.113.0/24 64510 64496 | ok",
        "203.0.113.0/24 64520 64511 | false origin 64511",
        "203.0.113.128/25 64520 64530 64496 | more specific than announced",
        "2001:db8:7f::/48 64510 64511 | false origin 64511, more specific than announced",
    ]


@check("bgp_knowledge-078", same_everywhere=True)
def damping_suppresses_at_the_third_flap_and_reuses_after_half_an_hour(ran: Ran) -> None:
    def decayed(minute: int) -> float:  # in closed form: every flap decays on its own
        return sum(1000 * 2 ** (-(minute - flap) / 10) for flap in (0, 2, 4, 18) if flap <= minute)

    reused = next(minute for minute in range(19, 91) if decayed(minute) < 700)
    flaps = [f"{minute} min: flap, penalty {decayed(minute):.0f}" for minute in (0, 2, 4, 18)]
    assert decayed(2) < 2500 < decayed(4)
    assert reused == 34
    assert all(decayed(minute) >= 700 for minute in range(4, 34))
    reuse = f"34 min: reused, penalty {decayed(34):.0f}"
    assert ran.lines == [*flaps[:3], "4 min: suppressed", flaps[3], reuse]


@check("bgp_knowledge-096", same_everywhere=True)
def as_numbers_go_to_asdot_and_back(ran: Ran) -> None:
    # 65536 = 1 * 65536 + 0, 65549 = 1 * 65536 + 13
    assert ran.lines == _printed("64499  64499  True", "65536  1.0  True", "65549  1.13  True")


@check("bgp_knowledge-102", same_everywhere=True)
def losses_of_sessions_are_counted(ran: Ran) -> None:
    assert ran.lines == ["192.0.2.5 2", "192.0.2.9 1"]
