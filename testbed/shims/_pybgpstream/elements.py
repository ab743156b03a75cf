"""The record and element objects of the low-level module, and the dictionary of an element's fields."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from .attribute_decoder import DecodedRoute
from .log import note_misuse

if TYPE_CHECKING:
    from .stream_start import Consumption

# RFC 6396 section 4.4.1; CLEARING and DELETED are Quagga's
PEER_STATES = ("", "IDLE", "CONNECT", "ACTIVE", "OPENSENT", "OPENCONFIRM", "ESTABLISHED", "CLEARING", "DELETED")

_FIELDS = {"prefix": "prefix", "as_path": "as-path", "aspath": "as-path", "next_hop": "next-hop"}
_FIELDS |= {"communities": "communities", "old_state": "old-state", "new_state": "new-state"}
_KINDS = {"R": "RIB entries", "A": "announcements", "W": "withdrawals", "S": "peer states"}


def report_missing_attribute(owner: str, name: str, kind: str, thing: object) -> NoReturn:
    """Note the use of an attribute that an extension type lacks, and raise AttributeError.

    Python's own lookups (__deepcopy__ and the like) do not count as misuse.
    """
    if not name.startswith("_"):
        field = _FIELDS.get(name, "") if owner == "elem" else ""
        note_misuse(
            "unknown-attribute",
            f"{owner} has no attribute {name!r}" + (f'; use elem.fields["{field}"]' if field else ""),
        )
    raise AttributeError(f"'{kind}' object has no attribute '{name}'", name=name, obj=thing)


def refuse_pickling(thing: object) -> NoReturn:
    """Raise TypeError: the library's objects are C structures, which can be neither pickled nor copied."""
    kind = type(thing)
    raise TypeError(f"cannot pickle '{kind.__module__}.{kind.__name__}' object")


class Fields(dict[str, Any]):
    """A plain dict to the script. If a script asks for a field that the element's type lacks, this notes a misuse
    before the ordinary KeyError.
    """

    __slots__ = ()

    def __missing__(self, key: object) -> NoReturn:
        kind = "S" if "old-state" in self else "A" if "as-path" in self else "W"
        owner = "RIB entries and announcements" if kind == "A" else _KINDS[kind]
        note_misuse("missing-field", f"{owner} have no field {key!r}; their fields are {', '.join(self)}")
        raise KeyError(key)


def refuse_assignment(owner: str, name: str, thing: object) -> NoReturn:
    """Raise AttributeError: what a stream gives can be read only. Note it, where it is an attribute at all."""
    kind = f"_pybgpstream.{type(thing).__name__}"
    if name.startswith("_") or not hasattr(type(thing), name):
        raise AttributeError(f"'{kind}' object has no attribute '{name}'", name=name, obj=thing)
    note_misuse("assigned-attribute", f"{owner}.{name} can only be read; keep a changed value in a variable")
    raise AttributeError(f"attribute '{name}' of '{kind}' objects is not writable", name=name, obj=thing)


class _OpenElem:
    """An element that is being made."""

    __slots__ = (
        "_fields",
        "_next_hop",
        "_prefix",
        "_route",
        "_states",
        "orig_time",
        "peer_address",
        "peer_asn",
        "type",
    )

    type: str
    peer_address: str
    peer_asn: int
    orig_time: float
    _prefix: str
    _next_hop: str
    _route: DecodedRoute | None
    _states: tuple[str, str] | None
    _fields: Fields | None


class BGPElem(_OpenElem):
    """One element: R (RIB entry), A (announcement), W (withdrawal) or S (peer state)."""

    __module__ = "_pybgpstream"
    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> "BGPElem":
        note_misuse("removed-api", "BGPElem() is from version 1; record.get_next_elem() now returns the element")
        raise TypeError("cannot create '_pybgpstream.BGPElem' instances")

    @property
    def fields(self) -> Fields:
        """The element's fields, built on first use; always the same dictionary."""
        found = self._fields
        if found is None:
            route = self._route
            if route is not None:
                found = Fields(
                    {
                        "next-hop": self._next_hop,
                        "as-path": route.as_path,
                        "communities": set(route.communities),
                        "prefix": self._prefix,
                    }
                )
            elif self._states is not None:
                found = Fields({"old-state": self._states[0], "new-state": self._states[1]})
            else:
                found = Fields({"prefix": self._prefix})
            object.__setattr__(self, "_fields", found)
        return found

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        refuse_assignment("elem", name, self)

    def __delattr__(self, name: str) -> NoReturn:
        refuse_assignment("elem", name, self)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        refuse_pickling(self)

    def __getattr__(self, name: str) -> NoReturn:
        report_missing_attribute("elem", name, "_pybgpstream.BGPElem", self)


_new = object.__new__


def make_route_elem(
    kind: str,
    peer: tuple[int, str],
    orig_time: float,
    prefix: str,
    next_hop: str,
    route: DecodedRoute | None,
    states: tuple[str, str] | None = None,
) -> BGPElem:
    """An R or A element with its route, or a W element without one."""
    elem: Any = _new(_OpenElem)
    elem.type = kind
    elem.peer_asn, elem.peer_address = peer
    elem.orig_time = orig_time
    elem._prefix, elem._next_hop, elem._route = prefix, next_hop, route
    elem._states, elem._fields = states, None
    elem.__class__ = BGPElem  # sealed: cheaper than attributes that can't be set
    made: BGPElem = elem
    return made


def make_state_elem(peer: tuple[int, str], old: str, new: str) -> BGPElem:
    return make_route_elem("S", peer, 0.0, "", "", None, (old, new))


class OpenRecord:
    """A record that is being made, until `seal_record` hands it out."""

    __slots__ = (
        "_consumption",
        "_elems",
        "_seconds",
        "collector",
        "dump_position",
        "dump_time",
        "project",
        "router",
        "router_ip",
        "status",
        "time",
        "type",
    )

    project: str
    collector: str
    router: str | None
    router_ip: str | None
    type: str
    dump_time: int
    time: float
    status: str
    dump_position: str
    _elems: Iterator[BGPElem]
    _seconds: int
    _consumption: "Consumption | None"


class BGPRecord(OpenRecord):
    """One MRT record, or a report (status) on a dump without records."""

    __module__ = "_pybgpstream"
    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> "BGPRecord":
        note_misuse("removed-api", "BGPRecord() is from version 1; stream.get_next_record() now returns the record")
        raise TypeError("cannot create '_pybgpstream.BGPRecord' instances")

    def get_next_elem(self) -> BGPElem | None:
        for elem in self._elems:
            consumption = self._consumption
            if consumption is not None:
                consumption.elems += 1
            return elem
        return None

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        refuse_assignment("record", name, self)

    def __delattr__(self, name: str) -> NoReturn:
        refuse_assignment("record", name, self)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        refuse_pickling(self)

    def __getattr__(self, name: str) -> NoReturn:
        report_missing_attribute("record", name, "_pybgpstream.BGPRecord", self)


def make_record() -> OpenRecord:
    """A blank record, whose attributes the caller sets."""
    record = OpenRecord()
    record.router = record.router_ip = record._consumption = None
    return record


def seal_record(record: OpenRecord, consumption: "Consumption") -> BGPRecord:
    """The same record, which a script can only read; what it takes from it is counted in `consumption`."""
    record._consumption = consumption
    sealed: Any = record
    sealed.__class__ = BGPRecord
    found: BGPRecord = sealed
    return found
