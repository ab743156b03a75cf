"""A seed -> everything there is to run code against, in one folder that is built once and kept.

    routing/SCENARIO/   index.csv, mrt/, truth.json     (internet/archive.py)
    captures/           NAME.pcap, NAME.json            (captures/capture_files.py)
    measurements/       NAME.csv, NAME.json             (measurements/measurement_files.py)

Nothing of it is in git: it is a pure function of the seed and of the code of this room.
"""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from netllama.core import files
from netllama.core.files import atomic_path
from netllama.core.kept_folders import find_damage, record_hashes
from netllama.core.locks import hold_lock
from testbed.captures.capture_files import CAPTURES, write_capture
from testbed.internet.archive import write_archive
from testbed.internet.scenarios import ROUTING
from testbed.measurements.measurement_files import MEASUREMENTS, write_measurements

ROOM = Path(__file__).parent
PARTS = [ROOM / part for part in ("internet", "captures", "measurements")]
"""What makes the data."""
CODE = [ROOM / "network.py", *PARTS, Path(files.__file__)]
"""What decides the bytes: this room but for the replay module and the running of scripts, and how files are written."""
DAYS_KEPT = 7
"""How long networks built by other code are kept after their last use: runs of another branch may need them."""


def build_network(folder: Path, seed: int) -> None:
    """Write all scenarios, captures and measurements of `seed` into a new `folder`."""
    captures, measurements = folder / "captures", folder / "measurements"
    captures.mkdir(parents=True)
    measurements.mkdir()
    with tqdm(total=len(ROUTING) + len(CAPTURES) + len(MEASUREMENTS), desc="network", unit="part") as bar:
        for name in ROUTING:
            scenario = folder / "routing" / name
            scenario.mkdir(parents=True)
            write_archive(name, seed, scenario)
            bar.update()
        for name in CAPTURES:
            write_capture(name, seed, captures)
            bar.update()
        for name in MEASUREMENTS:
            write_measurements(name, seed, measurements)
            bar.update()


def ensure_network(cache: Path, seed: int) -> Path:
    """The folder of `seed` in `cache`; built first if it is missing, damaged or was built by other code.

    If several processes need it at once, one builds it and the others wait. Networks built by other code, and what
    killed processes left half-built, are deleted when nobody has used them for `DAYS_KEPT` days.
    """
    folder = cache / f"{seed}-{code_hash()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with hold_lock(cache / f"{seed}.lock", f"builds network {seed} in {cache}"):
        if damage := find_damage(folder):
            if folder.is_dir():
                print(f"{folder}: {damage}; the network is built again", flush=True)
            with atomic_path(folder) as temporary:
                build_network(temporary, seed)
                record_hashes(temporary)
        os.utime(folder)
        for other in [*cache.glob(f"{seed}-*"), *cache.glob(f".{seed}-*")]:
            if other.stat().st_mtime < time.time() - DAYS_KEPT * 86400:
                shutil.rmtree(other)
    return folder


def code_hash() -> str:
    """SHA-256 of CODE, and of the versions of Python and Scapy."""
    return hash_code(CODE, f"{sys.version_info[:2]} {version('scapy')}")


def hash_code(entries: Sequence[Path], beside: str = "") -> str:
    """SHA-256 of Python files and of those in folders, and of `beside`."""
    digest = hashlib.sha256(beside.encode())
    for entry in entries:
        for path in sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
