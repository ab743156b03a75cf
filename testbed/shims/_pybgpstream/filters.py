"""Filters of a stream: the values that each type accepts, and the elements that it lets pass.

As in the library, origin, AS path and community filters reject all withdrawals and peer states, and prefix and IP
version filters reject all peer states. Peer filters apply to every element.
"""

import re
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton

from . import as_path_regex
from .log import print_complaint

ELEMENT_TYPES = {"ribs": "R", "announcements": "A", "withdrawals": "W", "peerstates": "S"}
PREFIX_TYPES = {"prefix": "more", "prefix-more": "more", "prefix-less": "less", "prefix-exact": "exact"}
PREFIX_TYPES["prefix-any"] = "any"
NAMES = {
    "project": "projects",
    "collector": "collectors",
    "router": "routers",
    "record-type": "record_types",
    "resource-type": "resource_types",
}
ADD_FILTER_TYPES = frozenset(
    ["project", "collector", "record-type", "peer-asn", "not-peer-asn", "community", "aspath", "ipversion", "elemtype"]
) | set(PREFIX_TYPES)
"""The types that add_filter() knows. The filter language also has origin, router and resource-type."""

Community = tuple[int | None, int | None]
"""None stands for `*`."""


@dataclass
class StreamFilters:
    """The filters that a script has set, in the order in which it set them."""

    projects: list[str] = field(default_factory=list)
    collectors: list[str] = field(default_factory=list)
    routers: list[str] = field(default_factory=list)
    record_types: list[str] = field(default_factory=list)
    resource_types: list[str] = field(default_factory=list)
    peers: list[int] = field(default_factory=list)
    not_peers: list[int] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    prefixes: dict[tuple[int, int, int], str] = field(default_factory=dict)
    """(family, address, length) -> more, less, exact or any. The first mode given for a prefix holds."""
    prefix_texts: list[str] = field(default_factory=list)
    aspaths: list[str] = field(default_factory=list)
    communities: list[str] = field(default_factory=list)
    element_types: list[str] = field(default_factory=list)
    ip_version: int | None = None
    interval: tuple[int, int] | None = None
    """Inclusive, Unix seconds; an end of 0 means no end. A second interval replaces the first."""
    rib_period: int = 0

    def add(self, kind: str, value: str) -> str:
        """Add one value. Returns the library's complaint if it refuses the value, else an empty text."""
        if kind in NAMES:
            getattr(self, NAMES[kind]).append(value)
        elif kind in ("peer-asn", "not-peer-asn", "origin-asn"):
            asn = parse_unsigned(value, 0xFFFFFFFF)
            if asn is None:
                return f"invalid {'origin' if kind == 'origin-asn' else 'peer'} asn '{value}'"
            {"peer-asn": self.peers, "not-peer-asn": self.not_peers, "origin-asn": self.origins}[kind].append(asn)
        elif kind in PREFIX_TYPES:
            prefix = parse_prefix(value)
            if prefix is None:
                return f"invalid prefix '{value}'"
            self.prefixes.setdefault(prefix, PREFIX_TYPES[kind])
            self.prefix_texts.append(f"{PREFIX_TYPES[kind]} {value}")
        elif kind == "community":
            if parse_community(value) is None:
                return f"invalid community '{value}'"
            self.communities.append(value)
        elif kind == "aspath":
            try:
                as_path_regex.compile_expression(value)
            except ValueError as error:
                return str(error)
            self.aspaths.append(value)
        elif kind == "ipversion":
            if value not in ("4", "6"):
                return f"Unknown IP version '{value}'"
            self.ip_version = int(value)
        elif value not in ELEMENT_TYPES:
            return f"unknown element type '{value}'"
        else:
            self.element_types.append(value)
        return ""

    def list_criteria(self) -> dict[str, object]:
        """The filters that are set, for the log."""
        found = {name: value for name, value in vars(self).items() if value and name not in ("interval", "prefixes")}
        if "prefix_texts" in found:
            found["prefixes"] = found.pop("prefix_texts")
        return found


class ElementFilter:
    """The compiled filters. Decoders call these cheap tests once for each distinct peer, prefix and route."""

    def __init__(self, filters: StreamFilters) -> None:
        kinds = {ELEMENT_TYPES[name] for name in filters.element_types} or set("RAWS")
        self._paths = [as_path_regex.compile_expression(text) for text in filters.aspaths]
        self._communities = [found for text in filters.communities if (found := parse_community(text))]
        self._origins = frozenset(filters.origins)
        self._peers, self._not_peers = frozenset(filters.peers), frozenset(filters.not_peers)
        self._prefixes, self._ip_version = filters.prefixes, filters.ip_version
        self._lengths = {version: sorted({n for f, _, n in filters.prefixes if f == version}) for version in (4, 6)}
        self.on_routes = bool(self._paths or self._communities or self._origins)
        if self.on_routes:
            kinds -= {"W", "S"}
        if filters.prefixes or filters.ip_version:
            kinds -= {"S"}
        self.kinds = frozenset(kinds)

    def wants_peer(self, asn: int) -> bool:
        return (not self._peers or asn in self._peers) and asn not in self._not_peers

    def wants_prefix(self, family: int, address: int, length: int) -> bool:
        if self._ip_version and family != self._ip_version:
            return False
        if not self._prefixes:
            return True
        bits = 32 if family == 4 else 128
        for shorter in self._lengths[family]:
            if shorter > length:
                break
            mode = self._prefixes.get((family, address >> (bits - shorter) << (bits - shorter), shorter))
            if mode is not None and (shorter == length or mode in ("more", "any")):
                return True
        return any(
            f == family and n > length and mode in ("less", "any") and (a ^ address) >> (bits - length) == 0
            for (f, a, n), mode in self._prefixes.items()
        )

    def wants_route(self, origin: int | None, hops: list[str], communities: tuple[tuple[int, int], ...]) -> bool:
        """Whether all AS path expressions match, and any of the communities. `hops`: attribute_decoder.format_hops."""
        if not self.on_routes:
            return True
        if self._origins and origin not in self._origins:
            return False
        path = "_".join(hops)
        if any((expression.search(path) is None) != negated for expression, negated in self._paths):
            return False
        return not self._communities or any(
            asn in (None, community[0]) and value in (None, community[1])
            for community in communities
            for asn, value in self._communities
        )


def parse_unsigned(text: str, limit: int) -> int | None:
    """Parse the whole text as C's strtoul does: blanks and a plus may precede the digits; "" is 0.

    None if the text is not a number or the number exceeds `limit`.
    """
    match = re.fullmatch(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)", text)
    if match is None:
        return 0 if text == "" else None
    number = int(match[2])
    return number if number <= limit and (match[1] != "-" or number == 0) else None


def parse_prefix(text: str) -> tuple[int, int, int] | None:
    """(family, address without host bits, length). None if the library refuses the text, e.g. without a length."""
    address, slash, length_text = text.partition("/")
    family, bits = (AF_INET6, 128) if ":" in address else (AF_INET, 32)
    length = parse_unsigned(length_text, bits)
    if not slash or length is None or len(text) > 48:
        return None
    try:
        packed = inet_pton(family, address)
    except (OSError, ValueError):
        print_complaint(f"Could not parse address string {address}")
        return None
    value = int.from_bytes(packed, "big") >> (bits - length) << (bits - length)
    return 6 if bits == 128 else 4, value, length


def parse_community(text: str) -> Community | None:
    """Parse asn:value; each half may be `*`. None if the library refuses the text."""
    asn, colon, value = text.partition(":")
    if not colon:
        return None
    halves = [None if half == "*" else parse_unsigned(half, 0xFFFF) for half in (asn, value)]
    refused = any(half is None and given != "*" for half, given in zip(halves, (asn, value), strict=True))
    return None if refused else (halves[0], halves[1])
