"""Instruction sets in the shapes that generated ones come in: much of a row is text that many others have, too.

`SHAPES[name](rows, seed)` gives rows in Alpaca's format. Words are made up, so that only what is planted is alike.

python tests/support/generated_sets.py analysis_code 5000 1 data/extra/set.jsonl
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

Rows = list[dict[str, str]]
SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]


def make_word(draw: random.Random) -> str:
    return "".join(draw.choices(SYLLABLES, k=draw.randint(2, 4)))


def make_prose(draw: random.Random, words: int) -> str:
    return " ".join(make_word(draw) for _ in range(words))


def make_row(instruction: str, output: str, context: str = "") -> dict[str, str]:
    return {"instruction": instruction, "input": context, "output": output}


def write_analysis_code(rows: int, seed: int) -> Rows:
    """Scripts that begin with one of four long openings (imports, loading, cleaning) and go on in their own ways."""
    draw = random.Random(seed)
    openings = [make_prose(draw, draw.randint(50, 120)) for _ in range(4)]
    columns = [make_word(draw) for _ in range(40)]
    made = []
    for _ in range(rows):
        own = "\n".join(f"df['{draw.choice(columns)}'] = {make_prose(draw, 4)}" for _ in range(draw.randint(3, 9)))
        task = f"Analyse {draw.choice(columns)} by {draw.choice(columns)}: {make_prose(draw, draw.randint(4, 12))}."
        made.append(make_row(task, f"```python\n{draw.choice(openings)}\n{own}\n```"))
    return made


def write_system_boilerplate(rows: int, seed: int) -> Rows:
    """One long text in front of every question, most of which are short."""
    draw = random.Random(seed)
    system = make_prose(draw, 150)
    return [
        make_row(f"{system}\n\nWhat is {make_prose(draw, draw.randint(2, 10))}?", make_prose(draw, draw.randint(3, 40)))
        for _ in range(rows)
    ]


def write_common_endings(rows: int, seed: int) -> Rows:
    """Answers that close with the same two paragraphs, whatever was asked."""
    draw = random.Random(seed)
    endings = [make_prose(draw, 60) for _ in range(2)]
    return [
        make_row(
            f"Explain {make_prose(draw, 8)}.", f"{make_prose(draw, draw.randint(15, 50))}\n\n{draw.choice(endings)}"
        )
        for _ in range(rows)
    ]


def write_templated_questions(rows: int, seed: int) -> Rows:
    """Twenty templates of questions and answers with a thing, a place and a reason to be filled in."""
    draw = random.Random(seed)
    templates = [[make_prose(draw, draw.randint(3, 9)) for _ in range(6)] for _ in range(20)]
    things = [make_prose(draw, draw.randint(1, 3)) for _ in range(rows // 10)]
    made = []
    for _ in range(rows):
        a, b, c, d, e, f = draw.choice(templates)
        thing, place, reason = draw.choice(things), make_word(draw), make_prose(draw, draw.randint(4, 20))
        made.append(make_row(f"{a} {thing} {b} {place} {c}?", f"{d} {thing} {e} {reason} {f} {place}."))
    return made


def write_shared_sentences(rows: int, seed: int) -> Rows:
    """Answers made of four sentences, each of which a dozen answers have."""
    draw = random.Random(seed)
    sentences = [make_prose(draw, draw.randint(14, 24)) for _ in range(rows // 3)]
    return [
        make_row(f"Explain {make_prose(draw, 6)}.", ". ".join(draw.choice(sentences) for _ in range(4)))
        for _ in range(rows)
    ]


def write_variants(rows: int, seed: int) -> Rows:
    """A few hundred tasks, each in up to 30 wordings with the same answer but for a few words."""
    draw = random.Random(seed)
    made: Rows = []
    while len(made) < rows:
        task, answer = make_prose(draw, 15).split(), make_prose(draw, 60).split()
        for _ in range(draw.randint(1, 30)):
            asked, said = (
                [make_word(draw) if draw.random() < 0.1 else word for word in text] for text in (task, answer)
            )
            made.append(make_row(" ".join(asked), " ".join(said)))
    draw.shuffle(made)
    return made[:rows]


def write_counter_windows(rows: int, seed: int) -> Rows:
    """One question about counters of a window, its numbers, and one of a few verdicts: the numbers are the task."""
    draw = random.Random(seed)
    names = [make_word(draw) for _ in range(12)]
    made = []
    for number in range(rows):
        odd = draw.random() < 0.2
        values = {name: draw.randint(0, 3) if draw.random() < 0.5 else draw.randint(0, 400) for name in names}
        culprit = draw.choice(names)
        if odd:
            values[culprit] = draw.randint(4000, 9000)
        shown = ", ".join(f"{name}: {value}" for name, value in values.items())
        when = f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d} {number % 24:02d}:{number % 60:02d}:00"
        verdict = f"Unusual: {culprit} is {values[culprit]}, far above its usual value." if odd else (
            "Nothing is unusual here: all of the counters of this window are within their usual range of values."
        )  # fmt: skip
        asked = "Say whether the counters of this window are unusual, and name the counter that is, if there is one."
        made.append(make_row(asked, verdict, f"{when} AS{draw.randint(1, 65000)} {shown}"))
    return made


SHAPES: dict[str, Callable[[int, int], Rows]] = {
    "analysis_code": write_analysis_code,
    "system_boilerplate": write_system_boilerplate,
    "common_endings": write_common_endings,
    "templated_questions": write_templated_questions,
    "shared_sentences": write_shared_sentences,
    "variants": write_variants,
    "counter_windows": write_counter_windows,
}

if __name__ == "__main__":
    lines = [json.dumps(row) + "\n" for row in SHAPES[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))]
    Path(sys.argv[4]).write_text("".join(lines), encoding="utf-8")
