"""What a series of planted faults came to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FaultRecord:
    """One line of the table that `python -m bench.faults` prints."""

    name: str
    tried: int
    held: int
    failed: int
