"""PFCP on N4 (3GPP TS 29.244) between an SMF and a UPF: requests, responses, and how long each took."""

import struct
from typing import Any

from testbed.captures import frames
from testbed.captures.tap import MILLI, START, Tap, to_seconds, to_unix_time

PORT = 8805
SMF, UPF = "10.100.3.1", "10.100.0.1"
MESSAGES = {"heartbeat": 1, "association_setup": 5, "establishment": 50, "modification": 52, "deletion": 54}
"""Types of the requests (clause 7.3); a response has the following type."""
CAUSES = {"accepted": 1, "no_resources": 75, "session_not_found": 65}
CAUSE, NODE_ID, F_SEID, RECOVERY_TIME = 19, 60, 57, 96
CREATE_PDR, PDI, CREATE_FAR, UPDATE_FAR, UPDATE_FORWARDING = 1, 2, 3, 10, 11
PDR_ID, PRECEDENCE, SOURCE_INTERFACE, F_TEID, FAR_ID, APPLY_ACTION, OUTER_HEADER_CREATION = 56, 29, 20, 21, 108, 44, 84


def encode_element(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value


def encode_message(kind: int, sequence: int, elements: bytes, seid: int | None = None) -> bytes:
    """A PFCP message (clause 7.2.2); a message with a `seid` belongs to a session."""
    body = (b"" if seid is None else struct.pack("!Q", seid)) + sequence.to_bytes(3, "big") + b"\0" + elements
    return struct.pack("!BBH", 0x20 | (seid is not None), kind, len(body)) + body


def encode_node_id(address: str) -> bytes:
    return encode_element(NODE_ID, b"\0" + frames.pack_address(address))


def encode_f_seid(seid: int, address: str) -> bytes:
    return encode_element(F_SEID, struct.pack("!BQ", 2, seid) + frames.pack_address(address))


class N4:
    """Records the SMF's dialogue with the UPF at a tap beside the SMF."""

    def __init__(self, tap: Tap) -> None:
        self.tap, self.transactions = tap, list[dict[str, Any]]()
        self._sequence = tap.draw.randrange(2**20)

    def run_transaction(
        self,
        time: int,
        name: str,
        asked: bytes,
        answered: bytes,
        cause: str | None = "accepted",
        seids: tuple[int, int] | None = None,
    ) -> int:
        """A request and its response. Returns when the response arrives.

        `seids`: the UPF's, in the request's header, and the SMF's, in the response's.
        """
        self._sequence += 1
        wait = self.tap.draw.randint(800, 6 * MILLI)
        reply = (encode_element(CAUSE, bytes((CAUSES[cause],))) if cause else b"") + answered
        if name in ("association_setup", "establishment"):
            reply = encode_node_id(UPF) + reply
        first, second = seids or (None, None)
        ports = (PORT, PORT)
        self.tap.record_udp(time, SMF, UPF, ports, encode_message(MESSAGES[name], self._sequence, asked, first))
        self.tap.record_udp(
            time + wait, UPF, SMF, ports, encode_message(MESSAGES[name] + 1, self._sequence, reply, second)
        )
        self.transactions.append(
            {
                "message": name,
                "sequence": self._sequence,
                "time": to_unix_time(time),
                "response_time": to_seconds(wait),
                "cause": CAUSES[cause] if cause else None,
            }
        )
        return time + wait

    def set_up_association(self, time: int) -> int:
        stamp = encode_element(RECOVERY_TIME, struct.pack("!I", get_recovery_time()))
        return self.run_transaction(time, "association_setup", encode_node_id(SMF) + stamp, stamp)

    def exchange_heartbeat(self, time: int) -> int:
        stamp = encode_element(RECOVERY_TIME, struct.pack("!I", get_recovery_time()))
        return self.run_transaction(time, "heartbeat", stamp, stamp, cause=None)

    def establish_session(self, time: int, seids: tuple[int, int], teid: int, cause: str = "accepted") -> int:
        """Establish a session with one uplink rule: forward the packets of tunnel `teid`. The request has SEID 0."""
        tunnel = encode_element(F_TEID, struct.pack("!BI", 1, teid) + frames.pack_address(UPF))
        match = encode_element(PDI, encode_element(SOURCE_INTERFACE, b"\0") + tunnel)
        rule = encode_element(PDR_ID, b"\0\1") + encode_element(PRECEDENCE, struct.pack("!I", 255)) + match
        forward = encode_element(FAR_ID, struct.pack("!I", 1))
        asked = (
            encode_node_id(SMF)
            + encode_f_seid(seids[1], SMF)
            + encode_element(CREATE_PDR, rule + forward)
            + encode_element(CREATE_FAR, forward + encode_element(APPLY_ACTION, b"\2"))
        )
        made = encode_f_seid(seids[0], UPF) if cause == "accepted" else b""
        return self.run_transaction(time, "establishment", asked, made, cause, (0, seids[1]))

    def modify_session(self, time: int, seids: tuple[int, int], teid: int, gnb: str, cause: str = "accepted") -> int:
        """From now on, send downlink packets into tunnel `teid` of a gNB."""
        tunnel = encode_element(OUTER_HEADER_CREATION, struct.pack("!HI", 0x0100, teid) + frames.pack_address(gnb))
        asked = encode_element(
            UPDATE_FAR, encode_element(FAR_ID, struct.pack("!I", 2)) + encode_element(UPDATE_FORWARDING, tunnel)
        )
        return self.run_transaction(time, "modification", asked, b"", cause, seids)

    def delete_session(self, time: int, seids: tuple[int, int], cause: str = "accepted") -> int:
        answered = (seids[0], seids[1] if cause == "accepted" else 0)
        return self.run_transaction(time, "deletion", b"", b"", cause, answered)


def get_recovery_time() -> int:
    """When both ends last started: an hour before the capture, in seconds since 1900 (clause 8.2.65)."""
    return START - 3_600 + 2_208_988_800
