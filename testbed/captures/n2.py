"""The control plane around gNBs: NGAP over SCTP to the AMF (N2) and PFCP between SMF and UPF (N4)."""

from collections import Counter
from typing import Any

from testbed.captures import ngap
from testbed.captures.ngap import INITIATING, SUCCESSFUL, UNSUCCESSFUL
from testbed.captures.pfcp import N4
from testbed.captures.sctp import Association
from testbed.captures.tap import MILLI, SECOND, Tap, clock, seconds

GNBS, AMF = ("10.100.1.11", "10.100.1.12", "10.100.1.13"), "10.100.2.1"
STREAMS = 8
SPAN, HEARTBEATS = 20 * SECOND, 30 * SECOND
HANDED_OVER = 4_096
"""What the target's identifier of a UE is higher by than the source's."""


def record(tap: Tap) -> dict[str, Any]:
    """`associations`: client (gNB), client_port, server, client_tag and server_tag (those they chose), start,
    handshake_rtt (INIT to INIT-ACK), data_chunks without those sent again, retransmissions (time, tsn),
    heartbeats (time, outbound, rtt), ended and ending (shutdown | abort | None); `messages`: count of NGAP messages by
    client, stream, procedure, code and kind (initiating | successful | unsuccessful), retransmitted ones counted once;
    `procedures` with an answer: procedure, code, client, ran_ue_id, time, response_time, outcome;
    `pfcp`: message, sequence, time, response_time, cause (1 accepted, 64 and above refused, None for heartbeats).
    """
    core = _Core(tap)
    for number in range(2 + tap.some(20)):
        core.life(number)
    for index, link in enumerate(core.links):
        ended = link.play(lose_last=index == 0)
        link.heartbeat(HEARTBEATS + index * SECOND, outbound=True)
        link.heartbeat(HEARTBEATS + index * SECOND + 300 * MILLI, outbound=False)
        if index == 1:
            link.shut_down(ended + SECOND)
        elif index == 2:
            link.abort(ended + SECOND)
    return {
        "associations": [link.truth for link in core.links],
        "messages": core.counted(),
        "procedures": sorted(core.procedures, key=lambda made: (made["time"], made["code"])),
        "pfcp": core.n4.transactions,
    }


class _Core:
    """What gNBs, AMF, SMF and UPF tell each other about the UEs."""

    def __init__(self, tap: Tap) -> None:
        self.tap, self.draw, self.n4 = tap, tap.draw, N4(tap)
        self.procedures: list[dict[str, Any]] = []
        self._counts: Counter[tuple[str, int, str, int, str]] = Counter()
        self.n4.associate(50 * MILLI)
        self.n4.heartbeat(HEARTBEATS)
        self.links = [Association(tap, gnb, AMF, self.draw.randint(2, 5) * MILLI, STREAMS) for gnb in GNBS]
        for index, link in enumerate(self.links):
            time = link.open(index * 150 * MILLI + self.draw.randrange(50 * MILLI))
            request, answer = [self._other(27, 8), self._other(102, 40)], [self._other(1, 10), self._other(96, 12)]
            if index == 2:
                refused = [self._other(15, 2)]
                time = self.ask(time, link, True, None, "NGSetup", (request, refused), UNSUCCESSFUL) + SECOND
            self.ask(time, link, True, None, "NGSetup", (request, answer))

    def _other(self, identifier: int, octets: int) -> bytes:
        return ngap.element(identifier, self.draw.randbytes(octets))

    def counted(self) -> list[dict[str, Any]]:
        names = ("client", "stream", "procedure", "code", "kind", "count")
        return [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(self._counts.items())]

    def say(
        self, time: int, link: Association, outbound: bool, ue: int | None, *said: tuple[int, str, list[bytes]]
    ) -> int:
        """NGAP messages in one packet, large ones in two DATA chunks; a while later, when the other end may go on."""
        stream = 0 if ue is None else 1 + ue % (STREAMS - 1)
        made = [ngap.message(*message) for message in said]
        for kind, procedure, _ in said:
            key = (link.client.address, stream, procedure, ngap.CODES[procedure], ngap.KINDS[kind])
            self._counts[key] += 1
        link.plan(time, outbound, stream, *made, parts=2 if max(map(len, made)) > 1_000 else 1)
        return time + self.wait(link, outbound)

    def wait(self, link: Association, outbound: bool) -> int:
        """Until the answer passes the tap: the path to the AMF and its work, or the gNB's and the UE's."""
        low, high = (link.rtt + MILLI, link.rtt + 8 * MILLI) if outbound else (8 * MILLI, 45 * MILLI)
        return self.draw.randint(low, high)

    def ask(
        self,
        time: int,
        link: Association,
        outbound: bool,
        ue: int | None,
        procedure: str,
        elements: tuple[list[bytes], list[bytes]],
        outcome: int = SUCCESSFUL,
        answered: int | None = None,
    ) -> int:
        """A procedure with an answer, at `answered` where other procedures come between; when one may go on."""
        at = self.say(time, link, outbound, ue, (INITIATING, procedure, elements[0]))
        at = at if answered is None else answered
        self.procedures.append(
            {
                "procedure": procedure,
                "code": ngap.CODES[procedure],
                "client": link.client.address,
                "ran_ue_id": ue,
                "time": clock(time),
                "response_time": seconds(at - time),
                "outcome": ngap.KINDS[outcome],
            }
        )
        return self.say(at, link, not outbound, ue, (outcome, procedure, elements[1]))

    def life(self, number: int) -> None:
        """A UE registers, sets up a PDU session and is released; every fifth is handed over before that.

        The third is refused its context, the fifth's handover fails at the target, the UPF has no room for the fourth
        and does not know the sixth's session any more.
        """
        link = self.links[number % len(self.links)]
        ran, amf = 256 + number, 512 + 7 * number
        time = self.register(4 * SECOND + self.draw.randrange(SPAN), link, ran, amf, refused=number == 2)
        if number == 2:
            return
        seids, teid = (self.draw.getrandbits(64), self.draw.getrandbits(64)), self.draw.getrandbits(32)
        time = self.n4.establish(time, seids, teid, "no_resources" if number == 3 else "accepted") + MILLI
        identity = ngap.ue_elements(self.draw, amf, ran)
        if number == 3:
            reject = (INITIATING, "DownlinkNASTransport", ngap.ue_elements(self.draw, amf, ran, 30))
            self.say(time, link, False, ran, reject)
            return
        setup = [*identity, self._other(74, 120)], [*identity, self._other(75, 24)]
        time = self.ask(time, link, False, ran, "PDUSessionResourceSetup", setup)
        time = self.n4.modify(time, seids, self.draw.getrandbits(32), link.client.address)
        time += self.draw.randint(1, 6) * SECOND
        if number % 5 == 4 or number == 0:
            target = self.links[(number + 1) % len(self.links)]
            time = self.hand_over(time, link, target, (ran, amf), seids, fails=number == 4)
            link, ran = (link, ran) if number == 4 else (target, ran + HANDED_OVER)
        self.release(time + SECOND, link, ran, amf, seids, known=number != 5)

    def register(self, time: int, link: Association, ran: int, amf: int, refused: bool) -> int:
        """Registration (TS 23.502 clause 4.2.2.2) up to the request of a PDU session, bundled with its last message."""

        def nas(procedure: str, octets: int) -> tuple[int, str, list[bytes]]:
            return INITIATING, procedure, ngap.ue_elements(self.draw, amf, ran, octets)

        first = (INITIATING, "InitialUEMessage", ngap.ue_elements(self.draw, None, ran, 40))
        time = self.say(time, link, True, ran, first)
        for down, up in ((42, 21), (20, 60)):  # authentication, security mode
            time = self.say(time, link, False, ran, nas("DownlinkNASTransport", down))
            time = self.say(time, link, True, ran, nas("UplinkNASTransport", up))
        identity = ngap.ue_elements(self.draw, amf, ran)
        large = self._other(119, 1_400 if ran % 4 == 0 else 60)
        context = [*identity, large], [*identity, *([self._other(15, 2)] if refused else [])]
        outcome = UNSUCCESSFUL if refused else SUCCESSFUL
        time = self.ask(time, link, False, ran, "InitialContextSetup", context, outcome)
        if refused:
            return time
        return self.say(time, link, True, ran, nas("UplinkNASTransport", 16), nas("UplinkNASTransport", 70))

    def hand_over(
        self,
        time: int,
        source: Association,
        target: Association,
        ue: tuple[int, int],
        seids: tuple[int, int],
        fails: bool,
    ) -> int:
        """N2 handover (TS 23.502 clause 4.9.1.3): required, request, acknowledged, command, status, notify, release."""
        ran, amf = ue
        new = ran + HANDED_OVER
        here, there = ngap.ue_elements(self.draw, amf, ran), ngap.ue_elements(self.draw, amf, new)
        asked = time + self.wait(source, True)
        outcome = UNSUCCESSFUL if fails else SUCCESSFUL
        answered = [self._other(15, 2)] if fails else [self._other(106, 60)]
        allocation = [there[0], self._other(101, 90)], [*there, *answered]
        ready = self.ask(asked, target, False, new, "HandoverResourceAllocation", allocation, outcome)
        preparation = [*here, self._other(101, 80)], [*here, *answered]
        time = self.ask(time, source, True, ran, "HandoverPreparation", preparation, outcome, answered=ready)
        if fails:
            return time
        status = [*here, self._other(84, 20)]
        time = self.say(time, source, True, ran, (INITIATING, "UplinkRANStatusTransfer", status))
        moved = [*there, self._other(84, 20)]
        time = self.say(time, target, False, new, (INITIATING, "DownlinkRANStatusTransfer", moved))
        notify = (INITIATING, "HandoverNotification", [*there, self._other(121, 16)])
        time = self.say(time, target, True, new, notify)
        time = self.n4.modify(time, seids, self.draw.getrandbits(32), target.client.address)
        return self.ask(time, source, False, ran, "UEContextRelease", (here, here))

    def release(self, time: int, link: Association, ran: int, amf: int, seids: tuple[int, int], known: bool) -> None:
        """The PDU session goes first, then the UE's context, which the gNB asks to have released."""
        identity = ngap.ue_elements(self.draw, amf, ran)
        given_up = [*identity, self._other(79, 10)], [*identity, self._other(70, 6)]
        time = self.ask(time, link, False, ran, "PDUSessionResourceRelease", given_up)
        time = self.n4.delete(time, seids, "accepted" if known else "session_not_found") + self.wait(link, False)
        time = self.say(time, link, True, ran, (INITIATING, "UEContextReleaseRequest", identity))
        self.ask(time, link, False, ran, "UEContextRelease", (identity, identity))
