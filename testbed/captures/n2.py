"""The control plane around gNBs: NGAP over SCTP to the AMF (N2), and PFCP between SMF and UPF (N4)."""

from collections import Counter
from typing import Any

from testbed.captures import ngap
from testbed.captures.ngap import INITIATING, SUCCESSFUL, UNSUCCESSFUL
from testbed.captures.pfcp import N4
from testbed.captures.sctp import SctpAssociation
from testbed.captures.tap import MILLI, SECOND, Tap, to_seconds, to_unix_time

GNBS, AMF = ("10.100.1.11", "10.100.1.12", "10.100.1.13"), "10.100.2.1"
STREAMS = 8
SPAN, HEARTBEATS = 20 * SECOND, 30 * SECOND
HANDED_OVER = 4_096
"""A UE's RAN identifier at the target gNB is its identifier at the source gNB plus this."""


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `associations`: client (gNB), client_port, server, client_tag and server_tag (chosen by each), start, handshake_rtt
    (INIT to INIT-ACK), data_chunks (without retransmissions), retransmissions (time, tsn), heartbeats (time, outbound,
    rtt), ended and ending (shutdown, abort or None);
    `messages`: count of NGAP messages by client, stream, procedure, code and kind (initiating, successful or
    unsuccessful); retransmitted messages count once;
    `procedures` that have an answer: procedure, code, client, ran_ue_id, time, response_time, outcome;
    `pfcp`: message, sequence, time, response_time, cause (1 accepted, 64 and above refused, None for heartbeats).
    """
    core = _Core(tap)
    for number in range(2 + tap.scale_count(20)):
        core.record_ue(number)
    for index, link in enumerate(core.links):
        ended = link.send_planned(lose_last=index == 0)
        link.exchange_heartbeat(HEARTBEATS + index * SECOND, outbound=True)
        link.exchange_heartbeat(HEARTBEATS + index * SECOND + 300 * MILLI, outbound=False)
        if index == 1:
            link.shut_down(ended + SECOND)
        elif index == 2:
            link.abort(ended + SECOND)
    return {
        "associations": [link.truth for link in core.links],
        "messages": core.list_message_counts(),
        "procedures": sorted(core.procedures, key=lambda made: (made["time"], made["code"])),
        "pfcp": core.n4.transactions,
    }


class _Core:
    """Records what gNBs, AMF, SMF and UPF tell each other about the UEs."""

    def __init__(self, tap: Tap) -> None:
        self.tap, self.draw, self.n4 = tap, tap.draw, N4(tap)
        self.procedures: list[dict[str, Any]] = []
        self._counts: Counter[tuple[str, int, str, int, str]] = Counter()
        self.n4.set_up_association(50 * MILLI)
        self.n4.exchange_heartbeat(HEARTBEATS)
        self.links = [SctpAssociation(tap, gnb, AMF, self.draw.randint(2, 5) * MILLI, STREAMS) for gnb in GNBS]
        for index, link in enumerate(self.links):
            time = link.open(index * 150 * MILLI + self.draw.randrange(50 * MILLI))
            request, answer = (
                [self._draw_element(27, 8), self._draw_element(102, 40)],
                [self._draw_element(1, 10), self._draw_element(96, 12)],
            )
            if index == 2:
                refused = [self._draw_element(15, 2)]
                time = self.run_procedure(time, link, True, None, "NGSetup", (request, refused), UNSUCCESSFUL) + SECOND
            self.run_procedure(time, link, True, None, "NGSetup", (request, answer))

    def _draw_element(self, identifier: int, octets: int) -> bytes:
        return ngap.encode_element(identifier, self.draw.randbytes(octets))

    def list_message_counts(self) -> list[dict[str, Any]]:
        names = ("client", "stream", "procedure", "code", "kind", "count")
        return [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(self._counts.items())]

    def send_messages(
        self, time: int, link: SctpAssociation, outbound: bool, ue: int | None, *said: tuple[int, str, list[bytes]]
    ) -> int:
        """Send NGAP messages in one packet, large ones in two DATA chunks each. Returns when the other end answers."""
        stream = 0 if ue is None else 1 + ue % (STREAMS - 1)
        made = [ngap.encode_message(*message) for message in said]
        for kind, procedure, _ in said:
            key = (link.client.address, stream, procedure, ngap.CODES[procedure], ngap.KINDS[kind])
            self._counts[key] += 1
        link.plan_messages(time, outbound, stream, *made, parts=2 if max(map(len, made)) > 1_000 else 1)
        return time + self.draw_wait(link, outbound)

    def draw_wait(self, link: SctpAssociation, outbound: bool) -> int:
        """Time until the answer passes the tap: outbound, the path to the AMF and its work; else the gNB's and UE's."""
        low, high = (link.rtt + MILLI, link.rtt + 8 * MILLI) if outbound else (8 * MILLI, 45 * MILLI)
        return self.draw.randint(low, high)

    def run_procedure(
        self,
        time: int,
        link: SctpAssociation,
        outbound: bool,
        ue: int | None,
        procedure: str,
        elements: tuple[list[bytes], list[bytes]],
        outcome: int = SUCCESSFUL,
        answered: int | None = None,
    ) -> int:
        """Run a procedure that has an answer. Returns when the next one may begin.

        `answered`: when the answer is sent, if other procedures come before it.
        """
        at = self.send_messages(time, link, outbound, ue, (INITIATING, procedure, elements[0]))
        at = at if answered is None else answered
        self.procedures.append(
            {
                "procedure": procedure,
                "code": ngap.CODES[procedure],
                "client": link.client.address,
                "ran_ue_id": ue,
                "time": to_unix_time(time),
                "response_time": to_seconds(at - time),
                "outcome": ngap.KINDS[outcome],
            }
        )
        return self.send_messages(at, link, not outbound, ue, (outcome, procedure, elements[1]))

    def record_ue(self, number: int) -> None:
        """A UE registers, sets up a PDU session and is released; the first and every fifth UE are handed over between.

        The third UE is refused its context, the UPF has no resources for the fourth, the fifth's handover fails at the
        target, and the UPF no longer knows the sixth's session.
        """
        link = self.links[number % len(self.links)]
        ran, amf = 256 + number, 512 + 7 * number
        time = self.register_ue(4 * SECOND + self.draw.randrange(SPAN), link, ran, amf, refused=number == 2)
        if number == 2:
            return
        seids, teid = (self.draw.getrandbits(64), self.draw.getrandbits(64)), self.draw.getrandbits(32)
        time = self.n4.establish_session(time, seids, teid, "no_resources" if number == 3 else "accepted") + MILLI
        identity = ngap.encode_ue_elements(self.draw, amf, ran)
        if number == 3:
            reject = (INITIATING, "DownlinkNASTransport", ngap.encode_ue_elements(self.draw, amf, ran, 30))
            self.send_messages(time, link, False, ran, reject)
            return
        setup = [*identity, self._draw_element(74, 120)], [*identity, self._draw_element(75, 24)]
        time = self.run_procedure(time, link, False, ran, "PDUSessionResourceSetup", setup)
        time = self.n4.modify_session(time, seids, self.draw.getrandbits(32), link.client.address)
        time += self.draw.randint(1, 6) * SECOND
        if number % 5 == 4 or number == 0:
            target = self.links[(number + 1) % len(self.links)]
            time = self.hand_over_ue(time, link, target, (ran, amf), seids, fails=number == 4)
            link, ran = (link, ran) if number == 4 else (target, ran + HANDED_OVER)
        self.release_ue(time + SECOND, link, ran, amf, seids, known=number != 5)

    def register_ue(self, time: int, link: SctpAssociation, ran: int, amf: int, refused: bool) -> int:
        """Registration (TS 23.502 clause 4.2.2.2); its last message is bundled with the request for a PDU session."""

        def draw_nas(procedure: str, octets: int) -> tuple[int, str, list[bytes]]:
            return INITIATING, procedure, ngap.encode_ue_elements(self.draw, amf, ran, octets)

        first = (INITIATING, "InitialUEMessage", ngap.encode_ue_elements(self.draw, None, ran, 40))
        time = self.send_messages(time, link, True, ran, first)
        for down, up in ((42, 21), (20, 60)):  # authentication, security mode
            time = self.send_messages(time, link, False, ran, draw_nas("DownlinkNASTransport", down))
            time = self.send_messages(time, link, True, ran, draw_nas("UplinkNASTransport", up))
        identity = ngap.encode_ue_elements(self.draw, amf, ran)
        large = self._draw_element(119, 1_400 if ran % 4 == 0 else 60)
        context = [*identity, large], [*identity, *([self._draw_element(15, 2)] if refused else [])]
        outcome = UNSUCCESSFUL if refused else SUCCESSFUL
        time = self.run_procedure(time, link, False, ran, "InitialContextSetup", context, outcome)
        if refused:
            return time
        return self.send_messages(
            time, link, True, ran, draw_nas("UplinkNASTransport", 16), draw_nas("UplinkNASTransport", 70)
        )

    def hand_over_ue(
        self,
        time: int,
        source: SctpAssociation,
        target: SctpAssociation,
        ue: tuple[int, int],
        seids: tuple[int, int],
        fails: bool,
    ) -> int:
        """N2 handover (TS 23.502 clause 4.9.1.3): required, request, acknowledged, command, status, notify, release."""
        ran, amf = ue
        new = ran + HANDED_OVER
        here, there = ngap.encode_ue_elements(self.draw, amf, ran), ngap.encode_ue_elements(self.draw, amf, new)
        asked = time + self.draw_wait(source, True)
        outcome = UNSUCCESSFUL if fails else SUCCESSFUL
        answered = [self._draw_element(15, 2)] if fails else [self._draw_element(106, 60)]
        allocation = [there[0], self._draw_element(101, 90)], [*there, *answered]
        ready = self.run_procedure(asked, target, False, new, "HandoverResourceAllocation", allocation, outcome)
        preparation = [*here, self._draw_element(101, 80)], [*here, *answered]
        time = self.run_procedure(time, source, True, ran, "HandoverPreparation", preparation, outcome, answered=ready)
        if fails:
            return time
        status = [*here, self._draw_element(84, 20)]
        time = self.send_messages(time, source, True, ran, (INITIATING, "UplinkRANStatusTransfer", status))
        moved = [*there, self._draw_element(84, 20)]
        time = self.send_messages(time, target, False, new, (INITIATING, "DownlinkRANStatusTransfer", moved))
        notify = (INITIATING, "HandoverNotification", [*there, self._draw_element(121, 16)])
        time = self.send_messages(time, target, True, new, notify)
        time = self.n4.modify_session(time, seids, self.draw.getrandbits(32), target.client.address)
        return self.run_procedure(time, source, False, ran, "UEContextRelease", (here, here))

    def release_ue(
        self, time: int, link: SctpAssociation, ran: int, amf: int, seids: tuple[int, int], known: bool
    ) -> None:
        """Release the PDU session, then the UE's context, as the gNB requests."""
        identity = ngap.encode_ue_elements(self.draw, amf, ran)
        given_up = [*identity, self._draw_element(79, 10)], [*identity, self._draw_element(70, 6)]
        time = self.run_procedure(time, link, False, ran, "PDUSessionResourceRelease", given_up)
        time = self.n4.delete_session(time, seids, "accepted" if known else "session_not_found") + self.draw_wait(
            link, False
        )
        time = self.send_messages(time, link, True, ran, (INITIATING, "UEContextReleaseRequest", identity))
        self.run_procedure(time, link, False, ran, "UEContextRelease", (identity, identity))
