"""Run analysis code against the replay network: try what a model wrote, without collectors, captures or a 5G core.

Reads  a script (.py), or an answer of a model (any other text: its fenced Python blocks)
Writes .scratch/replay/NAME/work/   the script's working directory, with everything it wrote
Run    python -m stages.replay script.py
       python -m stages.replay answer.md --scenario route_leak --seed 7
       python -m stages.replay --list

The script finds `pybgpstream` on its path (data interfaces broker, singlefile and csvfile over the chosen scenario)
and, in its working directory, mrt/, index.csv, capture.pcap, a .pcap per capture and a .csv per set of measurements.

The code runs with your rights: no sandbox keeps it from your files or the network. Read it first.
"""

import argparse
import shutil
import sys
from pathlib import Path

from stages.core.errors import StageError, run_stage
from stages.core.files import read_text, scratch, write_text
from stages.network.build import built
from stages.network.captures.write import CAPTURES
from stages.network.internet.scenarios import ROUTING
from stages.network.measurements.write import MEASUREMENTS
from stages.network.running import CAPTURE, SCENARIO, Run, furnish, run_script
from stages.selfinstruct.filters import FENCE

TIMED_OUT = 124  # the exit status of coreutils' timeout


def catalogue() -> str:
    """The names to choose from, a line each."""
    lines = []
    for title, known in (
        ("--scenario: what the BGP collectors saw", ROUTING),
        ("--capture: what capture.pcap holds (all of them are there as NAME.pcap)", CAPTURES),
        ("measurements, as NAME.csv", MEASUREMENTS),
    ):
        lines += [title, *(f"  {name:16} {text}" for name, text in known.items()), ""]
    return "\n".join(lines).rstrip()


def code_of(answer: Path) -> str:
    """The fenced Python blocks of a model's answer, one after the other."""
    blocks = [code for language, code in FENCE.findall(read_text(answer)) if language.lower() in ("python", "py")]
    if not blocks:
        raise StageError(f"{answer}: no ```python block in it; give a file that ends in .py to run it as it is")
    return "\n\n".join(blocks)


def summary(run: Run, work: Path) -> str:
    """How the script ended, what it read from the streams, what it misused and what it wrote."""
    end = "time is up" if run.exit_code is None else f"exit {run.exit_code}"
    lines = [f"{end} after {run.seconds:.1f} s"]
    streams, records, elems = run.consumed()
    if run.log:
        lines.append(f"pybgpstream: {streams} streams, {records:,} records, {elems:,} elements read")
    if run.misuses():
        lines.append("misuse:")
        lines += [f"  line {event['line'] or '?'}: {event['what']}: {event['detail']}" for event in run.misuses()]
    if run.files:
        lines.append(f"written in {work}:")
        lines += [f"  {path.relative_to(work)} ({path.stat().st_size:,} bytes)" for path in run.files]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m stages.replay"
    )
    parser.add_argument("script", nargs="?", type=Path, help="a .py file, or a text with fenced Python blocks")
    parser.add_argument("--list", action="store_true", help="what there is to run against")
    parser.add_argument("--scenario", default=SCENARIO, choices=ROUTING, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--capture", default=CAPTURE, choices=CAPTURES, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--seed", default=1, type=int, help="another network of the same kind (default: %(default)s)")
    parser.add_argument("--timeout", default=120.0, type=float, metavar="SECONDS", help="default: %(default)g")
    arguments = parser.parse_args()
    if arguments.list:
        return print(catalogue())
    if arguments.script is None:
        parser.error("which script? (--list says what there is to run it against)")
    script: Path = arguments.script
    code = read_text(script) if script.suffix == ".py" else code_of(script)
    network = built(scratch("network"), arguments.seed)
    place = scratch("replay") / script.stem
    shutil.rmtree(place, ignore_errors=True)
    work = place / "work"
    work.mkdir(parents=True)
    furnish(work, network, arguments.scenario, arguments.capture)
    if script.suffix != ".py":
        script = place / f"{script.stem}.py"
        write_text(script, code)
    run = run_script(script, work, place, arguments.timeout, show=True)
    print(f"--\n{summary(run, work)}")
    print(f"what there was to find: {network / 'routing' / arguments.scenario / 'truth.json'}")
    print(f"  captures, measurements: {network}/{{captures,measurements}}/NAME.json")
    if run.exit_code != 0:
        sys.exit(TIMED_OUT if run.exit_code is None else run.exit_code % 256)


if __name__ == "__main__":
    run_stage(main)
