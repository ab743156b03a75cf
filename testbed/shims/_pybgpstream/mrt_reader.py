"""Reads the MRT records of a dump file (plain, gzip or bzip2) as a stream: RFC 6396 sections 2 and 3.

The first bytes tell the compression, not the name. At most one chunk and one record are held in memory.
"""

import bz2
import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

TABLE_DUMP, TABLE_DUMP_V2, BGP4MP, BGP4MP_ET = 12, 13, 16, 17

DumpFile = gzip.GzipFile | bz2.BZ2File | io.BufferedReader
MrtRecord = tuple[int, int, int, int, bytes]
"""(seconds, microseconds, type, subtype, body without the microseconds of an extended timestamp)."""

LONGEST = 1 << 20
"""Octets of the longest record: like the library, whose buffer is limited, treat a longer one as corruption."""

_CHUNK = 1 << 18
_header = struct.Struct(">IHHI")


class DumpError(Exception):
    """The rest of a dump cannot be read."""

    def __init__(self, message: str, level: str = "ERROR", status: str = "corrupted-record") -> None:
        super().__init__(message)
        self.level, self.status = level, status


def open_dump(path: str | Path) -> DumpFile:
    """Open a dump for reading. OSError if it cannot be opened."""
    file = open(path, "rb")  # noqa: SIM115
    try:
        magic = file.peek(3)[:3]
    except OSError:
        file.close()
        raise
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)
    if magic == b"BZh":
        return bz2.BZ2File(file)
    return file


def read_records(file: DumpFile) -> Iterator[MrtRecord]:
    """The records of an open dump. If the file is cut short or damaged, DumpError after the last good record."""
    pending = b""
    unpack = _header.unpack_from
    while chunk := _read_chunk(file):
        data = pending + chunk if pending else chunk
        position, end = 0, len(data)
        while end - position >= 12:
            seconds, kind, subtype, length = unpack(data, position)
            stop = position + 12 + length
            if stop > end:
                if length > LONGEST:
                    raise DumpError(f"Failed to parse message: a record of {length} octets")
                break
            if kind == BGP4MP_ET:
                if length < 4:
                    raise DumpError("Failed to parse message: no extended timestamp")
                microseconds = int.from_bytes(data[position + 12 : position + 16], "big")
                yield seconds, microseconds, BGP4MP, subtype, data[position + 16 : stop]
            else:
                yield seconds, 0, kind, subtype, data[position + 12 : stop]
            position = stop
        pending = data[position:]
    if pending:
        raise DumpError("Unexpected EOF. Input file potentially truncated or corrupted.", "WARNING")


def _read_chunk(file: DumpFile) -> bytes:
    try:
        return file.read1(_CHUNK)
    except EOFError:
        raise DumpError("Unexpected EOF. Input file potentially truncated or corrupted.", "WARNING") from None
    except (OSError, zlib.error):
        raise DumpError("Could not refill buffer", status="corrupted-source") from None
