"""Decodes the bodies of MRT records into elements: BGP4MP (RFC 6396 section 4.4) and tables (sections 4.2 and 4.3).

Elements that a filter rejects are not created. A body that is not such a record raises MalformedMessage.
"""

import struct
from dataclasses import dataclass

from .attribute_decoder import AttributeDecoder, MalformedMessage, format_address
from .elements import PEER_STATES, BGPElem, make_route_elem, make_state_elem
from .log import print_complaint

PEER_INDEX_TABLE = 1

_TABLE_FAMILIES = {1: 4, 2: 6}  # subtype of TABLE_DUMP -> address family
_entry, _add_path_entry = struct.Struct(">HIH"), struct.Struct(">HI4xH")  # the latter has a path identifier (RFC 8050)
# subtype -> (address family, start of an entry): RIB_IPV4_UNICAST, RIB_IPV6_UNICAST, and these with _ADDPATH
_RIB_SUBTYPES = {2: (4, _entry), 4: (6, _entry), 8: (4, _add_path_entry), 10: (6, _add_path_entry)}
_STATE_CHANGES = (0, 5)  # STATE_CHANGE, STATE_CHANGE_AS4
_MESSAGES = (1, 4, 6, 7)  # MESSAGE, MESSAGE_AS4 and their LOCAL forms
_FOUR_OCTET_ASNS = (4, 5, 7)
_UPDATE = 2

Peer = tuple[int, str]
"""(AS number, address)."""


def decode_peer_table(body: bytes) -> list[Peer]:
    """Decode a PEER_INDEX_TABLE: the peers, in the order in which RIB entries number them."""
    try:
        (name_length,) = struct.unpack_from(">H", body, 4)
        position = 6 + name_length
        (count,) = struct.unpack_from(">H", body, position)
        position += 2
        peers = []
        for _ in range(count):
            kind = body[position]
            octets, asn_size = 16 if kind & 1 else 4, 4 if kind & 2 else 2
            start = position + 5
            address, asn = body[start : start + octets], body[start + octets : start + octets + asn_size]
            if len(asn) < asn_size:
                raise MalformedMessage("PEER_INDEX_TABLE")
            peers.append((int.from_bytes(asn, "big"), format_address(address)))
            position = start + octets + asn_size
    except (struct.error, IndexError):
        raise MalformedMessage("PEER_INDEX_TABLE") from None
    return peers


@dataclass
class ElementCounts:
    """Numbers of elements of a stream."""

    looked_at: int = 0
    """Elements read from the dumps."""
    made: int = 0
    """Elements that passed the filters."""


class ElementDecoder:
    """Decodes the elements of one stream, and counts them."""

    def __init__(self, decoder: AttributeDecoder, counts: ElementCounts) -> None:
        self.decoder, self.counts = decoder, counts
        self._sessions: dict[bytes, tuple[Peer, bool]] = {}

    def decode_bgp4mp(self, subtype: int, body: bytes) -> list[BGPElem]:
        asn_size = 4 if subtype in _FOUR_OCTET_ASNS else 2
        if subtype not in _MESSAGES and subtype not in _STATE_CHANGES:
            print_complaint(f"Skipping unknown BGP4MP record subtype {subtype}", "WARNING")
            return []
        start = 2 * asn_size + 4
        if len(body) < start:
            raise MalformedMessage("BGP4MP")
        start += 32 if body[start - 1] == 2 else 8
        head = body[:start]
        session = self._sessions.get(head)
        if session is None:
            session = self._sessions[head] = self._decode_session(head, asn_size)
        peer, wanted = session
        if subtype in _STATE_CHANGES:
            return self._decode_state_change(peer, wanted, body, start)
        return self._decode_update(peer, wanted, body, start, asn_size)

    def decode_table_dump(self, subtype: int, body: bytes, shift: int) -> list[BGPElem]:
        """Decode a TABLE_DUMP record, one peer's route; `shift` is added to the time at which it was received.

        Its AS numbers have two octets. MP_REACH_NLRI occurs whole and, in some old dumps, abbreviated.
        """
        family = _TABLE_FAMILIES.get(subtype)
        if family is None:
            print_complaint(f"Skipping unknown TABLE_DUMP record subtype {subtype}", "WARNING")
            return []
        entry = _table_entries[family]
        if len(body) < entry.size:
            raise MalformedMessage("a TABLE_DUMP record")
        address, bits, originated, peer_address, asn, length = entry.unpack_from(body)
        if bits > 8 * len(address):
            raise MalformedMessage(f"a prefix of {bits} bits")
        if len(body) < entry.size + length:
            raise MalformedMessage("a TABLE_DUMP record")
        self.counts.looked_at += 1
        ((prefix, wanted),) = self.decoder.decode_prefixes(family, bytes([bits]) + address[: (bits + 7) // 8])
        if not wanted or "R" not in self.decoder.filter.kinds or not self.decoder.filter.wants_peer(asn):
            return []
        found = self.decoder.decode_attributes(body[entry.size : entry.size + length], 2, True)
        if not found.route.wanted:
            return []
        next_hop = found.reach[1] if family == 6 and found.reach else found.next_hop
        if family == 6 and not any(peer_address[4:]):  # an IPv4 session that carries IPv6 routes
            peer_address = peer_address[:4]
        peer = (asn, format_address(peer_address))
        return [make_route_elem("R", peer, float(originated + shift), prefix, next_hop, found.route)]

    def decode_rib(self, subtype: int, body: bytes, peers: list[Peer] | None, shift: int) -> list[BGPElem]:
        """Decode routes to a unicast prefix; `shift` is added to the times at which they were received.

        A peer's routes may have path identifiers, which elements don't show.
        """
        if subtype not in _RIB_SUBTYPES:
            print_complaint(f"Skipping unknown TABLE_DUMP_V2 record subtype {subtype}", "WARNING")
            return []
        family, entry = _RIB_SUBTYPES[subtype]
        if peers is None:
            print_complaint("Missing Peer Index Table, skipping RIB entry", "WARNING")
            raise MalformedMessage("no PEER_INDEX_TABLE")
        try:
            position = 5 + (body[4] + 7) // 8
            ((prefix, wanted),) = self.decoder.decode_prefixes(family, body[4:position])
            (count,) = struct.unpack_from(">H", body, position)
            position += 2
            self.counts.looked_at += count
            if not wanted or "R" not in self.decoder.filter.kinds:
                return []
            return self._decode_entries(entry, body, position, count, family, prefix, peers, shift)
        except (struct.error, IndexError):
            raise MalformedMessage("a RIB record") from None

    def _decode_entries(
        self,
        entry: struct.Struct,
        body: bytes,
        position: int,
        count: int,
        family: int,
        prefix: str,
        peers: list[Peer],
        shift: int,
    ) -> list[BGPElem]:
        elems = []
        attributes_of, wants_peer, unpack = (
            self.decoder.decode_attributes,
            self.decoder.filter.wants_peer,
            entry.unpack_from,
        )
        for _ in range(count):
            index, originated, length = unpack(body, position)
            position += entry.size + length
            if position > len(body) or index >= len(peers):
                raise MalformedMessage("a RIB entry")
            peer = peers[index]
            if not wants_peer(peer[0]):
                continue
            found = attributes_of(body[position - length : position], 4, True)
            if found.route.wanted:
                next_hop = found.reach[1] if family == 6 and found.reach else found.next_hop
                elems.append(make_route_elem("R", peer, float(originated + shift), prefix, next_hop, found.route))
        return elems

    def _decode_session(self, head: bytes, asn_size: int) -> tuple[Peer, bool]:
        octets = 16 if head[2 * asn_size + 3] == 2 else 4
        start = 2 * asn_size + 4
        if len(head) < start + 2 * octets:
            raise MalformedMessage("BGP4MP")
        asn = int.from_bytes(head[:asn_size], "big")
        return (asn, format_address(head[start : start + octets])), self.decoder.filter.wants_peer(asn)

    def _decode_state_change(self, peer: Peer, wanted: bool, body: bytes, start: int) -> list[BGPElem]:
        if len(body) < start + 4:
            raise MalformedMessage("STATE_CHANGE")
        self.counts.looked_at += 1
        if not wanted or "S" not in self.decoder.filter.kinds:
            return []
        states = struct.unpack_from(">HH", body, start)
        old, new = (PEER_STATES[state] if state < len(PEER_STATES) else "" for state in states)
        return [make_state_elem(peer, old, new)]

    def _decode_update(self, peer: Peer, wanted: bool, body: bytes, start: int, asn_size: int) -> list[BGPElem]:
        if len(body) < start + 19:
            raise MalformedMessage("a BGP message")
        if body[start + 18] != _UPDATE:
            return []
        end = start + (body[start + 16] << 8 | body[start + 17])
        middle = start + 21 + (body[start + 19] << 8 | body[start + 20]) if end >= start + 23 else end
        if middle + 2 > end or end > len(body):
            raise MalformedMessage("an UPDATE message")
        nlri = middle + 2 + (body[middle] << 8 | body[middle + 1])
        if nlri > end:
            raise MalformedMessage("an UPDATE message")
        decoder = self.decoder
        found = decoder.decode_attributes(body[middle + 2 : nlri], asn_size)
        withdrawn = decoder.decode_prefixes(4, body[start + 21 : middle])
        announced = [(found.next_hop, decoder.decode_prefixes(4, body[nlri:end]))] if nlri < end else []
        if found.unreach is not None:
            withdrawn = withdrawn + decoder.decode_prefixes(*found.unreach)
        if found.reach is not None:
            family, next_hop, data = found.reach
            announced.append((next_hop, decoder.decode_prefixes(family, data)))
        self.counts.looked_at += len(withdrawn) + sum(len(prefixes) for _, prefixes in announced)
        if not wanted:
            return []
        kinds, route = decoder.filter.kinds, found.route
        elems = []
        if withdrawn and "W" in kinds:
            elems += [make_route_elem("W", peer, 0.0, prefix, "", None) for prefix, passes in withdrawn if passes]
        if route.wanted and "A" in kinds:
            for next_hop, prefixes in announced:
                elems += [
                    make_route_elem("A", peer, 0.0, prefix, next_hop, route) for prefix, passes in prefixes if passes
                ]
        return elems


# View and sequence number, prefix and its length, status, time, peer's address and AS number, length of the attributes
_table_entries = {4: struct.Struct(">4x4sBxI4sHH"), 6: struct.Struct(">4x16sBxI16sHH")}
