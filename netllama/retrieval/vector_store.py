"""Keeps the vector of each text that was ever encoded, by the text's hash: a text is encoded once.

The file is a row of records, only ever appended to: SHA-256 of the text, CRC-32 of the vector, vector. Several
processes may use it: each takes a lock to append. A record that a killed process left unfinished is cut off, a damaged
one is passed over, and its text encoded again.
"""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from netllama.core.file_errors import name_file
from netllama.core.locks import hold_lock

AT_A_TIME = 256
"""Texts that are encoded before their vectors are written."""
SHOWN_FROM = 1000
"""Texts that are worth a progress bar."""
Encode = Callable[[Sequence[str]], NDArray[np.float32]]


class VectorStore:
    """The vectors that one encoder made, `size` float32 numbers each, in the file `path`."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._record = np.dtype([("key", "u1", 32), ("checksum", "<u4"), ("vector", "<f4", size)])

    def encode_missing(self, texts: Sequence[str], encode: Encode) -> NDArray[np.float32]:
        """(texts, size): the vector of each text; those that are not stored are made by `encode`, and stored."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        known = self._read()
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        items = list(missing.items())
        with tqdm(total=len(items), desc="vectors", unit="text", disable=len(items) < SHOWN_FROM) as bar:
            for start in range(0, len(items), AT_A_TIME):
                some = dict(items[start : start + AT_A_TIME])
                vectors = encode(list(some.values()))
                self._append(list(some), vectors)
                known.update(zip(some, vectors, strict=True))
                bar.update(len(some))
        size = self._record["vector"].shape[0]
        return np.stack([known[key] for key in keys]) if keys else np.empty((0, size), np.float32)

    def _read(self) -> dict[bytes, NDArray[np.float32]]:
        if not self._path.exists():
            return {}
        whole = self._path.stat().st_size // self._record.itemsize
        records = np.fromfile(self._path, self._record, whole)
        return {
            record["key"].tobytes(): record["vector"]
            for record in records
            if zlib.crc32(record["vector"].tobytes()) == record["checksum"]
        }

    def _append(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        records = np.empty(len(keys), self._record)
        records["key"] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 32)
        records["checksum"] = [zlib.crc32(vector.tobytes()) for vector in vectors]
        records["vector"] = vectors
        with (
            hold_lock(self._path.with_suffix(".lock"), f"writes {self._path}"),
            name_file(self._path),
            open(self._path, "ab") as file,
        ):
            file.truncate(file.tell() // self._record.itemsize * self._record.itemsize)
            file.write(records.tobytes())
