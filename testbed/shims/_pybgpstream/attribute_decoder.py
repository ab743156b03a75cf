"""Decodes and filters path attributes and NLRI of BGP messages (RFC 4271 section 4.3, RFC 4760, RFC 6793, RFC 1997).

Attributes and prefixes repeat in a stream, so each is decoded and filtered only once and kept in a bounded cache.
"""

import struct
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple, TypeVar

from .filters import ElementFilter

AS_SET, AS_SEQUENCE, AS_CONFED_SEQUENCE, AS_CONFED_SET = 1, 2, 3, 4

_BRACKETS = {AS_SET: ("{", ",", "}"), AS_CONFED_SEQUENCE: ("(", " ", ")"), AS_CONFED_SET: ("[", ",", "]")}
_AS_PATH, _NEXT_HOP, _COMMUNITIES, _MP_REACH, _MP_UNREACH, _AS4_PATH = 2, 3, 8, 14, 15, 17
_EXTENDED_LENGTH = 0x10
_UNICAST = 1
_KEPT = 1 << 15  # a cache with so many entries is emptied: it takes some MB, however long the stream

AsSegment = tuple[int, tuple[int, ...]]

Key = TypeVar("Key")
Value = TypeVar("Value")


class MalformedMessage(ValueError):
    """Octets that are not valid BGP."""


class DecodedRoute(NamedTuple):
    """What all announcements with the same path attributes share."""

    as_path: str
    communities: frozenset[str]
    wanted: bool
    """Whether it passes the filters for origin, AS path and communities."""


class DecodedAttributes(NamedTuple):
    route: DecodedRoute
    next_hop: str
    """Next hop of the IPv4 NLRI (attribute NEXT_HOP); empty if there is none."""
    reach: tuple[int, str, bytes] | None
    """Address family, next hop and NLRI of MP_REACH_NLRI."""
    unreach: tuple[int, bytes] | None


class AttributeDecoder:
    """Decodes for one stream; the stream's element filter decides what is `wanted`."""

    def __init__(self, element_filter: ElementFilter) -> None:
        self.filter = element_filter
        self._attributes: dict[tuple[bytes, int, bool], DecodedAttributes] = {}
        self._routes: dict[tuple[bytes, bytes, bytes, int], DecodedRoute] = {}
        self._prefixes: dict[int, dict[bytes, tuple[str, bool]]] = {4: {}, 6: {}}

    def decode_attributes(self, data: bytes, asn_size: int, abbreviated: bool = False) -> DecodedAttributes:
        """`abbreviated`: MP_REACH_NLRI may hold only the next hop, as in RIB entries (RFC 6396 section 4.3.4)."""
        key = (data, asn_size, abbreviated)
        found = self._attributes.get(key)
        if found is None:
            found = self._decode_new(data, asn_size, abbreviated)
            if abbreviated or (found.reach is None and found.unreach is None):
                _keep(self._attributes, key, found)
        return found

    def decode_prefixes(self, family: int, data: bytes) -> list[tuple[str, bool]]:
        """(text, wanted) for each prefix of an NLRI field. MalformedMessage if a prefix is too long for its family."""
        kept = self._prefixes[family]
        found = []
        position, end = 0, len(data)
        while position < end:
            stop = position + 1 + (data[position] + 7) // 8
            encoded = data[position:stop]
            known = kept.get(encoded)
            if known is None:
                if stop > end:
                    raise MalformedMessage("a prefix runs over its field")
                known = self._decode_prefix(family, encoded)
                _keep(kept, encoded, known)
            found.append(known)
            position = stop
        return found

    def _decode_prefix(self, family: int, encoded: bytes) -> tuple[str, bool]:
        length, octets = encoded[0], 4 if family == 4 else 16
        if length > octets * 8:
            raise MalformedMessage(f"a prefix of {length} bits")
        # The bits after the prefix, up to the end of its last octet, mean nothing (RFC 4271 section 4.3).
        spare = octets * 8 - length
        address = int.from_bytes(encoded[1:].ljust(octets, b"\0"), "big") >> spare << spare
        wanted = self.filter.wants_prefix(family, address, length)
        return f"{format_address(address.to_bytes(octets, 'big'))}/{length}", wanted

    def _decode_new(self, data: bytes, asn_size: int, abbreviated: bool) -> DecodedAttributes:
        as_path = as4_path = communities = b""
        next_hop, reach, unreach = "", None, None
        position, end = 0, len(data)
        while position < end:
            if position + 3 > end:
                raise MalformedMessage("an attribute without a length")
            flags, code, length = data[position], data[position + 1], data[position + 2]
            position += 3
            if flags & _EXTENDED_LENGTH:
                if position == end:
                    raise MalformedMessage("an attribute without a length")
                length = length << 8 | data[position]
                position += 1
            value = data[position : position + length]
            position += length
            if position > end:
                raise MalformedMessage("an attribute runs over its field")
            if code == _AS_PATH:
                as_path = value
            elif code == _NEXT_HOP:
                if length != 4:
                    raise MalformedMessage("NEXT_HOP")
                next_hop = format_address(value)
            elif code == _COMMUNITIES:
                communities = value
            elif code == _AS4_PATH:
                as4_path = value
            elif code == _MP_REACH:
                reach = _decode_reach(value, abbreviated)
            elif code == _MP_UNREACH:
                unreach = _decode_unreach(value)
        return DecodedAttributes(self._decode_route(as_path, as4_path, communities, asn_size), next_hop, reach, unreach)

    def _decode_route(self, as_path: bytes, as4_path: bytes, communities: bytes, asn_size: int) -> DecodedRoute:
        key = (as_path, as4_path, communities, asn_size)
        found = self._routes.get(key)
        if found is None:
            path = decode_segments(as_path, asn_size)
            if as4_path:
                path = merge_as4_path(path, decode_segments(as4_path, 4))
            hops = format_hops(path)
            count = len(communities) // 4
            numbers = struct.unpack(f">{2 * count}H", communities[: 4 * count])
            values = tuple(zip(numbers[::2], numbers[1::2], strict=True))
            origin = path[-1][1][-1] if path and path[-1][0] == AS_SEQUENCE and path[-1][1] else None
            wanted = self.filter.wants_route(origin, hops, values)
            texts = frozenset(f"{asn}:{value}" for asn, value in values)
            found = DecodedRoute(" ".join(hops), texts, wanted)
            _keep(self._routes, key, found)
        return found


def decode_segments(data: bytes, asn_size: int) -> list[AsSegment]:
    """The segments of an AS_PATH with two- or four-octet AS numbers. MalformedMessage if they exceed the attribute."""
    found = []
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise MalformedMessage("AS_PATH")
        kind, count = data[position], data[position + 1]
        stop = position + 2 + count * asn_size
        if stop > len(data):
            raise MalformedMessage("AS_PATH")
        found.append((kind, struct.unpack(f">{count}{'I' if asn_size == 4 else 'H'}", data[position + 2 : stop])))
        position = stop
    return found


def merge_as4_path(path: list[AsSegment], path4: list[AsSegment]) -> list[AsSegment]:
    """Merge the AS_PATH of a two-octet speaker with its AS4_PATH (RFC 6793 section 4.2.3).

    The ASes that AS_PATH has more than AS4_PATH are kept in front of AS4_PATH. A set counts as one AS, a confederation
    segment as none. An AS4_PATH longer than AS_PATH is ignored.
    """
    surplus = sum(map(_count_hops, path)) - sum(map(_count_hops, path4))
    if path and surplus < 0:
        return path
    front: list[AsSegment] = []
    for kind, asns in path:
        if surplus <= 0:
            break
        kept = asns[:surplus] if kind == AS_SEQUENCE else asns
        front.append((kind, kept))
        surplus -= _count_hops((kind, kept))
    return front + path4


def format_hops(path: list[AsSegment]) -> list[str]:
    """One text per hop: 65001; a set {1,2}; a confederation's sequence (1 2) or set [1,2]; other kinds <1 2>."""
    hops: list[str] = []
    for kind, asns in path:
        if kind == AS_SEQUENCE:
            hops += map(str, asns)
        else:
            opening, separator, closing = _BRACKETS.get(kind, ("<", " ", ">"))
            hops.append(opening + separator.join(map(str, asns)) + closing)
    return hops


def format_address(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def _count_hops(segment: AsSegment) -> int:
    kind, asns = segment
    return len(asns) if kind == AS_SEQUENCE else 1 if kind == AS_SET else 0


def _decode_reach(value: bytes, abbreviated: bool) -> tuple[int, str, bytes] | None:
    """Decode MP_REACH_NLRI (RFC 4760 section 3). Some dumps have the full form in RIB entries; only then is the first
    octet zero.
    """
    if abbreviated and value[:1] != b"\0":
        return 6, _decode_mp_next_hop(value[1 : 1 + value[0]]) if value else "", b""
    if len(value) < 5:
        raise MalformedMessage("MP_REACH_NLRI")
    afi, safi, length = struct.unpack_from(">HBB", value)
    if safi != _UNICAST or afi not in (1, 2):
        return None
    if len(value) < 5 + length:
        raise MalformedMessage("MP_REACH_NLRI")
    return 4 if afi == 1 else 6, _decode_mp_next_hop(value[4 : 4 + length]), value[5 + length :]


def _decode_unreach(value: bytes) -> tuple[int, bytes] | None:
    if len(value) < 3:
        raise MalformedMessage("MP_UNREACH_NLRI")
    afi, safi = struct.unpack_from(">HB", value)
    return (4 if afi == 1 else 6, value[3:]) if safi == _UNICAST and afi in (1, 2) else None


def _decode_mp_next_hop(value: bytes) -> str:
    """The global address; a link-local address may follow it (RFC 2545 section 3)."""
    if len(value) not in (4, 16, 32):
        raise MalformedMessage("the next hop of MP_REACH_NLRI")
    return format_address(value[:16])


def _keep(cache: dict[Key, Value], key: Key, value: Value) -> None:
    if len(cache) >= _KEPT:
        cache.clear()
    cache[key] = value
