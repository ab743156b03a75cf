"""Runs scripts one after another in this process, each in an empty folder and with names of its own.

`python example_runner.py`: a JSON list of scripts on stdin; on stdout, for each, [what it printed, its error or ""].
"""

import contextlib
import io
import json
import sys
import tempfile
import warnings


def run_script(script: str) -> tuple[str, str]:
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        try:
            exec(compile(script, "example", "exec"), {"__name__": "__main__"})
        except (Exception, SystemExit) as error:
            return printed.getvalue(), repr(error)
    return printed.getvalue(), ""


if __name__ == "__main__":
    warnings.simplefilter("error", FutureWarning)  # what the next version of a library no longer has
    warnings.simplefilter("error", SyntaxWarning)
    print(json.dumps([run_script(script) for script in json.load(sys.stdin)]))
