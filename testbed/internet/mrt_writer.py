"""Encodes BGP messages, session states and tables as MRT records (RFC 6396), as route collectors dump them."""

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.internet.bgp import PathAttributes, encode_address, encode_attributes, encode_prefix

# BGP FSM states in STATE_CHANGE records: RFC 6396 section 4.4.1
IDLE, CONNECT, ACTIVE, OPEN_SENT, OPEN_CONFIRM, ESTABLISHED = range(1, 7)

_TABLE_DUMP_V2, _BGP4MP, _BGP4MP_ET = 13, 16, 17
_PEER_INDEX_TABLE, _RIB_IPV4_UNICAST, _RIB_IPV6_UNICAST = 1, 2, 4
_MESSAGE_AS4, _STATE_CHANGE_AS4 = 4, 5
_AS4_PEER, _IPV6_PEER = 0x02, 0x01


@dataclass(frozen=True)
class BgpSession:
    """A BGP session between a collector (local) and a peer; both addresses belong to one family."""

    peer_asn: int
    peer_address: str
    local_asn: int
    local_address: str


def encode_message(time: float, session: BgpSession, message: bytes, extended: bool = False) -> bytes:
    """Encode a message received at `time` (Unix seconds) as BGP4MP_MESSAGE_AS4 (RFC 6396 section 4.4.3).

    With `extended` the record is a BGP4MP_ET, whose timestamp has microseconds (section 3).
    """
    return _encode_bgp4mp(time, _MESSAGE_AS4, _encode_session(session) + message, extended)


def encode_state_change(time: float, session: BgpSession, old: int, new: int, extended: bool = False) -> bytes:
    """Encode a change of the session's FSM state as BGP4MP_STATE_CHANGE_AS4 (RFC 6396 section 4.4.4)."""
    return _encode_bgp4mp(time, _STATE_CHANGE_AS4, _encode_session(session) + struct.pack(">HH", old, new), extended)


def encode_peer_index_table(time: int, collector_id: str, peers: Sequence[BgpSession], view: str = "") -> bytes:
    """Encode a PEER_INDEX_TABLE (RFC 6396 section 4.3.1): the peers that RIB entries refer to by position.

    `collector_id` is the collector's BGP identifier. Peers' BGP identifiers are not modelled: a peer gets its IPv4
    address, or the last four octets of its IPv6 address.
    """
    name = view.encode()
    parts = [encode_address(collector_id), struct.pack(">H", len(name)), name, struct.pack(">H", len(peers))]
    for peer in peers:
        where = encode_address(peer.peer_address)
        kind = _AS4_PEER | (_IPV6_PEER if len(where) == 16 else 0)
        parts.append(bytes([kind]) + where[-4:] + where + struct.pack(">I", peer.peer_asn))
    return _encode_record(time, _TABLE_DUMP_V2, _PEER_INDEX_TABLE, b"".join(parts))


def encode_rib(time: int, sequence: int, prefix: str, entries: Sequence[tuple[int, int, PathAttributes]]) -> bytes:
    """Encode all peers' routes to one prefix as RIB_IPV4_UNICAST or RIB_IPV6_UNICAST (RFC 6396 section 4.3.2).

    An entry is (index of the peer, time at which its route was received, attributes).
    """
    ipv6 = ipaddress.ip_network(prefix).version == 6
    parts = [struct.pack(">I", sequence), encode_prefix(prefix), struct.pack(">H", len(entries))]
    for peer, originated, attributes in entries:
        encoded = encode_attributes(attributes, abbreviated=True)
        parts.append(struct.pack(">HIH", peer, originated, len(encoded)) + encoded)
    return _encode_record(time, _TABLE_DUMP_V2, _RIB_IPV6_UNICAST if ipv6 else _RIB_IPV4_UNICAST, b"".join(parts))


def _encode_session(session: BgpSession) -> bytes:
    peer, local = encode_address(session.peer_address), encode_address(session.local_address)
    if len(peer) != len(local):
        raise ValueError(f"session with two address families: {session.peer_address} and {session.local_address}")
    family = 1 if len(peer) == 4 else 2
    return struct.pack(">IIHH", session.peer_asn, session.local_asn, 0, family) + peer + local


def _encode_bgp4mp(time: float, subtype: int, body: bytes, extended: bool) -> bytes:
    if not extended:
        return _encode_record(int(time), _BGP4MP, subtype, body)
    microseconds = round(time * 1_000_000)
    return _encode_record(
        microseconds // 1_000_000, _BGP4MP_ET, subtype, struct.pack(">I", microseconds % 1_000_000) + body
    )


def _encode_record(time: int, kind: int, subtype: int, body: bytes) -> bytes:
    return struct.pack(">IHHI", time, kind, subtype, len(body)) + body
