"""Turn question files of other shapes into a suite of this repository.

Reads  FILE...: a JSON array, an object of questions, JSONL, CSV or TSV (docs/evaluating.md lists the shapes)
Writes data/questions/NAME.jsonl, NAME after the first file or as --out says
Run    python -m commands.questions mine.json
       python -m commands.questions part1.jsonl part2.json --out data/questions/mine.jsonl --first-index 0

Prints a line for each entry: what it was read as and which answer is taken for right, or why it is refused. What is
refused is left out, the rest is written. If nothing can be read, nothing is written, and the exit code is 1.
"""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from netllama.core.errors import StageError, run_stage
from netllama.core.files import ensure_scratch_folder, write_jsonl
from netllama.core.locks import hold_lock
from netllama.core.records import LETTERS, Question
from netllama.question_shapes.conversion import ReadEntry, convert_entries
from netllama.question_shapes.question_files import read_entries

QUESTIONS = Path("data/questions")


def describe_entry(path: Path, entry: ReadEntry) -> list[str]:
    """The lines of the report on an entry."""
    where = f"{path}:{entry.line}:"
    if entry.question is None:
        return [f"{where} refused: {entry.problem}"]
    return [f"{where} {_describe_question(entry.question)}", *(f"{where} note: {note}" for note in entry.notes)]


def _describe_question(question: Question) -> str:
    answer = " ".join(question.answer.split())
    if question.kind == "choice":
        answer = f"{question.answer}, {question.options[LETTERS.index(question.answer)]}"
    return f"{question.kind}: {answer[:60]}" if answer else f"{question.kind}: no answer"


def refuse_repeated(path: Path, entries: Sequence[ReadEntry], places: dict[str, tuple[str, str, Question]]) -> None:
    """Refuse questions that ask what is in `places` (with file and line, and the answer) already; add the others to it.

    Capitals, white space and the order of options make no other question.
    """
    for entry in entries:
        if not entry.question:
            continue
        asked, answer = _normalise(entry.question)
        if asked not in places:
            places[asked] = f"{path}:{entry.line}", answer, entry.question
            continue
        where, other, first = places[asked]
        if other != answer and first.question != entry.question.question:  # 1 Mb and 1 MB
            entry.notes.append(f"asks nearly the same as {where}, and has another answer")
            continue
        differs = "" if other == answer else ", which has another answer; one of them is wrong"
        entry.problem = f"asks the same as {where}{differs}"
        entry.question = None


def _normalise(question: Question) -> tuple[str, str]:
    """What is asked, and what is right, however it is written."""
    answer = question.options[LETTERS.index(question.answer)] if question.kind == "choice" else question.answer
    asked = [question.kind, question.question, *sorted(map(_fold, question.options))]
    return "\n".join(map(_fold, asked)), _fold(answer)


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def summarise_file(path: Path, entries: Sequence[ReadEntry]) -> str:
    read = [entry for entry in entries if entry.question]
    kinds = Counter(entry.question.kind for entry in entries if entry.question)
    unused = Counter(key for entry in read for key in entry.unused)
    parts = [f"{len(read)} read" + (f" ({', '.join(f'{n} {kind}' for kind, n in kinds.items())})" if kinds else "")]
    parts.append(f"{len(entries) - len(read)} refused")
    if unused:
        parts.append("keys without a use: " + ", ".join(f"{key} ({n})" for key, n in unused.items()))
    return f"{path}: {', '.join(parts[:2])}" + "".join(f"; {part}" for part in parts[2:])


def choose_output(files: Sequence[Path], out: Path | None) -> Path:
    """Where to write; raises StageError for a name that can't be one, and for a file that is there."""
    target = out or QUESTIONS / f"{files[0].stem}.jsonl"
    if target.suffix != ".jsonl" or not re.fullmatch(r"[A-Za-z0-9_-]+", target.stem):
        raise StageError(
            f"{target}: a suite is called by letters, digits, - and _, and ends in .jsonl; say --out NAME.jsonl"
        )
    if target.exists():
        raise StageError(f"{target}: is there already; remove it, or say --out with another name")
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.questions"
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, help="the suite to write (default: data/questions/NAME.jsonl)")
    parser.add_argument(
        "--first-index",
        type=int,
        choices=(0, 1),
        help="what answers that are indices count from, if the files don't show it",
    )
    given = parser.parse_args(arguments)
    target = choose_output(given.files, given.out)
    questions: list[Question] = []
    places: dict[str, tuple[str, str, Question]] = {}
    for path in given.files:
        entries = convert_entries(read_entries(path), target.stem, given.first_index)
        refuse_repeated(path, entries, places)
        for entry in entries:
            print("\n".join(describe_entry(path, entry)))
        print(summarise_file(path, entries))
        questions += [entry.question for entry in entries if entry.question]
    if not questions:
        raise StageError(f"{', '.join(map(str, given.files))}: no entry could be read; the lines above say why")
    with hold_lock(ensure_scratch_folder("questions") / f"{target.name}.lock", f"writes {target}"):
        choose_output(given.files, given.out)  # another process may have written it meanwhile
        write_jsonl(target, [question.model_dump() for question in questions])
    print(f"{target}: {len(questions)} questions written")


if __name__ == "__main__":
    run_stage(main)
