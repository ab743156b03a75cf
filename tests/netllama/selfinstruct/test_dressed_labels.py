"""Labels as chat models dress them up, fences around tasks, and what stays a part of a task."""

import pytest

from netllama.selfinstruct.block_contract import BlockContract
from netllama.selfinstruct.output_contract import Candidate

CHAT = BlockContract("chat", 4)
PORT, DAMPED = Candidate("Name the port of BGP.", "", "It is 179."), Candidate("Say why.", "x", "It flaps.")

# {0}: the number, if the style has one.
STYLES = [
    ("**{0}. Instruction:**", "**{0}. Input:**", "**{0}. Output:**"),
    ("### {0}. Instruction:", "### {0}. Input:", "### {0}. Output:"),
    ("**Instruction {0}:**", "**Input {0}:**", "**Output {0}:**"),
    ("**Instruction**:", "**Input**:", "**Output**:"),
    ("## Instruction\n", "## Input\n", "## Output\n"),
    ("**Instruction**\n", "**Input**\n", "**Output**\n"),
    ("- Instruction:", "- Input:", "- Output:"),
    ("* **Instruction:**", "* **Input:**", "* **Output:**"),
    ("{0}. **Instruction:**", "   **Input:**", "   **Output:**"),
    ("__{0}. Instruction:__", "_{0}. Input_:", "__{0}. Output:__"),
    ("`Instruction:`", "`Input:`", "`Output:`"),
    ("“Instruction”:", "“Input”:", "“Output”:"),
    ('"Instruction":', '"Input":', '"Output":'),
    ("{0}. Instruction\uff1a", "{0}. Input\uff1a", "{0}. Output\uff1a"),
    ("{0}) Instruction:", "{0}) Input:", "{0}) Output:"),
    ("({0}) instruction:", "({0}) input:", "({0}) output:"),
    ("[{0}] INSTRUCTION:", "[{0}] INPUT:", "[{0}] OUTPUT:"),
    ("{0} - Instruction:", "{0} - Input:", "{0} - Output:"),
    ("{0}\\. Instruction:", "{0}\\. Input:", "{0}\\. Output:"),
    ("Task {0} - Instruction:", "Task {0} - Input:", "Task {0} - Output:"),
    ("#{0} Instruction:", "#{0} Input:", "#{0} Output:"),
    ("**Instruction #{0}:**", "**Input #{0}:**", "**Output #{0}:**"),
    ("> **Instruction:**", "> **Input:**", "> **Output:**"),
    ("Instruction:", "Input:", "Output:"),
    ("**{0}. Instruction:**", "{0}. Input:", "{0}. Output:"),
    ("{0}. Instruction:", "**{0}. Input:**", "**{0}. Output:**"),
]
BETWEEN = [
    "\n",
    "\n\n",
    "\n\n---\n\n",
    "\n###\n",
    "\n\n***\n",
    "\n\n### Task 6\n\n",
    "\n\n**Task 6:**\n",
    "\nTask 6:\n",
]


def write(style: tuple[str, str, str], number: int, task: Candidate) -> str:
    first, second, third = (label.format(number) for label in style)
    return f"{first} {task.instruction}\n{second} {task.input or '<noinput>'}\n{third} {task.output}"


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_heading_in_front_of_plain_labels_is_no_instruction(api: str) -> None:
    text = f"**Task 5**\n{write(('Instruction:', 'Input:', 'Output:'), 5, PORT)}"
    assert BlockContract(api, 4).parse_tasks(text, None) == [PORT]


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("style", STYLES, ids=[style[0].strip() for style in STYLES])
def test_tasks_are_read_whatever_their_labels_wear(style: tuple[str, str, str], between: str) -> None:
    text = write(style, 5, PORT) + between + write(style, 6, DAMPED)
    assert CHAT.parse_tasks(text, None) == [PORT, DAMPED]
    chatter, *tasks = CHAT.parse_tasks(f"Sure! Here they are.\n{between.lstrip()}{text}", None)
    if tasks == [DAMPED]:  # by plain labels without a separator, what stands in front of them is dropped
        chatter, tasks = Candidate(problem="malformed"), [chatter, *tasks]
    assert (chatter.problem, tasks) == ("malformed", [PORT, DAMPED])


@pytest.mark.parametrize("style", STYLES[:4])
def test_only_the_last_task_of_a_cut_answer_has_the_problem(style: tuple[str, str, str]) -> None:
    text = f"{write(style, 5, PORT)}\n{write(style, 6, DAMPED)}"
    assert CHAT.parse_tasks(text, "truncated") == [PORT, Candidate("Say why.", "x", "It flaps.", problem="truncated")]
    whole, cut = CHAT.parse_tasks(text.partition("flaps")[0].rpartition("\n")[0], "truncated")
    assert (whole, cut.problem) == (PORT, "truncated")


@pytest.mark.parametrize("label", ["```", "```text", "```markdown"])
def test_a_fence_around_the_list_is_no_part_of_it(label: str) -> None:
    code = Candidate("Print one.", "", "```python\nprint(1)\n```")
    listed = "\n###\n".join(write(STYLES[0], number, task) for number, task in enumerate([PORT, code, DAMPED], start=5))
    for start in ("", "###\n"):
        assert CHAT.parse_tasks(f"{label}\n{start}{listed}\n```", None) == [PORT, code, DAMPED]
        *tasks, chatter = CHAT.parse_tasks(f"{label}\n{start}{listed}\n```\nTell me if you need more.", None)
        assert (tasks, chatter.problem) == ([PORT, code, DAMPED], "malformed")


@pytest.mark.parametrize("style", [STYLES[0], ("{0}. Instruction:", "{0}. Input:", "{0}. Output:")])
def test_a_fence_around_each_task_is_no_part_of_it(style: tuple[str, str, str]) -> None:
    text = "\n\n".join(f"```\n{write(style, number, task)}\n```" for number, task in ((5, PORT), (6, DAMPED)))
    assert CHAT.parse_tasks(text, None) == [PORT, DAMPED]


def test_a_fence_that_ends_an_output_stays() -> None:
    text = "###\n5. Instruction: a\n5. Output:\n```python\nx = 1\n```\n###\n6. Instruction: b\n6. Output:\nc"
    assert [task.output for task in CHAT.parse_tasks(text, None)] == ["```python\nx = 1\n```", "c"]


@pytest.mark.parametrize(
    "output",
    [
        "One.\n\n---\n\nTwo.",
        "See:\n### Output formats\nJSON.",
        "**Input:** is a label.\n**Instruction:** is one, too.\n**Output:** x",
        "The **output** is 5.\n- input data: none",
        "1. Step\n2. Instruction set",
    ],
)
def test_a_task_that_is_whole_by_plain_labels_is_left_as_it_is(output: str) -> None:
    text = f"###\n5. Instruction: a\n5. Input:\n<noinput>\n5. Output:\n{output}\n###\n6. Instruction: b\n6. Output:\nc"
    assert CHAT.parse_tasks(text, None) == [Candidate("a", "", output), Candidate("b", "", "c")]


def test_emphasis_in_a_value_stays() -> None:
    text = "**5. Instruction: Name the port.**\n**5. Output:** **179**, in `code` and *so* on"
    [task] = CHAT.parse_tasks(text, None)
    assert (task.instruction, task.output) == ("Name the port.", "**179**, in `code` and *so* on")


@pytest.mark.parametrize(
    "text",
    [
        "**Instruction:** a\n**Instruction:** b\n**Output:** c",  # two in one
        "**Instruction:** a\n**Input:** b",
        "**Output:** a\n**Instruction:** b",
        "**5. Instruction:** a\n**5. Output:** b\n**5. Output:** c",
        "The instruction is: a. The output is: b.",
        "5. Instruction - a\n5. Output - b",
    ],
)
def test_what_is_ambiguous_is_malformed(text: str) -> None:
    assert {task.problem for task in CHAT.parse_tasks(text, None)} == {"malformed"}
