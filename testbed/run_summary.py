"""A finished run in a few lines: how it ended, what it read from streams, which calls it misused, what it wrote."""

from pathlib import Path
from typing import Any

from testbed.script_runner import ScriptRun


def summarise_run(run: ScriptRun, script: Path, work: Path) -> str:
    """How the script ended, what it read from streams, which API calls it misused, and which files it changed."""
    lines = [f"{run.describe_end()} after {run.seconds:.1f} s"]
    if run.network:
        lines += ["it tried to reach what is outside:", *(f"  {attempt}" for attempt in run.network)]
    if run.unreadable:
        lines.append(f"the script wrote into the replay's log: lines that are no events: {run.unreadable:,}")
    if run.select_events("stream"):
        lines += _describe_streams(run)
    for title, events in (
        ("misuse", run.find_misuses()),
        ("noted", run.select_events("note") + run.find_handled_misuses()),
    ):
        if events:
            lines += [f"{title}:", *(f"  {_locate_event(event, script)}: {event['detail']}" for event in events)]
    if run.files:
        lines.append(f"written in {work}:")
        lines += [f"  {_quote_path(path, work)} ({path.lstat().st_size:,} bytes)" for path in run.files]
    if run.removed:
        lines += ["removed:", *(f"  {_quote_path(path, work)}" for path in run.removed)]
    return "\n".join(lines)


def _describe_streams(run: ScriptRun) -> list[str]:
    streams, (records, elems) = run.select_events("stream"), run.count_consumed()
    lines = [f"pybgpstream: streams: {len(streams)}, records read: {records:,}, elements read: {elems:,}"]
    uncounted = len(streams) - len(run.select_events("consumed"))
    if uncounted > 0:
        lines.append(f"  streams not counted, still open when the script was stopped: {uncounted}")
    for shift, collectors in dict.fromkeys((each["shift"], tuple(each["collectors"].items())) for each in streams):
        replaced = [f"{own} stands in for {asked}" for asked, own in collectors if asked != own]
        facts = [f"times are shifted by {shift:+d} s against truth.json"] * (shift != 0) + replaced
        if facts:
            lines.append(f"  {'; '.join(facts)}")
    return lines


def _locate_event(event: dict[str, Any], script: Path) -> str:
    return f"line {event['line']}" if event["file"] == script.name else f"{event['file']}:{event['line']}"


def _quote_path(path: Path, work: Path) -> str:
    """The path within `work`, escaped if it could send control characters to the terminal."""
    name = str(path.relative_to(work))
    return name if name.isprintable() else ascii(name)
