"""The script in an answer: the last closed block, or the lines of code in a text without one."""

import ast
import time

import pytest

from netllama.code_tasks.code_extraction import extract_code

CODE = "import json\n\ntotal = 0\nfor x in (1, 2):\n    total += x\nprint(total)\n"


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        (f"Here it is:\n```python\n{CODE}```\nIt prints 3.", CODE),
        (f"```py\nold = 1\n```\nBetter:\n```python\n{CODE}```", CODE),
        (f"```python\n{CODE}```\nIt prints\n```\n3\n```\n", CODE),
        (f"```python\n{CODE}```\nRun it:\n```bash\npython script.py\n```", CODE),
        (f"```\n{CODE}```", CODE),
        (f"```python\n{CODE}```\nAnd then\n```python\nimport os\n", CODE),
        ("1. First\n   ```python\n   x = 1\n   ```\n", "x = 1\n"),
        (f"```python\n{CODE}", CODE),
        (CODE, CODE),
        (f"The sum of two numbers:\n\n{CODE}\nThis script prints 3.", CODE),
        ("Use a loop.\n\nx = [\n    1,\n]\nprint(x)", "x = [\n    1,\n]\nprint(x)\n"),
        ("from a.b import (c,\n    d)\na, b = c(), d\nb['k'].x += 1\n", None),
        ("try:\n    import x\nexcept ImportError:\n    x = None\nelse:\n    x.y()\n", None),
        ("@cache\ndef f(x: int) -> int:\n    return x\n\n\nasync def g():\n    pass\n", None),
        ("The prefix is announced by two origin ASes.", ""),
        ("For each peer (there are two): count.\nfrom the dump of 08:00, take the origin", ""),
        ("import the file into Wireshark and look", ""),
        ("```bash\npip install scapy\n```", ""),
        ("```json\n{\"a\": 1}\n```", ""),
        ("a == b is what holds\n- x = 1", ""),
        ("", ""),
        ("``` ``` ```", ""),
    ],
)  # fmt: skip
def test_the_script_is_taken_out_of_the_answer(completion: str, code: str | None) -> None:
    expected = completion if code is None else code
    assert extract_code(completion) == expected
    ast.parse(extract_code(completion))


@pytest.mark.parametrize(
    "text", ["a." * 200_000, "x, " * 200_000, "import a." * 100_000, "x[" * 200_000, "if " * 200_000, "x\n" * 300_000,
             "```" * 200_000, " " * 500_000, "from " + "a" * 500_000 + "!"]
)  # fmt: skip
def test_the_time_is_linear_in_the_text(text: str) -> None:
    start = time.process_time()
    extract_code(text)
    assert time.process_time() - start < 2
