"""A seed -> everything there is to run code against, in one folder that is built once and kept.

    routing/SCENARIO/   index.csv, mrt/, truth.json     (internet/archive.py)
    captures/           NAME.pcap, NAME.json            (captures/write.py)
    measurements/       NAME.csv, NAME.json             (measurements/write.py)

Nothing of it is in git: it is a pure function of the seed and of the code of this room.
"""

import hashlib
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from netllama.core import files
from netllama.core.files import atomic_path
from testbed.captures.capture_files import CAPTURES, write_capture
from testbed.internet.archive import write_archive
from testbed.internet.scenarios import ROUTING
from testbed.measurements.measurement_files import MEASUREMENTS, write_measurements

ROOM = Path(__file__).parent
CODE = [ROOM / "network.py", *(ROOM / part for part in ("internet", "captures", "measurements")), Path(files.__file__)]
"""What decides the bytes: this room but for the replay module and the running of scripts, and how files are written."""


def build(folder: Path, seed: int) -> None:
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


def built(cache: Path, seed: int) -> Path:
    """The folder of `seed` in `cache`: built where it is missing or was written by other code."""
    folder = cache / f"{seed}-{code_hash()[:12]}"
    if not folder.is_dir():
        for stale in cache.glob(f"{seed}-*"):
            shutil.rmtree(stale)
        with atomic_path(folder) as temporary:
            build(temporary, seed)
    return folder


def code_hash() -> str:
    """SHA-256 of CODE, and of the versions of Python and Scapy."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {version('scapy')}".encode())
    for entry in CODE:
        for path in sorted(entry.rglob("*.py")) if entry.is_dir() else [entry]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
