"""What of an output is Python that is run, and what is left alone."""

import pytest

from netllama.code_checks.output_code import find_python
from tests.support.shipped_data import load_shipped_seeds

CODE = "import pandas as pd\nprint(pd.__version__)\n"


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (f"So:\n```python\n{CODE}```\nDone.", CODE),
        (f"```py\n{CODE}```\nThen\n```python\nprint(2)\n```", f"{CODE}\n\nprint(2)\n"),
        (f"```python\n{CODE}```\n```\nimport this\n```", CODE),
        (f"```\n{CODE}```", CODE),
        ("```\nfrom x import (\n    y,\n)\n```", "from x import (\n    y,\n)\n"),
        (f"The script:\n\n{CODE}", CODE),
        ("```\nrouter bgp 64500\n```", ""),
        ("```bash\npip install pybgpstream\n```", ""),
        ("Import the data from route-views2, then import them again.", ""),
        ("import routes from the other table", ""),
        ("Use `elem.fields`, which is a dict.", ""),
        ("", ""),
    ],
)
def test_python_is_what_is_labelled_so_or_imports_something(output: str, code: str) -> None:
    assert find_python(output) == code


def test_of_the_seed_tasks_only_labelled_blocks_are_python() -> None:
    for seeds in load_shipped_seeds().values():
        for seed in seeds:
            assert bool(find_python(seed.output)) == ("```python" in seed.output), seed.id


def test_a_long_line_takes_one_pass() -> None:
    assert find_python("import " + "a-" * 200_000) == ""
    assert find_python("import a" + " " * 200_000 + "!") == ""
