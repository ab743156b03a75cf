"""Leaked texts with the places of both rows, as data/splits/leakage.jsonl lists them and the stage prints them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from netllama.contamination.leakage_report import LeakedText
from netllama.core.files import iter_lines, parse_line
from netllama.splitting.drops import Origin
from netllama.splitting.pool_rows import PoolRow


def locate_texts(leaked: Sequence[LeakedText], rows: Iterable[PoolRow], files: Iterable[Path]) -> dict[str, Origin]:
    """Where the rows and questions of `leaked` stand, by id: foreign `rows` know it, `files` are looked through."""
    wanted = {name for each in leaked for name in (each.id, each.of)}
    places = {row.task.id: row.origin for row in rows if row.origin and row.task.id in wanted}
    if wanted - places.keys():
        for path in files:
            for number, line in iter_lines(path):
                row_id = str(parse_line(path, number, line, lambda row: row.get("id")))
                if row_id in wanted:
                    places.setdefault(row_id, Origin(path.as_posix(), "line", number))
    return places


def list_leaks(leaked: Iterable[LeakedText], places: Mapping[str, Origin]) -> Iterator[dict[str, object]]:
    """The fields of each, `file` and `line` (or `item`) of its row, `of_file` and `of_line` of the row that has it."""
    for each in leaked:
        row: dict[str, object] = {**each.as_row()}
        for name, prefix in ((each.id, ""), (each.of, "of_")):
            if name in places:
                row |= places[name].as_row(prefix)
        yield row


def describe_leak(each: LeakedText, places: Mapping[str, Origin]) -> str:
    """The text in one line, with the places behind it."""
    found = [str(places[name]) for name in (each.id, each.of) if name in places]
    return f"{each} ({' / '.join(found)})" if found else str(each)
