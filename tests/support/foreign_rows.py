"""Somebody else's Alpaca file as they come: `write_foreign(path, 4000, 1)` plants faults and says which and where.

python tests/support/foreign_rows.py data/extra/foreign.jsonl 20000 1
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUESTIONS = Path(__file__).parent.parent.parent / "data" / "questions"
COMMON = (
    "the",
    "of",
    "a",
    "to",
    "in",
    "is",
    "that",
    "for",
    "on",
    "with",
    "as",
    "it",
    "by",
    "from",
    "be",
    "this",
    "which",
)
SYLLABLES = [f"{first}{vowel}{last}" for first in "bdfgklmnprstv" for vowel in "aeiou" for last in ("", "n", "r", "s")]
LEAKED = (
    "### Instruction:\nName it.",
    "\n\n### Response:\nNo.",
    "20. Instruction: Write",
    "3.Output:",
    "<|im_start|>user",
    "<|im_end|>",
    "[INST] Why? [/INST]",
    "<|start_header_id|>user<|end_header_id|>",
    "<start_of_turn>user",
    "a <noinput>",
)
KEPT = ("plain", "long", "missing_input", "null_input", "noinput", "unicode", "near_duplicate")
FAULTS = {
    "exact_duplicate": "exact_duplicate",
    "disguised_duplicate": "exact_duplicate",
    "empty_output": "no_output",
    "missing_output": "no_output",
    "null_output": "no_output",
    "empty_instruction": "no_instruction",
    "missing_instruction": "no_instruction",
    "wrong_type": "wrong_type",
    "no_object": "not_an_object",
    "half_surrogate": "half_surrogate",
    "nul": "nul",
    "prompt_leakage": "prompt_leakage",
    "question": "near_question",
}
LINE_FAULTS = {"no_json": "not_json", "no_utf8": "not_utf8"}
"""In JSONL only: they would break an array as a whole."""


@dataclass
class Truth:
    """What was planted, by line of the JSONL file or item of the array, counted from 1."""

    kinds: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    """Of the rows to be dropped."""
    originals: dict[int, int] = field(default_factory=dict)
    """Of exact and near-duplicates, the row they were made from."""
    instructions: dict[int, str] = field(default_factory=dict)
    """Of the rows to be kept."""

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.kinds.values())


def prose(draw: random.Random, words: int) -> str:
    """Sentences of made-up words: two of them have little in common."""
    made = [draw.choice(COMMON) if draw.random() < 0.3 else word(draw) for _ in range(words)]
    for place in range(9, words, 12):
        made[place] += draw.choice((".", ".", ",", "?", ":\n", "\n\n"))
    return " ".join(made)


def word(draw: random.Random) -> str:
    made = draw.choice(SYLLABLES) + draw.choice(SYLLABLES)
    return made if draw.random() < 0.9 else f"{made}{draw.randint(2, 9999)}"


def foreign_script(draw: random.Random, words: int) -> str:
    """Chinese, Arabic, Russian, Devanagari, accents as combining marks, or emoji joined to families."""
    ranges = ((0x4E00, 0x9FA5), (0x0621, 0x063A), (0x0430, 0x044F), (0x0905, 0x0939))
    kind = draw.randrange(len(ranges) + 1)
    if kind < len(ranges):
        made = ["".join(chr(draw.randint(*ranges[kind])) for _ in range(draw.randint(3, 7))) for _ in range(words)]
        return ("" if kind == 0 else " ").join(made) + draw.choice(
            ("", " \U0001f469\u200d\U0001f4bb", "\u200f", "\ufe0f")
        )
    return " ".join(f"{word(draw)}e\u0301{draw.choice(SYLLABLES)}\u0308" for _ in range(words)) + " \U0001f600"


def plain(draw: random.Random, words: int | None = None) -> dict[str, Any]:
    """A good row with the stray keys of Self-Instruct."""
    return {
        "instruction": prose(draw, draw.randint(10, 40)),
        "input": prose(draw, draw.randint(5, 60)) if draw.random() < 0.4 else "",
        "output": prose(draw, words or draw.randint(40, 200)),
        "most_similar_instructions": {prose(draw, 6): draw.random() for _ in range(2)},
        "avg_similarity_score": draw.random(),
    }


def disguised(row: dict[str, Any]) -> dict[str, Any]:
    """The same text with other white space, a soft hyphen, zero-width space and full-width letters."""
    first, rest = row["instruction"][0], row["instruction"][1:]
    return row | {
        "instruction": f" {chr(ord(first) + 0xFEE0)}\u200b{rest.replace(' ', '  ')}\n",
        "output": f"\ufeff{row['output'][:5]}\u00ad{row['output'][5:]}".replace(" ", "\u00a0"),
    }


def reworded(draw: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    """One word in fifteen is another, the rest in capitals."""
    parts = [word(draw) if draw.random() < 1 / 15 else part for part in row["output"].split(" ")]
    return row | {"output": " ".join(parts).upper()}


def questions() -> list[dict[str, Any]]:
    """Those with eight words or more, which are told by their words alone."""
    lines = [line for path in sorted(QUESTIONS.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [question for question in map(json.loads, lines) if len(question["question"].split()) > 10]


def copied(draw: random.Random, row: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """An evaluation question as a task, behind an order, with its options, or inside a long answer."""
    asked = question["question"].replace("____", question["answer"] if question["kind"] == "blank" else "____")
    ways: list[dict[str, Any]] = [
        {"instruction": asked, "input": ""},
        {"instruction": "Answer the question.", "input": asked},
        {"instruction": f"{asked.upper()} {' '.join(question['options'])}"},
        {"output": f"{row['output']} {asked} {prose(draw, 30)}"},
    ]
    return row | draw.choice(ways)


def faulty(draw: random.Random, kind: str, row: dict[str, Any], asked: list[dict[str, Any]]) -> Any:
    """`row` with the fault `kind` in it."""
    name = kind.partition("_")[2]
    made: dict[str, Callable[[], Any]] = {
        "empty": lambda: row | {name: draw.choice(("", " \n", "\u200b"))},
        "missing": lambda: {key: value for key, value in row.items() if key != name},
        "null": lambda: row | {name: None},
        "wrong": lambda: (
            row | {draw.choice(("instruction", "input", "output")): draw.choice((5, ["a"], {"b": 1}, True))}
        ),
        "no": lambda: draw.choice(("text", 5, None, ["instruction", "output"])),
        "half": lambda: row | {"output": f"{row['output']} \ud83d cut"},
        "nul": lambda: row | {"instruction": f"{row['instruction']}\0"},
        "prompt": lambda: (
            row | {draw.choice(("instruction", "output")): f"{row['output']} {draw.choice(LEAKED)} and on"}
        ),
        "question": lambda: copied(draw, row, draw.choice(asked)),
    }
    return made[kind.partition("_")[0]]()


def write_foreign(path: Path, rows: int, seed: int) -> Truth:
    """`rows` rows into `path` (a JSON array if it is called .json, else JSONL) and what was planted in them.

    One row in a hundred is some 6,000 tokens long. JSONL begins with a byte order mark, has blank lines and lines that
    end in CR LF, and ends in a line that was cut off.
    """
    draw, truth, array = random.Random(seed), Truth(), path.suffix == ".json"
    faults = FAULTS if array else FAULTS | LINE_FAULTS
    asked, made, lines = questions(), {}, []
    for _ in range(rows):
        while not array and draw.random() < 0.01:
            lines.append(draw.choice((b"", b"  ", b"\r")))
        number = len(lines) + 1
        kind = draw.choices(
            (*KEPT, *faults),
            (70, 1, 3, 3, 3, 5, 5, *[10 / len(faults)] * len(faults)),
        )[0]
        row: Any = plain(draw, draw.randint(4000, 5000) if kind == "long" else None)
        if kind in ("exact_duplicate", "disguised_duplicate", "near_duplicate"):
            if not made:
                kind = "plain"
            else:
                truth.originals[number] = draw.choice(list(made))
                row = {key: made[truth.originals[number]][key] for key in row}
                row = disguised(row) if kind == "disguised_duplicate" else row
                row = reworded(draw, row) if kind == "near_duplicate" else row
        elif kind == "unicode":
            row |= {"instruction": foreign_script(draw, 20), "input": "", "output": foreign_script(draw, 60)}
        elif kind in ("null_input", "missing_input", "noinput"):
            row["input"] = {"null_input": None, "noinput": draw.choice(("<noinput>", " <NoInput>\n"))}.get(kind)
            if kind == "missing_input":
                del row["input"]
        elif kind in FAULTS:
            row = faulty(draw, kind, row, asked)
        if kind == "plain":
            made[number] = row
        truth.kinds[number] = kind
        if kind in faults:
            truth.reasons[number] = faults[kind]
        else:
            truth.instructions[number] = row["instruction"]
        text = json.dumps(row, ensure_ascii=kind == "half_surrogate" or draw.random() < 0.5).encode()
        if kind == "no_json":
            text = draw.choice(
                (text[: len(text) // 2], text.replace(b'"', b"'"), text + b",", b"instruction,input,output")
            )
        if kind == "no_utf8":
            text = text.replace(b'"output": "', b'"output": "caf\xe9 ')
        lines.append(text + (b"\r" if not array and draw.random() < 0.05 else b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    if array:
        path.write_bytes(b"[\n" + b",\n".join(lines) + b"\n]\n")
    else:
        lines.append(json.dumps(plain(draw)).encode()[:-40])
        truth.kinds[len(lines)], truth.reasons[len(lines)] = "truncated", "not_json"
        path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    return truth


if __name__ == "__main__":
    print(dict(sorted(write_foreign(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).counts.items())))
