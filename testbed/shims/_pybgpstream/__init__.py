"""A replay of PyBGPStream's low-level module over local MRT files.

Scripts written for PyBGPStream 2.0.4 run against it unchanged: put the folder above this package on PYTHONPATH.
Behaviour, error types and messages are those of pybgpstream 2.0.4 and libbgpstream 2.x
(https://bgpstream.caida.org/docs/api/pybgpstream, libbgpstream's FILTERING); the code was written for this project.

The broker is virtual. The environment variable PYBGPSTREAM_REPLAY names a JSON file:

    {"archive": folder with index.csv (columns as in the csvfile interface, paths relative to the folder),
     "log": file that events are appended to, or null,
     "now": Unix time to take for the current time, or null to use the clock}

The times of the archive are shifted by a constant, so that its first second becomes the first second of the window that
the script asks for. A script's first stream with updates sets the shift. Later streams that begin within the archive's
shifted hour keep it, so that a script can ask for consecutive windows.

The log has one JSON object per line (sorted keys), written as soon as the event happens:

    {"event": "stream", "interface", "from", "until" (0: no end), "live" (true: a stream that would be live in the
     library; here it is a finite replay), "shift" (seconds added to the archive's times), "filters": those set,
     "collectors": {name asked for: name in the archive}}                                 when a stream starts
    {"event": "misuse", "what", "detail", "file", "line"}     file and line of the script; each place and detail once
    {"event": "note", "what", "detail", "file", "line"}       not a misuse: a stream that gave nothing
    {"event": "consumed", "records", "elems" (taken by the script), "looked_at" (elements read, before the element
     filters), "complete": true at the end of the stream, false if the script exited before}

`what` of a misuse is one of: unknown-argument, filter-string, filter-value, filter-type, interface, interface-option,
not-a-list, not-a-time, unknown-collector, unknown-project, unknown-router, record-type, unknown-attribute,
missing-field, removed-api (of version 1), after-start, assigned-attribute, start-failed; of a note: no-data,
nothing-matched. Without a log nothing is written. If the log cannot be written, the script runs on without it.
"""

from .elements import BGPElem, BGPRecord
from .stream import BGPStream

__all__ = ["BGPElem", "BGPRecord", "BGPStream"]
