"""What all processes of a checkout have paid and may still have to pay for one stage's answers: max_usd caps the sum.

    NAME.jsonl   a row for each answer that was paid for: by which run, its request, US dollars
    NAME/        a file for each run under way: the dollars that it has reserved, by what for; it holds a lock on it

The system drops the lock of a run that ends, even if it was killed: then its reservations count no longer.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

from netllama.core.errors import StageError
from netllama.core.file_errors import name_file
from netllama.core.files import dump_canonical_json
from netllama.core.locks import hold_lock


@dataclass(frozen=True)
class Payment:
    """One row of NAME.jsonl."""

    run: str
    key: str
    """Of the request; empty: the answer was lost on the way."""
    max_tokens: int
    usd: Decimal


class Spending:
    """The payments of all runs, and the reservations of this one and of others under way."""

    def __init__(self, folder: Path, name: str) -> None:
        self.run = f"{os.getpid()}-{secrets.token_hex(8)}"
        self.payments: list[Payment] = []
        """Those read so far, this run's own included."""
        self.known: set[tuple[str, int]] = set()
        """The answers (key, max_tokens) that `payments` are for."""
        self._paid = folder / f"{name}.jsonl"
        self._runs = folder / name
        self._end = 0
        self._own: BinaryIO | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock all other runs out, and read what they have paid meanwhile."""
        self._runs.mkdir(parents=True, exist_ok=True)
        with hold_lock(self._paid.with_suffix(".lock"), f"reads or writes {self._paid}"):
            self._read_new_payments()
            yield

    def pay(self, key: str, max_tokens: int, usd: Decimal) -> None:
        """Append a payment of this run. The caller is alone."""
        row = {"run": self.run, "key": key, "max_tokens": max_tokens, "usd": str(usd)}
        line = (dump_canonical_json(row) + "\n").encode()
        with name_file(self._paid), open(self._paid, "ab") as file:
            file.write(line)
        self._end += len(line)
        self._remember(Payment(self.run, key, max_tokens, usd))

    def reserve(self, reserved: dict[str, Decimal]) -> None:
        """Replace this run's reservations. The caller is alone."""
        if self._own is None:
            self._own = open(self._runs / self.run, "w+b")  # noqa: SIM115 (its lock ends when it is closed)
            fcntl.flock(self._own, fcntl.LOCK_EX)
        with name_file(self._runs / self.run):
            self._own.seek(0)
            self._own.truncate()
            self._own.write(json.dumps({name: str(usd) for name, usd in reserved.items() if usd}).encode())
            self._own.flush()

    def list_reserved(self) -> dict[str, Decimal]:
        """What other runs under way have reserved. The caller is alone. Deletes the files of those that have ended."""
        reserved: dict[str, Decimal] = {}
        for path in self._runs.iterdir():
            if path.name == self.run:
                continue
            with open(path, "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Two runs may wait for one batch of the provider: it counts once.
                    reserved |= {name: Decimal(usd) for name, usd in json.loads(file.read() or b"{}").items()}
                else:
                    path.unlink()
        return reserved

    def close(self) -> None:
        """Give up this run's reservations."""
        if self._own is not None:
            with contextlib.suppress(FileNotFoundError):
                (self._runs / self.run).unlink()
            self._own.close()
            self._own = None

    def _remember(self, payment: Payment) -> None:
        self.payments.append(payment)
        if payment.key:
            self.known.add((payment.key, payment.max_tokens))

    def _read_new_payments(self) -> None:
        """Load the rows that were appended since, and cut off one that a killed run left incomplete."""
        if not self._paid.exists():
            return
        with open(self._paid, "r+b") as file:
            file.seek(self._end)
            data = file.read()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                file.truncate(self._end + whole)
        for line in data[:whole].splitlines():
            try:
                row = json.loads(line)
                usd = Decimal(row["usd"])
                if not usd.is_finite():
                    raise ValueError(usd)
                self._remember(Payment(str(row["run"]), str(row["key"]), int(row["max_tokens"]), usd))
            except (ValueError, ArithmeticError, KeyError, TypeError, RecursionError):
                raise StageError(
                    f"{self._paid}: {line[:80].decode(errors='replace')!r} is not a payment; remove the line"
                ) from None
        self._end += whole
