"""The Python of an answer, run on the replay network: which rung it reaches, what it prints, what it writes."""

from pathlib import Path

from netllama.asking.columns import clean_text
from netllama.code_tasks.code_answers import Outcome, describe_failure, run_code
from netllama.code_tasks.code_extraction import extract_code
from netllama.code_tasks.code_ladder import CodeVerdict, Rung, judge_run, parse_code
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from testbed.run_folders import open_run_folder
from testbed.run_summary import summarise_run

HIGHEST = Rung.TOUCHED_DATA
"""What a script can show where no right result is known to compare its own with."""
LINES, WIDTH = 30, 400
"""Of what a script printed, and of each line: as many are shown."""
_SCENARIO = ""


def try_script(answer: str, sandbox: Sandbox, network: Path, limits: Limits, cache: Path) -> str:
    """Runs the script in a model's answer in a folder of its own in `cache`; what came of it, in lines."""
    code = extract_code(answer)
    tree = parse_code(code)
    if isinstance(tree, CodeVerdict):
        return _describe_verdict(tree)
    with open_run_folder(cache, "answer") as folder:
        run = run_code(code, _SCENARIO, network, folder, sandbox, limits)
        verdict = judge_run(tree, Outcome(run, None, describe_failure(run)))
        parts = [_describe_verdict(verdict), summarise_run(run, folder / "script.py", folder / "cwd")]
    for title, text in (("printed", run.stdout), ("errors", run.stderr)):
        if text.strip():
            parts.append(f"{title}:\n{_shorten_output(text)}")
    return "\n".join(parts)


def _describe_verdict(verdict: CodeVerdict) -> str:
    rung = min(verdict.rung, HIGHEST)
    name = rung.name.lower().replace("_", " ")
    line = f"its script reached: {name} (rung {rung:d} of {HIGHEST:d})"
    if rung == HIGHEST:
        return f"{line}; whether its result is right is not known here"
    return f"{line}; {verdict.failure.value}: {clean_text(verdict.detail)}"


def _shorten_output(text: str) -> str:
    """The last lines, where the error is, each indented."""
    lines = clean_text(text.rstrip()).split("\n")
    left_out = [f"  [{len(lines) - LINES} lines before these]"] if len(lines) > LINES else []
    return "\n".join(left_out + [f"  {line[:WIDTH]}" for line in lines[-LINES:]])
