"""How many cores this process may use."""

import os
import subprocess
import sys

import pytest

from tests.support.clones import ROOT

COUNT = "from netllama.core.cores import count_cores\nprint(count_cores())"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process can't be bound to cores here")
def test_a_process_that_is_bound_to_one_core_has_one() -> None:
    bound = f"import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n{COUNT}"
    counted = subprocess.run([sys.executable, "-c", bound], cwd=ROOT, capture_output=True, text=True, check=True)
    assert counted.stdout == "1\n"
