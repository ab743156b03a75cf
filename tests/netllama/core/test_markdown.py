"""Code blocks of Markdown texts."""

import re
import textwrap

from hypothesis import given
from hypothesis import strategies as st

from netllama.core.markdown import extract_python_blocks, extract_unlabelled_blocks

TEXT = """Try:
```python
one = 1
```
1. or, in a list:

   ```py title="two.py"
   if one:
       two = 2
   ```
```Python3
three
```
```console
$ four
```
```
five
```
```python
never closed
"""


def test_python_blocks_come_in_order_and_lose_the_indent_of_their_list() -> None:
    assert extract_python_blocks(TEXT) == ["one = 1\n", "if one:\n    two = 2\n", "three\n"]


def test_blocks_without_a_label_are_taken_apart_from_those_with_one() -> None:
    assert extract_unlabelled_blocks(TEXT) == ["five\n"]
    assert extract_unlabelled_blocks("no block") == extract_python_blocks("no block") == []


@given(st.text(alphabet="`\n py+a\t", max_size=60))
def test_blocks_are_those_of_one_pattern(text: str) -> None:
    found = re.findall(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)```", text, re.DOTALL)
    assert extract_python_blocks(text) == [textwrap.dedent(code) for label, code in found if label == "py"]
    assert extract_unlabelled_blocks(text) == [textwrap.dedent(code) for label, code in found if not label]
