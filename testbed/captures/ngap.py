"""Encodes NGAP messages (3GPP TS 38.413) as far as an analysis without a decoder reads them.

The outermost PDU (kind, procedure code, lengths), the list of information elements and the UE's two identifiers are
in aligned PER; other elements have random values.
"""

import struct
from random import Random

INITIATING, SUCCESSFUL, UNSUCCESSFUL = 0x00, 0x20, 0x40
KINDS = {INITIATING: "initiating", SUCCESSFUL: "successful", UNSUCCESSFUL: "unsuccessful"}
CODES = {
    "DownlinkNASTransport": 4,
    "DownlinkRANStatusTransfer": 7,
    "HandoverNotification": 11,
    "HandoverPreparation": 12,
    "HandoverResourceAllocation": 13,
    "InitialContextSetup": 14,
    "InitialUEMessage": 15,
    "NGSetup": 21,
    "PDUSessionResourceRelease": 28,
    "PDUSessionResourceSetup": 29,
    "UEContextRelease": 41,
    "UEContextReleaseRequest": 42,
    "UplinkNASTransport": 46,
    "UplinkRANStatusTransfer": 49,
}
"""Procedure codes (clause 9.4.7)."""
AMF_UE_ID, RAN_UE_ID, NAS_PDU = 10, 85, 38
REJECT, IGNORE = 0x00, 0x40


def encode_length(octets: int) -> bytes:
    """A length determinant of aligned PER (X.691 clause 11.9), for less than 16,384 octets."""
    return bytes((octets,)) if octets < 128 else struct.pack("!H", 0x8000 | octets)


def encode_element(identifier: int, value: bytes, criticality: int = REJECT) -> bytes:
    return struct.pack("!HB", identifier, criticality) + encode_length(len(value)) + value


def encode_message(kind: int, procedure: str, elements: list[bytes]) -> bytes:
    """An NGAP-PDU (clause 9.4.3): kind, procedure code, criticality, and the sequence of elements."""
    criticality = IGNORE if procedure.endswith(("Transport", "Transfer", "Notification")) else REJECT
    value = struct.pack("!BH", 0, len(elements)) + b"".join(elements)
    return bytes((kind, CODES[procedure], criticality)) + encode_length(len(value)) + value


def encode_ue_elements(draw: Random, amf_id: int | None, ran_id: int, nas: int = 0) -> list[bytes]:
    """The UE's identifiers (256 to 65535; the first message has no `amf_id`) and a ciphered NAS PDU of `nas` octets."""
    made = [] if amf_id is None else [encode_element(AMF_UE_ID, b"\x20" + amf_id.to_bytes(2, "big"))]
    made.append(encode_element(RAN_UE_ID, b"\x40" + ran_id.to_bytes(2, "big")))
    if nas:
        pdu = b"\x7e\x02" + draw.randbytes(nas - 2)
        made.append(encode_element(NAS_PDU, encode_length(nas) + pdu))
    return made
