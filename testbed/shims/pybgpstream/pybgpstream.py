"""BGPStream, BGPRecord and BGPElem of pybgpstream 2.0.4, on top of the low-level module.

The classes delegate attributes that they lack: an element to its low-level element and then to its record, a record and
a stream to their low-level objects. The last of these reports an attribute that does not exist.
"""

import datetime
import inspect
from collections.abc import Iterator
from typing import Any

import _pybgpstream
import dateutil.parser
from _pybgpstream.elements import report_missing_attribute
from _pybgpstream.log import get_now, note_misuse

_ELEM_ATTRIBUTES = frozenset(["type", "fields", "peer_asn", "peer_address", "orig_time"])
_RECORD_ATTRIBUTES = frozenset(
    ["project", "collector", "router", "router_ip", "type", "dump_time", "time", "status", "dump_position"]
) | {"get_next_elem"}


class BGPStream:
    """A stream: iteration gives elements, records() gives records.

    Times are Unix seconds (numbers or digits) or any date that dateutil can parse, ignoring time zones. `projects`,
    `collectors` and `record_types` are lists; `filter` is a filter string. Other attributes are the low-level stream's.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> "BGPStream":
        parameters = inspect.signature(BGPStream.__init__).parameters
        for name in kwargs:
            if cls.__init__ is BGPStream.__init__ and name not in parameters:
                known = ", ".join([*parameters][1:])
                note_misuse("unknown-argument", f"BGPStream() has no argument {name!r}; it takes {known}")
        return object.__new__(cls)

    def __init__(
        self,
        from_time: Any = None,
        until_time: Any = None,
        data_interface: Any = None,
        project: Any = None,
        projects: Any = None,
        collector: Any = None,
        collectors: Any = None,
        record_type: Any = None,
        record_types: Any = None,
        filter: Any = None,
    ) -> None:
        self.stream = _pybgpstream.BGPStream()
        if from_time is None and data_interface in [None, "broker"]:
            from_time = int(get_now())
        begin, end = self._datestr_to_epoch(from_time), self._datestr_to_epoch(until_time)
        if begin or end:
            self.stream.add_interval_filter(begin, end)
        if data_interface is not None:
            self.stream.set_data_interface(data_interface)
        self._maybe_add_filter("project", project, projects)
        self._maybe_add_filter("collector", collector, collectors)
        self._maybe_add_filter("record-type", record_type, record_types)
        if filter is not None:
            self.stream.parse_filter_string(filter)
        self.started = False

    def __iter__(self) -> Iterator["BGPElem"]:
        for record in self.records():
            yield from record

    def __getattr__(self, attr: str) -> Any:
        if attr == "stream":  # missing because the constructor failed
            raise AttributeError(attr)
        return getattr(self.stream, attr)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("stream", "started") and hasattr(_pybgpstream.BGPStream, name):
            note_misuse("assigned-attribute", f"stream.{name} = ... replaces a method instead of calling it")
        object.__setattr__(self, name, value)

    def records(self) -> Iterator["BGPRecord"]:
        if not self.started:
            self.stream.start()
            self.started = True
        while True:
            record = self.stream.get_next_record()
            if record is None:
                return
            yield BGPRecord(record)

    def _maybe_add_filter(self, name: str, single: Any, several: Any) -> None:
        if several is None:
            several = []
        elif isinstance(several, str):
            note_misuse("not-a-list", f"{name}s={several!r} is a str, which is read letter by letter; pass a list")
        if single is not None:
            several.append(single)
        for value in several:
            self.stream.add_filter(name, value)

    @staticmethod
    def _datestr_to_epoch(moment: Any) -> int:
        if moment is None:
            return 0
        if isinstance(moment, int):
            return moment
        if isinstance(moment, float):
            return int(moment)
        if not isinstance(moment, str):
            note_misuse("not-a-time", f"a {type(moment).__name__} is not a valid time; pass Unix seconds or a str")
        assert isinstance(moment, str)
        if moment.isdigit():
            return int(moment)
        try:
            parsed = dateutil.parser.parse(moment, ignoretz=True)
        except (ValueError, OverflowError):
            note_misuse("not-a-time", f"{moment!r} cannot be parsed as a time; pass Unix seconds or a date")
            raise
        return int((parsed - datetime.datetime(1970, 1, 1)).total_seconds())


class BGPRecord:
    """A record. Its elements can be iterated over once."""

    def __init__(self, rec: Any) -> None:
        self.rec = rec

    def __iter__(self) -> Iterator["BGPElem"]:
        get_next_elem = self.rec.get_next_elem
        while True:
            elem = get_next_elem()
            if elem is None:
                return
            yield BGPElem(self, elem)

    def __getattr__(self, attr: str) -> Any:
        if attr == "rec":
            raise AttributeError(attr)
        return getattr(self.rec, attr)

    def __str__(self) -> str:
        return (
            f"{self.type}|{self.dump_position}|{self.time:f}|{self.project}|{self.collector}|{self.router}|"
            f"{self.router_ip}|{self.status}|{self.dump_time}"
        )


class BGPElem:
    """An element. Attributes that it lacks are looked up in its record."""

    def __init__(self, rec: Any, elem: Any) -> None:
        self.record = rec
        self._elem = elem

    def __getattr__(self, attr: str) -> Any:
        if attr in _ELEM_ATTRIBUTES:
            return getattr(self._elem, attr)
        if attr == "record_type":
            attr = "type"
        if attr in _RECORD_ATTRIBUTES:
            return getattr(self.record.rec, attr)
        if attr in ("_elem", "record"):
            raise AttributeError(attr)
        if attr in vars(self.record):
            return vars(self.record)[attr]
        report_missing_attribute("elem", attr, "_pybgpstream.BGPRecord", self.record.rec)

    def __str__(self) -> str:
        communities = " ".join(self.fields["communities"]) if "communities" in self.fields else None
        return (
            f"{self.record_type}|{self.type}|{self.time:f}|{self.project}|{self.collector}|{self.router}|"
            f"{self.router_ip}|{self.peer_asn}|{self.peer_address}|{self._maybe_field('prefix')}|"
            f"{self._maybe_field('next-hop')}|{self._maybe_field('as-path')}|{communities}|"
            f"{self._maybe_field('old-state')}|{self._maybe_field('new-state')}"
        )

    def _maybe_field(self, field: str) -> Any:
        return self.fields.get(field)
