"""BGPStream, the low-level stream object: its methods first collect what the script asks for, then return records."""

import re
from typing import Any, NoReturn

from . import filter_language, interfaces, log, stream_start
from .arguments import parse_arguments, refuse_arguments, refuse_keywords
from .dump_reader import DumpOpenError
from .elements import BGPRecord, refuse_pickling, report_missing_attribute, seal_record
from .filters import ADD_FILTER_TYPES

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NO_RECORD = "Could not get next record (is the stream started?)"


class BGPStream:
    """BGPStream object"""

    __module__ = "_pybgpstream"
    __slots__ = ("_state",)
    _state: stream_start.StreamRequest

    def __new__(cls, *args: Any, **kwargs: Any) -> "BGPStream":
        self = object.__new__(cls)
        object.__setattr__(self, "_state", stream_start.StreamRequest())
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Accepts and ignores all arguments, as the library does."""

    def parse_filter_string(self, *args: Any, **kwargs: Any) -> None:
        """Parse a string to add filters to an un-started stream."""
        refuse_keywords(kwargs, "parse_filter_string")
        (text,) = parse_arguments(args, "s")
        if self._ignore_after_start("parse_filter_string"):
            return
        try:
            filter_language.parse_filter_string(text, self._state.filters)
        except filter_language.FilterSyntaxError as refusal:
            log.note_misuse("filter-string", f"{text!r}: {refusal}")
            raise ValueError(f"Invalid filter string: {text}") from None

    def add_filter(self, *args: Any, **kwargs: Any) -> None:
        """Add a filter to an un-started stream."""
        refuse_keywords(kwargs, "add_filter")
        kind, value = parse_arguments(args, "ss")
        if kind not in ADD_FILTER_TYPES:
            known = ", ".join(sorted(ADD_FILTER_TYPES))
            log.note_misuse("filter-type", f"unknown filter type {kind!r}; known are {known}")
            raise ValueError(f"Invalid filter type: {kind}")
        if self._ignore_after_start("add_filter"):
            return
        complaint = self._state.filters.add(kind, value)
        if complaint:
            log.print_complaint(complaint)
            log.note_misuse("filter-value", f"{kind} {value!r} is ignored: {complaint}")

    def add_rib_period_filter(self, *args: Any, **kwargs: Any) -> None:
        """Set the RIB period filter for the current stream."""
        refuse_keywords(kwargs, "add_rib_period_filter")
        (period,) = parse_arguments(args, "I")
        if not self._ignore_after_start("add_rib_period_filter"):
            self._state.filters.rib_period = period

    def add_interval_filter(self, *args: Any, **kwargs: Any) -> None:
        """Add an interval filter to an un-started stream."""
        refuse_keywords(kwargs, "add_interval_filter")
        begin, end = parse_arguments(args, "II")
        if not self._ignore_after_start("add_interval_filter"):
            self._state.live = self._state.live or end == 0
            self._state.filters.interval = (begin, end)

    def add_recent_interval_filter(self, *args: Any, **kwargs: Any) -> None:
        """Add a recentinterval filter to an un-started stream."""
        refuse_keywords(kwargs, "add_recent_interval_filter")
        text, live = parse_arguments(args, "si")
        if self._ignore_after_start("add_recent_interval_filter"):
            return
        match = re.fullmatch(r"\s*([0-9]+)\s*([smhd])", text)
        if match is None:
            log.print_complaint("Failed to determine suitable time interval")
            log.note_misuse(
                "filter-value", f"recent interval {text!r} is ignored; write a number and s, m, h or d, as in '2 h'"
            )
            return
        now = int(log.get_now())
        self._state.live = self._state.live or bool(live & 0xFF)
        begin = (now - int(match[1]) * _UNITS[match[2]]) & 0xFFFFFFFF
        self._state.filters.interval = (begin, 0 if live & 0xFF else now)

    def get_data_interfaces(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Get a list of data interfaces available"""
        refuse_keywords(kwargs, "get_data_interfaces")
        refuse_arguments(args, "get_data_interfaces")
        return [{"id": i.id, "name": i.name, "description": i.description} for i in interfaces.INTERFACES]

    def set_data_interface(self, *args: Any, **kwargs: Any) -> None:
        """Set the data interface used to discover dump files"""
        refuse_keywords(kwargs, "set_data_interface")
        interface = self._find_interface(*parse_arguments(args, "s"))
        if not self._ignore_after_start("set_data_interface"):
            self._state.interface = interface

    def get_data_interface_options(self, *args: Any, **kwargs: Any) -> list[dict[str, str]]:
        """Get a list of options available for the given data interface"""
        refuse_keywords(kwargs, "get_data_interface_options")
        options = self._find_interface(*parse_arguments(args, "s")).options
        return [{"name": name, "description": description} for name, description in options]

    def set_data_interface_option(self, *args: Any, **kwargs: Any) -> None:
        """Set a data interface option"""
        refuse_keywords(kwargs, "set_data_interface_option")
        name, option, value = parse_arguments(args, "sss")
        known = [known for known, _ in self._find_interface(name).options]
        if option not in known:
            log.note_misuse("interface-option", f"{name} has no option {option!r}; its options are {', '.join(known)}")
            raise ValueError(f"Invalid data interface option: {option}")
        if not self._ignore_after_start("set_data_interface_option"):
            self._state.options.setdefault(name, {})[option] = value

    def set_live_mode(self, *args: Any, **kwargs: Any) -> None:
        """Enable live mode"""
        refuse_keywords(kwargs, "set_live_mode")
        refuse_arguments(args, "set_live_mode")
        if not self._ignore_after_start("set_live_mode"):
            self._state.live = True

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the BGPStream."""
        refuse_keywords(kwargs, "start")
        refuse_arguments(args, "start")
        state = self._state
        if self._ignore_after_start("start"):
            return
        problem = interfaces.find_refusal(state.interface, state.options.get(state.interface.name, {}))
        begin, end = state.filters.interval or (0, 0)
        if end and begin > end:
            problem = f"Interval {begin},{end} is invalid"
        if problem:
            log.print_complaint(problem)
            log.note_misuse("start-failed", f"{state.interface.name}: {problem}")
            raise RuntimeError("Could not start stream")
        state.consumed = stream_start.Consumption()
        state.records = stream_start.start_stream(state, state.consumed.counts)

    def get_next_record(self, *args: Any, **kwargs: Any) -> BGPRecord | None:
        """Get the next BGPStreamRecord from the stream, or None if end-of-stream has been reached"""
        refuse_keywords(kwargs, "get_next_record")
        state = self._state
        if state.records is None or state.consumed is None:
            raise RuntimeError(_NO_RECORD)
        try:
            record = next(state.records, None)
        except (DumpOpenError, interfaces.InterfaceError) as error:
            state.consumed.write(False)
            log.note_remark("no-data", f"{state.interface.name}: {error}")
            raise RuntimeError(_NO_RECORD) from None
        if record is not None:
            state.consumed.records += 1
            return seal_record(record, state.consumed)
        if not state.consumed.written:
            stream_start.end_stream(state, state.consumed)
        return None

    def _find_interface(self, name: str) -> interfaces.DataInterface:
        if name not in interfaces.BY_NAME:
            log.note_misuse("interface", f"unknown data interface {name!r}; known are {', '.join(interfaces.BY_NAME)}")
            raise ValueError(f"Invalid data interface: {name}")
        return interfaces.BY_NAME[name]

    def _ignore_after_start(self, method: str) -> bool:
        """Whether the stream has already started. If so, note that the call has no effect."""
        late = self._state.records is not None
        if late:
            log.print_complaint(f"{method}() after the start of the stream has no effect", "WARNING")
            log.note_misuse("after-start", f"{method}() after the start of the stream has no effect")
        return late

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        refuse_pickling(self)

    def __getattr__(self, name: str) -> NoReturn:
        report_missing_attribute("stream", name, "_pybgpstream.BGPStream", self)

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            self.__getattr__(name)
        log.note_misuse("assigned-attribute", f"stream.{name} = ... replaces a method instead of calling it")
        raise AttributeError(f"'_pybgpstream.BGPStream' object attribute '{name}' is read-only", name=name, obj=self)
