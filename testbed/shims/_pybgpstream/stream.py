"""BGPStream, the low-level stream object: its methods, which collect what is asked for and then hand out records."""

import re
from typing import Any, NoReturn

from . import filter_language, interfaces, log, stream_start
from .arguments import no_arguments, no_keywords, parsed
from .dump_reader import CannotOpen
from .elements import BGPRecord, lacking, unpicklable
from .filters import ADD_FILTER_TYPES

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NO_RECORD = "Could not get next record (is the stream started?)"


class BGPStream:
    """BGPStream object"""

    __module__ = "_pybgpstream"
    __slots__ = ("_state",)
    _state: stream_start.Request

    def __new__(cls, *args: Any, **kwargs: Any) -> "BGPStream":
        self = object.__new__(cls)
        object.__setattr__(self, "_state", stream_start.Request())
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes anything and looks at nothing, as the library's does."""

    def parse_filter_string(self, *args: Any, **kwargs: Any) -> None:
        """Parse a string to add filters to an un-started stream."""
        no_keywords(kwargs, "parse_filter_string")
        (text,) = parsed(args, "s")
        if self._late("parse_filter_string"):
            return
        try:
            filter_language.parse(text, self._state.filters)
        except filter_language.Refused as refusal:
            log.misuse("filter-string", f"{text!r}: {refusal}")
            raise ValueError(f"Invalid filter string: {text}") from None

    def add_filter(self, *args: Any, **kwargs: Any) -> None:
        """Add a filter to an un-started stream."""
        no_keywords(kwargs, "add_filter")
        kind, value = parsed(args, "ss")
        if kind not in ADD_FILTER_TYPES:
            log.misuse("filter-type", f"no filter type {kind!r}: {', '.join(sorted(ADD_FILTER_TYPES))}")
            raise ValueError(f"Invalid filter type: {kind}")
        if self._late("add_filter"):
            return
        complaint = self._state.filters.add(kind, value)
        if complaint:
            log.complain(complaint)
            log.misuse("filter-value", f"{kind} {value!r} is ignored: {complaint}")

    def add_rib_period_filter(self, *args: Any, **kwargs: Any) -> None:
        """Set the RIB period filter for the current stream."""
        no_keywords(kwargs, "add_rib_period_filter")
        (period,) = parsed(args, "I")
        if not self._late("add_rib_period_filter"):
            self._state.filters.rib_period = period

    def add_interval_filter(self, *args: Any, **kwargs: Any) -> None:
        """Add an interval filter to an un-started stream."""
        no_keywords(kwargs, "add_interval_filter")
        begin, end = parsed(args, "II")
        if not self._late("add_interval_filter"):
            self._state.live = self._state.live or end == 0
            self._state.filters.interval = (begin, end)

    def add_recent_interval_filter(self, *args: Any, **kwargs: Any) -> None:
        """Add a recentinterval filter to an un-started stream."""
        no_keywords(kwargs, "add_recent_interval_filter")
        text, live = parsed(args, "si")
        if self._late("add_recent_interval_filter"):
            return
        match = re.fullmatch(r"\s*([0-9]+)\s*([smhd])", text)
        if match is None:
            log.complain("Failed to determine suitable time interval")
            log.misuse("filter-value", f"recent interval {text!r} is ignored: a number and s, m, h or d, as in '2 h'")
            return
        now = int(log.now())
        self._state.live = self._state.live or bool(live & 0xFF)
        begin = (now - int(match[1]) * _UNITS[match[2]]) & 0xFFFFFFFF
        self._state.filters.interval = (begin, 0 if live & 0xFF else now)

    def get_data_interfaces(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Get a list of data interfaces available"""
        no_keywords(kwargs, "get_data_interfaces")
        no_arguments(args, "get_data_interfaces")
        return [{"id": i.id, "name": i.name, "description": i.description} for i in interfaces.INTERFACES]

    def set_data_interface(self, *args: Any, **kwargs: Any) -> None:
        """Set the data interface used to discover dump files"""
        no_keywords(kwargs, "set_data_interface")
        interface = self._interface(*parsed(args, "s"))
        if not self._late("set_data_interface"):
            self._state.interface = interface

    def get_data_interface_options(self, *args: Any, **kwargs: Any) -> list[dict[str, str]]:
        """Get a list of options available for the given data interface"""
        no_keywords(kwargs, "get_data_interface_options")
        options = self._interface(*parsed(args, "s")).options
        return [{"name": name, "description": description} for name, description in options]

    def set_data_interface_option(self, *args: Any, **kwargs: Any) -> None:
        """Set a data interface option"""
        no_keywords(kwargs, "set_data_interface_option")
        name, option, value = parsed(args, "sss")
        known = [known for known, _ in self._interface(name).options]
        if option not in known:
            log.misuse("interface-option", f"{name} has no option {option!r}: {', '.join(known)}")
            raise ValueError(f"Invalid data interface option: {option}")
        if not self._late("set_data_interface_option"):
            self._state.options.setdefault(name, {})[option] = value

    def set_live_mode(self, *args: Any, **kwargs: Any) -> None:
        """Enable live mode"""
        no_keywords(kwargs, "set_live_mode")
        no_arguments(args, "set_live_mode")
        if not self._late("set_live_mode"):
            self._state.live = True

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the BGPStream."""
        no_keywords(kwargs, "start")
        no_arguments(args, "start")
        state = self._state
        if self._late("start"):
            return
        problem = interfaces.refusal(state.interface, state.options.get(state.interface.name, {}))
        begin, end = state.filters.interval or (0, 0)
        if end and begin > end:
            problem = f"Interval {begin},{end} is invalid"
        if problem:
            log.complain(problem)
            log.misuse("start-failed", f"{state.interface.name}: {problem}")
            raise RuntimeError("Could not start stream")
        state.consumed = stream_start.Consumed()
        state.records = stream_start.run(state, state.consumed.counts)

    def get_next_record(self, *args: Any, **kwargs: Any) -> BGPRecord | None:
        """Get the next BGPStreamRecord from the stream, or None if end-of-stream has been reached"""
        no_keywords(kwargs, "get_next_record")
        state = self._state
        if state.records is None or state.consumed is None:
            raise RuntimeError(_NO_RECORD)
        try:
            record = next(state.records, None)
        except (CannotOpen, interfaces.InterfaceError) as error:
            state.consumed.write(False)
            log.note("no-data", f"{state.interface.name}: {error}")
            raise RuntimeError(_NO_RECORD) from None
        if record is not None:
            state.consumed.records += 1
            record._taken = state.consumed
        elif not state.consumed.written:
            stream_start.end(state, state.consumed)
        return record

    def _interface(self, name: str) -> interfaces.Interface:
        if name not in interfaces.BY_NAME:
            log.misuse("interface", f"no data interface {name!r}: {', '.join(interfaces.BY_NAME)}")
            raise ValueError(f"Invalid data interface: {name}")
        return interfaces.BY_NAME[name]

    def _late(self, method: str) -> bool:
        """Whether the stream runs already: then nothing of it can be changed."""
        late = self._state.records is not None
        if late:
            log.complain(f"{method}() after the start of the stream has no effect", "WARNING")
            log.misuse("after-start", f"{method}() after the start of the stream has no effect")
        return late

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        unpicklable(self)

    def __getattr__(self, name: str) -> NoReturn:
        lacking("stream", name, "_pybgpstream.BGPStream", self)

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            self.__getattr__(name)
        log.misuse("assigned-attribute", f"stream.{name} = ... replaces a method instead of calling it")
        raise AttributeError(f"'_pybgpstream.BGPStream' object attribute '{name}' is read-only", name=name, obj=self)
