"""Run analysis code against the replay network: try what a model wrote, without collectors, captures or a 5G core.

Reads  a script (.py), or a model's answer (any other text: its fenced Python blocks)
Writes .scratch/replay/NAME-RANDOM/cwd/   the script's working directory, with everything it wrote
Run    python -m commands.replay script.py
       python -m commands.replay answer.md --scenario route_leak --seed 7
       python -m commands.replay script.py -- rrc00 10            # what follows -- goes to the script
       python -m commands.replay --list

The script can import `pybgpstream` (data interfaces broker, singlefile and csvfile over the chosen scenario) and finds
mrt/, index.csv, capture.pcap, a .pcap per capture and a .csv per set of measurements in its working directory.

The code runs in a sandbox (netllama/sandbox), which the command describes; it has no hold of your terminal. --unsafe
runs a script that you have read without one: with your rights, and beside the modules that lie in its own folder.

The exit code is the script's; 124 if its time was up, 137 if memory, output or disk ended it, 128 + N for signal N.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from netllama.core.cores import count_cores
from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, read_text, write_text
from netllama.core.markdown import extract_python_blocks, extract_unlabelled_blocks
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox_choice import find_sandbox
from testbed.captures.capture_files import CAPTURES
from testbed.internet.scenarios import ROUTING
from testbed.measurements.measurement_files import MEASUREMENTS
from testbed.network import ensure_network
from testbed.run_folders import KEPT, open_run_folder
from testbed.run_summary import summarise_run
from testbed.script_runner import CAPTURE, SCENARIO, furnish_folder, run_script

TIMED_OUT = 124  # the exit status of coreutils' timeout
LIMITED = 137  # 128 + SIGKILL, as of what the kernel kills for its memory
STOPPED = 143  # 128 + SIGTERM
INTERRUPTED = 130
LONGEST_NAME = 60


def format_catalogue() -> str:
    """All scenarios, captures and measurements, one line each."""
    lines = []
    for title, known in (
        ("--scenario: what the BGP collectors saw", ROUTING),
        ("--capture: what capture.pcap holds (all of them are there as NAME.pcap)", CAPTURES),
        ("measurements, as NAME.csv", MEASUREMENTS),
    ):
        lines += [title, *(f"  {name:16} {text}" for name, text in known.items()), ""]
    return "\n".join(lines).rstrip()


def extract_code(answer: Path) -> str:
    """The fenced Python blocks of a model's answer, joined; if it has none, its blocks without a language."""
    text = read_text(answer)
    if blocks := extract_python_blocks(text) or extract_unlabelled_blocks(text):
        return "\n\n".join(blocks)
    problem = "its last code block has no closing ```" if text.count("```") % 2 else "has no ```python block"
    raise StageError(f"{answer}: {problem}; to run the file itself, rename it to end in .py")


def convert_exit_code(exit_code: int | None, ended: str) -> int:
    """The exit status by which a shell reports how the script ended (ScriptRun's `exit_code` and `ended`)."""
    if exit_code is None:
        return TIMED_OUT if ended.endswith("time") else STOPPED if ended == "stopped" else LIMITED
    return 128 - exit_code if exit_code < 0 else exit_code


def parse_seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command's own arguments, and in `arguments` the script's: all after the first `--`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.replay"
    )
    parser.add_argument("script", nargs="?", type=Path, help="a .py file, or any text with fenced Python blocks")
    parser.add_argument("--list", action="store_true", help="list all scenarios, captures and measurements")
    parser.add_argument("--scenario", default=SCENARIO, choices=ROUTING, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--capture", default=CAPTURE, choices=CAPTURES, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--seed", default=1, type=int, help="of the network (default: %(default)s)")
    parser.add_argument("--timeout", default=120.0, type=parse_seconds, metavar="SECONDS", help="default: %(default)g")
    parser.add_argument("--unsafe", action="store_true", help="no sandbox: for a script that you have read")
    own = list(arguments)
    scripts = own[own.index("--") + 1 :] if "--" in own else []
    given = parser.parse_args(own[: own.index("--")] if "--" in own else own)
    given.arguments = scripts
    if given.script is None and not given.list:
        parser.error("name a script, or use --list to see what it can run against")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    given = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    if given.list:
        return print(format_catalogue())
    script: Path = given.script
    code = read_text(script) if script.suffix == ".py" else extract_code(script)
    sandbox = find_sandbox(given.unsafe)
    print(sandbox.statement, file=sys.stderr)
    limits = Limits(wall_seconds=given.timeout, cpu_seconds=given.timeout * count_cores())
    network = ensure_network(ensure_scratch_folder("network"), given.seed)
    with open_run_folder(ensure_scratch_folder("replay"), script.stem[:LONGEST_NAME]) as place:
        work = place / "cwd"
        work.mkdir()
        furnish_folder(work, network, given.scenario, given.capture)
        if script.suffix != ".py":
            script = place / "answer.py"
            write_text(script, code)
        try:
            run = run_script(script, work, place, sandbox, limits, show=True, arguments=given.arguments)
        except KeyboardInterrupt:
            print(f"--\nstopped; its files are in {work}")
            sys.exit(INTERRUPTED)
        print(f"--\n{summarise_run(run, script, work)}")
    print(f"ground truth: {network / 'routing' / given.scenario / 'truth.json'}")
    print(f"  captures, measurements: {network}/{{captures,measurements}}/NAME.json")
    print(f"working folder: {work} (the last {KEPT} runs are kept)")
    sys.exit(convert_exit_code(run.exit_code, run.ended))


if __name__ == "__main__":
    run_stage(main)
