"""A replay of PyBGPStream's low-level module over local MRT files.

Scripts written for PyBGPStream 2.0.4 run against it unchanged: put the folder above this package on PYTHONPATH.
Behaviour, error types and messages are those of pybgpstream 2.0.4 and libbgpstream 2.x
(https://bgpstream.caida.org/docs/api/pybgpstream, libbgpstream's FILTERING); the code is this project's own.

The broker is virtual. The environment variable PYBGPSTREAM_REPLAY names a JSON file:

    {"archive": folder that holds index.csv (columns of the csvfile interface, paths relative to the folder),
     "log": file that events are appended to, or null,
     "now": Unix seconds that count as now, or null for the clock}

All times of the archive are shifted by a constant, so that its first second is the first second asked for. The first
stream with updates decides it for the script's later streams that begin in the hour after: windows follow one another.

The log has one JSON object a line, each written when it happens (sorted keys):

    {"event": "stream", "interface", "from", "until" (0: no end), "live" (true: what is live in the library is a
     finite replay here), "shift" (seconds added to the archive's times), "filters": what was asked,
     "collectors": {name asked for: name in the archive}}                                 when a stream starts
    {"event": "misuse", "what", "detail", "file", "line"}     file and line of the script; each once a place and detail
    {"event": "note", "what", "detail", "file", "line"}       what is no misuse: a stream that gave nothing
    {"event": "consumed", "records", "elems" (that the script took), "looked_at" (elements read before the element
     filters), "complete": true at the end of the stream, false at the exit of a script that stopped before}

`what` of a misuse is one of: unknown-argument, filter-string, filter-value, filter-type, interface, interface-option,
not-a-list, not-a-time, unknown-collector, unknown-project, record-type, unknown-attribute, missing-field,
removed-api (version 1's), after-start, assigned-attribute, start-failed; of a note: no-data, nothing-matched. Without a
log nothing is written, and a log that cannot be written disturbs no script.
"""

from .elements import BGPElem, BGPRecord
from .stream import BGPStream

__all__ = ["BGPElem", "BGPRecord", "BGPStream"]
