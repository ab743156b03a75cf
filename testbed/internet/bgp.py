"""Encodes routes as BGP UPDATE messages (RFC 4271), with four-octet AS numbers and IPv6.

The messages belong to sessions that have negotiated four-octet AS numbers (RFC 6793) and multiprotocol NLRI
(RFC 4760), as all sessions with route collectors do today.
"""

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass

# Segment types: RFC 4271 section 4.3 (AS_PATH), RFC 5065 section 3 (confederations)
AS_SET, AS_SEQUENCE, AS_CONFED_SEQUENCE, AS_CONFED_SET = 1, 2, 3, 4
# ORIGIN: RFC 4271 section 4.3
IGP, EGP, INCOMPLETE = 0, 1, 2

PathSegment = tuple[int, tuple[int, ...]]

MAX_MESSAGE = 4096  # octets: RFC 4271 section 4.1

_UPDATE = 2
_OPTIONAL, _TRANSITIVE, _EXTENDED_LENGTH = 0x80, 0x40, 0x10
_IPV6_AFI, _UNICAST = 2, 1


@dataclass(frozen=True)
class PathAttributes:
    """The path attributes of a route. Addresses are text; AS numbers are below 2**32."""

    as_path: tuple[PathSegment, ...]
    next_hop: str
    origin: int = IGP
    med: int | None = None
    local_pref: int | None = None
    atomic_aggregate: bool = False
    aggregator: tuple[int, str] | None = None
    """AS number and IPv4 address of the aggregating router (RFC 4271 section 5.1.7)."""
    communities: tuple[tuple[int, int], ...] = ()
    """Pairs of 16-bit numbers (RFC 1997)."""
    large_communities: tuple[tuple[int, int, int], ...] = ()
    """Triples of 32-bit numbers (RFC 8092)."""


def make_as_path(*asns: int) -> tuple[PathSegment, ...]:
    """An AS path of one AS_SEQUENCE; without AS numbers, a path without segments (RFC 4271 section 5.1.2)."""
    return ((AS_SEQUENCE, asns),) if asns else ()


def encode_prefix(prefix: str) -> bytes:
    """The prefix length, then as many octets as it needs (RFC 4271 section 4.3). ValueError if host bits are set."""
    network = ipaddress.ip_network(prefix)
    return bytes([network.prefixlen]) + network.network_address.packed[: (network.prefixlen + 7) // 8]


def encode_address(text: str) -> bytes:
    """4 or 16 octets."""
    return ipaddress.ip_address(text).packed


def encode_attributes(attributes: PathAttributes, announced: Sequence[str] = (), abbreviated: bool = False) -> bytes:
    """Encode all attributes, ordered by type code (RFC 4271 section 5).

    An IPv6 next hop goes into MP_REACH_NLRI (RFC 4760 section 3) together with the `announced` prefixes. With
    `abbreviated`, MP_REACH_NLRI holds only the next hop, as in a RIB entry (RFC 6396 section 4.3.4).
    """
    next_hop = encode_address(attributes.next_hop)
    parts = [
        _encode_attribute(1, _TRANSITIVE, bytes([attributes.origin])),
        _encode_attribute(2, _TRANSITIVE, _encode_as_path(attributes)),
    ]
    if len(next_hop) == 4:
        parts.append(_encode_attribute(3, _TRANSITIVE, next_hop))
    if attributes.med is not None:
        parts.append(_encode_attribute(4, _OPTIONAL, struct.pack(">I", attributes.med)))
    if attributes.local_pref is not None:
        parts.append(_encode_attribute(5, _TRANSITIVE, struct.pack(">I", attributes.local_pref)))
    if attributes.atomic_aggregate:
        parts.append(_encode_attribute(6, _TRANSITIVE, b""))
    if attributes.aggregator is not None:
        asn, router = attributes.aggregator
        parts.append(_encode_attribute(7, _OPTIONAL | _TRANSITIVE, struct.pack(">I", asn) + encode_address(router)))
    if attributes.communities:
        values = b"".join(struct.pack(">HH", *community) for community in attributes.communities)
        parts.append(_encode_attribute(8, _OPTIONAL | _TRANSITIVE, values))
    if len(next_hop) == 16:
        reach = bytes([len(next_hop)]) + next_hop
        if not abbreviated:
            reach = struct.pack(">HB", _IPV6_AFI, _UNICAST) + reach + b"\0" + b"".join(map(encode_prefix, announced))
        parts.append(_encode_attribute(14, _OPTIONAL, reach))
    if attributes.large_communities:
        values = b"".join(struct.pack(">III", *community) for community in attributes.large_communities)
        parts.append(_encode_attribute(32, _OPTIONAL | _TRANSITIVE, values))
    return b"".join(parts)


def encode_update(
    announced: Sequence[str] = (), withdrawn: Sequence[str] = (), attributes: PathAttributes | None = None
) -> bytes:
    """Encode one UPDATE message with its header (RFC 4271 sections 4.1 and 4.3).

    All prefixes belong to one address family; IPv6 prefixes go into MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760).
    ValueError if the message would exceed 4096 octets, or if prefixes are announced without attributes.
    """
    if announced and attributes is None:
        raise ValueError("an announcement needs path attributes")
    ipv6 = any(":" in prefix for prefix in (*announced, *withdrawn))
    parts = []
    if attributes is not None and announced:
        parts.append(encode_attributes(attributes, announced))
    if ipv6 and withdrawn:
        unreach = struct.pack(">HB", _IPV6_AFI, _UNICAST) + b"".join(map(encode_prefix, withdrawn))
        parts.append(_encode_attribute(15, _OPTIONAL, unreach))
    withdrawn_routes = b"" if ipv6 else b"".join(map(encode_prefix, withdrawn))
    reachable = b"" if ipv6 else b"".join(map(encode_prefix, announced))
    attributes_field = b"".join(parts)
    body = (
        struct.pack(">H", len(withdrawn_routes))
        + withdrawn_routes
        + struct.pack(">H", len(attributes_field))
        + attributes_field
        + reachable
    )
    length = 19 + len(body)
    if length > MAX_MESSAGE:
        raise ValueError(f"the message has {length} octets; at most {MAX_MESSAGE} are allowed (RFC 4271 section 4.1)")
    return b"\xff" * 16 + struct.pack(">HB", length, _UPDATE) + body


def _encode_attribute(code: int, flags: int, value: bytes) -> bytes:
    if len(value) > 255:
        return struct.pack(">BBH", flags | _EXTENDED_LENGTH, code, len(value)) + value
    return struct.pack(">BBB", flags, code, len(value)) + value


def _encode_as_path(attributes: PathAttributes) -> bytes:
    segments = []
    for kind, asns in attributes.as_path:
        segments.append(struct.pack(">BB", kind, len(asns)) + struct.pack(f">{len(asns)}I", *asns))
    return b"".join(segments)
