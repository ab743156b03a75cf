"""Tasks `retransmissions`: the segments of a TCP connection, as a tap beside the client sees them -> which were sent
again.

easy: the client's data segments with relative numbers, one of them lost; medium: two, with the acknowledgements between
them; hard: absolute numbers, and a response whose segments overtake each other, which is no retransmission.
"""

from random import Random

from testbed.captures.connection_plans import ConnectionPlan, Exchange, TcpSegment
from testbed.captures.frames import ACK, FIN, PSH, RST, SYN
from testbed.captures.tap import MILLI, SECOND
from testbed.captures.tcp_simulation import simulate_connection
from testbed.reports.network_names import OCTETS
from testbed.tasks.task_networks import TaskNetwork
from testbed.tasks.task_records import Level, TaskDraft

WORDINGS = (
    "Find the retransmissions between {client} and {server}. {asked}",
    "A tap beside {client} saw these segments. {asked}",
    "The upload from {client} to {server} stalls. {asked}",
    "Here is one TCP connection of {client}, line by line. {asked}",
    "Look for data that was sent a second time to {server}. {asked}",
    "Without Wireshark: which of these segments repeat what {client} had sent already? {asked}",
    "We suspect loss on the path to {server}. {asked}",
    "Go through the sequence numbers of this connection with {server}. {asked}",
    "Does {client} repeat anything here? {asked}",
    "Mark what {client} had to send once more. {asked}",
    "This trace of {client} has duplicates of its own data. {asked}",
    "Count nothing but repeated payload in the segments below, sent to {server}. {asked}",
    "Check the listing for segments that {client} resent. {asked}",
    "Every line is a segment at the client's tap ({client}). {asked}",
)
"""`asked`: a sentence."""
_ASKED = {
    "numbers": "Give the numbers of the lines that are retransmissions.",
    "octets": "How many octets of payload were retransmitted in all?",
    "first": "Give the sequence number at which the first retransmission starts.",
}
_RULE = "A retransmission carries octets that the same sender sent before."
_FLAGS = ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "."))


def draw_retransmissions(network: TaskNetwork, rng: Random, level: Level) -> TaskDraft:
    while True:
        plan = _draw_plan(network, rng, level)
        segments, facts = simulate_connection(plan, rng)
        repeated = {(time, seq) for time, seq, _ in facts.retransmissions}
        shown = [each for each in segments if _is_shown(each, level)]
        lines = [number for number, each in enumerate(shown, 1) if each.outbound and (each.time, each.seq) in repeated]
        if lines and len(lines) == len(repeated):
            break
    first = {side: next((each.seq for each in segments if each.outbound == side), 0) for side in (True, False)}
    base = first if level != "hard" else {True: 0, False: 0}
    field = rng.choice(("numbers", "numbers", "octets", "first"))
    resent = [shown[number - 1] for number in lines]
    answer = {
        "numbers": ", ".join(map(str, lines)),
        "octets": str(sum(len(each.payload) for each in resent)),
        "first": str((resent[0].seq - base[True]) % 2**32),
    }[field]
    fields = {"client": plan.client, "server": plan.server, "asked": f"{_ASKED[field]} {_RULE}"}
    listing = [_format_line(number, each, plan.start, base) for number, each in enumerate(shown, 1)]
    return TaskDraft(fields, "\n".join(listing), answer, "list" if field == "numbers" else "text")


def _draw_plan(network: TaskNetwork, rng: Random, level: Level) -> ConnectionPlan:
    size = rng.choice((512, 1000, 1200, 1400, 1460))
    segments = rng.randrange(5, 8) if level == "easy" else rng.randrange(4, 7)
    lost = rng.sample(range(segments), 1 if level == "easy" else 2 if level == "medium" else 1)
    answered = rng.randrange(3, 5) if level == "hard" else 0
    response = b"x" * (answered * size - rng.randrange(size // 2)) if answered else b"ok"
    return ConnectionPlan(
        client=_draw_host(network, rng),
        server=_draw_host(network, rng),
        ports=(rng.randrange(32_768, 61_000), 80),
        start=rng.randrange(SECOND),
        rtt=rng.randint(10, 90) * MILLI,
        exchanges=(Exchange(b"x" * (segments * size - rng.randrange(size // 2)), response),),
        jitter=400,
        mss=size,
        lost=frozenset((True, number, 1) for number in lost),
        overtaken=frozenset({rng.randrange(answered - 1)} if answered else ()),
        ending="open",
    )


def _draw_host(network: TaskNetwork, rng: Random) -> str:
    octets = (rng.choice(OCTETS[network.side]), rng.randrange(256), rng.randrange(256), rng.randrange(1, 255))
    return ".".join(map(str, octets))


def _is_shown(segment: TcpSegment, level: Level) -> bool:
    if level == "easy":
        return segment.outbound and bool(segment.payload)
    return bool(segment.payload) or (level == "medium" and not segment.outbound and not segment.flags & SYN)


def _format_line(number: int, segment: TcpSegment, start: int, base: dict[bool, int]) -> str:
    """Like tcpdump: `3 0.041200 > P. seq 1461:2921 ack 1`; > is from the client."""
    flags = "".join(sign for bit, sign in _FLAGS if segment.flags & bit)
    seq = (segment.seq - base[segment.outbound]) % 2**32
    ack = (segment.ack - base[not segment.outbound]) % 2**32
    span = f" seq {seq}:{(seq + len(segment.payload)) % 2**32}" if segment.payload else ""
    return f"{number} {(segment.time - start) / SECOND:.4f} {'>' if segment.outbound else '<'} {flags}{span} ack {ack}"
