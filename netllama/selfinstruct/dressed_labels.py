"""Reads the labels of a block as chat models dress them up: bold, as headings, in lists, numbered in other ways.

    **5. Instruction:** ...      ### Instruction 5: ...      - _Input_: ...      Task 5 - Output:      ## Output

A line is a label if nothing but markup, a number and its name stand in front of the colon. Without a colon it is one if
it is a heading or bold and has no other text. Each line is looked at once, and no part of a pattern gives back what it
took (`*+`, `++`), so that the time is linear in the length of the text.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_MARKUP = r"[\s>#*_~`+•·–—|\"'“”‘’«»\[\]()\\-]*+"
_COUNTED = r"(?:task|example|exercise|item|no\.?|number|nr\.?)?"
_NUMBER = rf"(?P<number>\d++){_MARKUP}[.):,\u3001\uff0e\uff1a]?{_MARKUP}"
_LABEL = re.compile(
    rf"{_MARKUP}(?:{_COUNTED}{_MARKUP}{_NUMBER})?(?P<name>instruction|input|output)(?![^\W_])"
    rf"(?P<tail>{_MARKUP}(?:(?P<last>\d++){_MARKUP})?)(?P<colon>[:\uff1a])?",
    re.IGNORECASE,
)
# `### Task 6`, `**Task 6:**`, `Task 6.`
_TASK_HEADING = re.compile(
    rf"{_MARKUP}(?:new )?(?:task|example|exercise)(?![^\W_]){_MARKUP}\d++{_MARKUP}[.):]?{_MARKUP}\Z", re.IGNORECASE
)
_RULE = re.compile(r"\s*+(?:#{3}|-{3,}+|\*{3,}+|_{3,}+|={3,}+)\s*+\Z")
_FENCE = re.compile(r"(?P<text>[^`]*+)```(?P<language>[\w+-]*+)\s*+\Z")
_EMPHASIS = re.compile(r"[*_`]++(?!\s)")


class Label(NamedTuple):
    """A field's label, and what follows it on its line."""

    name: str
    """Instruction, Input or Output."""
    numbered: bool
    value: str


@dataclass
class Block:
    """The lines of one task; `fields` are (name, lines of its value), in the order of the text."""

    lines: list[str] = field(default_factory=list)
    fields: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def has_output(self) -> bool:
        return any(name == "Output" for name, _ in self.fields)


def has_instruction_label(text: str) -> bool:
    return any(label and label.name == "Instruction" for label in map(_read_label, text.split("\n")))


def split_blocks(text: str) -> list[Block]:
    """The blocks of a text: each begins with an instruction's label, and a rule or a task's heading in front of it.

    An instruction without a number begins one only where the task before it has its output. Else that task has two
    instructions, and nobody can tell which is meant.
    """
    lines = text.split("\n")
    labels = [_read_label(line) for line in lines]
    edges = _find_edges(lines, labels)
    block = Block()
    blocks = [block]
    for line, label, is_edge in zip(lines, labels, edges, strict=True):
        if is_edge:
            blocks.append(block := Block())
            continue
        if label and label.name == "Instruction" and (label.numbered or block.has_output or not block.fields):
            blocks.append(block := Block())
        block.lines.append(line)
        if label:
            block.fields.append((label.name, [label.value]))
        elif block.fields:
            block.fields[-1][1].append(line)
    return [block for block in blocks if "".join(block.lines).strip()]


def drop_trailing_edges(text: str) -> str:
    """A block without the rules and headings at its end, which belong to the task that follows."""
    lines = text.split("\n")
    while lines and (not lines[-1].strip() or _RULE.match(lines[-1]) or _TASK_HEADING.match(lines[-1])):
        lines.pop()
    return "\n".join(lines)


def unwrap_fences(text: str, separator: str) -> str:
    """The text without fences around the whole list or around each task; fences inside a task stay.

    The first fence is such a wrapper if a task begins right behind it. `separator` takes the place of one that closes.
    """
    lines = text.split("\n")
    fences = {place: fence for place, line in enumerate(lines) if (fence := _FENCE.match(line))}
    if not fences:
        return text
    following = _find_following(lines)
    alone = {place for place, fence in fences.items() if not fence["text"].strip()}
    begins = {place for place in alone if _begins_task(following[place], separator)}
    if min(fences) not in begins:
        return text
    wrapped, inside, last = False, False, max(fences)
    for place, fence in fences.items():
        if not wrapped and place in begins:
            lines[place], wrapped = "", True
        elif wrapped and not inside and place in alone and not fence["language"]:
            after = following[place]
            if not after.strip() or place in begins or _FENCE.match(after) or place == last:
                lines[place], wrapped = separator, False
            else:
                inside = True
        elif wrapped:
            inside = not inside
    return "\n".join(lines)


def _find_following(lines: list[str]) -> list[str]:
    """For each line the next one that is not blank; empty where there is none."""
    following, after = [], ""
    for line in reversed(lines):
        following.append(after)
        after = line if line.strip() else after
    return following[::-1]


def _begins_task(line: str, separator: str) -> bool:
    label = _read_label(line)
    return line.strip() == separator or bool(label and label.name == "Instruction")


def _find_edges(lines: list[str], labels: list[Label | None]) -> list[bool]:
    """Which lines are rules or headings in front of an instruction. Elsewhere they are a part of the text."""
    edges, in_front = [], True
    for line, label in zip(reversed(lines), reversed(labels), strict=True):
        is_edge = not label and bool(_RULE.match(line) or _TASK_HEADING.match(line))
        edges.append(is_edge and in_front)
        if line.strip() and not edges[-1]:
            in_front = label is not None and label.name == "Instruction"
    return edges[::-1]


def _read_label(line: str) -> Label | None:
    match = _LABEL.match(line)
    if not match:
        return None
    value, front = line[match.end() :], line[: match.start("name")]
    emphasis = _EMPHASIS.findall(front)
    if not match["colon"] and (value.strip() or not (emphasis or "#" in front)):
        return None
    if emphasis and emphasis[-1] not in match["tail"]:
        value = _close_emphasis(value, emphasis[-1])
    return Label(match["name"].capitalize(), bool(match["number"] or match["last"]), value)


def _close_emphasis(value: str, mark: str) -> str:
    """`value` without the mark that closes the label's emphasis, behind the colon or at the end of the line."""
    if value.startswith(mark):
        return value[len(mark) :]
    return value.rstrip()[: -len(mark)] if value.rstrip().endswith(mark) and value.count(mark) == 1 else value
