"""Code blocks of Markdown texts."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from netllama.core.markdown import extract_python_blocks, extract_unlabelled_blocks, has_open_block

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


@pytest.mark.parametrize(
    "text",
    [
        "Try: ```python\nx = 1\n```",
        "```python\nx = 1```",
        "````python\nx = 1\n````",
        "~~~python\nx = 1\n~~~",
        "> ```python\n> x = 1\n> ```",
        "> > ```python\n> > x = 1\n>> ```",
        "- ```python\n  x = 1\n  ```",
        "Write ```x``` so:\n```python\nx = 1\n```",
        "``` python\r\nx = 1\n```\t",
    ],
)
def test_a_fence_is_read_as_people_and_models_write_it(text: str) -> None:
    assert [code.rstrip("\n") for code in extract_python_blocks(text)] == ["x = 1"]
    assert not has_open_block(text)


@pytest.mark.parametrize(
    "line", ['fence = "```"', "print('```python')", "# ```python", "x = a > b", "~~~", ">>> x", "``"]
)
def test_a_fence_within_a_line_of_code_closes_no_block(line: str) -> None:
    assert extract_python_blocks(f"```python\n{line}\nx = 1\n```") == [f"{line}\nx = 1\n"]
    assert extract_python_blocks(f"> ```python\n> {line}\n> ```") == [f"{line}\n"]


def test_tildes_below_a_line_of_a_traceback_open_no_block() -> None:
    for mark in ("          ~~~~~~^~~~~~~", "    ~~~~~~", "~~~~~~^^^"):
        text = f"It says:\n    total / count\n{mark}\nWrite:\n```python\nx = 1\n```\n"
        assert extract_python_blocks(text) == ["x = 1\n"]
        assert not has_open_block(text)


def test_a_longer_fence_holds_blocks_with_a_shorter_one() -> None:
    inner = "```text\nx\n```\n"
    assert extract_python_blocks(f"````python\n{inner}````\n") == [inner]


@pytest.mark.parametrize("text", ["```python\nx = 1\n", "````python\nx\n```\n", "~~~\nx\n```\n"])
def test_a_block_that_the_text_cuts_off_is_open(text: str) -> None:
    assert has_open_block(text)
    assert extract_python_blocks(text) == []


LINES = ("```", "````", "~~~", "```py", "~~~py", "``` py x=1", "text", "x = '```'", "", "```a```")


@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_blocks_are_those_of_commonmark(lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    fences = [token for token in MarkdownIt().parse(text) if token.type == "fence"]
    closed = [token for token in fences if is_closed(token)]
    labels = [token.info.strip().partition(" ")[0] for token in closed]
    code = [textwrap.dedent(token.content) for token in closed]
    assert extract_python_blocks(text) == [one for one, label in zip(code, labels, strict=True) if label]
    assert extract_unlabelled_blocks(text) == [one for one, label in zip(code, labels, strict=True) if not label]


def is_closed(token: Token) -> bool:
    """A fence that nothing closes ends with the document: its content then is all the lines behind it."""
    assert token.map
    return token.map[1] - token.map[0] == token.content.count("\n") + 2
