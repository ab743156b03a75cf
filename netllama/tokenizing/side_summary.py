"""What a run of tokenize tells of its rows: counts, lengths, and a look at what is trained on."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.rendering.renderer import Renderer

if TYPE_CHECKING:
    from netllama.tokenizing.encoder import Chunk

_BUCKETS = 16
_NAMED = 3


@dataclass
class Side:
    """What is kept of a side while its chunks pass: numbers, and the first row of each family."""

    name: str
    max_length: int
    rows: int = 0
    tokens: int = 0
    answer_tokens: int = 0
    longest: int = 0
    too_long: Counter[str] = field(default_factory=Counter)
    """`dropped` and `input shortened`."""
    first_too_long: list[dict[str, Any]] = field(default_factory=list)
    shortest_too_long: int = 0
    buckets: Counter[int] = field(default_factory=Counter)
    first_of_family: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, chunk: "Chunk") -> None:
        lengths = chunk.kept.column("length").to_pylist()
        self.rows += len(lengths)
        self.tokens += sum(lengths)
        self.answer_tokens += sum(lengths) - sum(chunk.kept.column("answer_start").to_pylist())
        self.longest = max([self.longest, *lengths])
        self.buckets.update((length - 1) // bucket_width(self.max_length) for length in lengths)
        for row, family in enumerate(chunk.kept.column("family").to_pylist()):
            if family not in self.first_of_family:
                self.first_of_family[family] = chunk.kept.slice(row, 1).to_pylist()[0]
        self.too_long.update(entry["change"] for entry in chunk.over_length)
        self.first_too_long += chunk.over_length[: _NAMED - len(self.first_too_long)]
        shortest = [self.shortest_too_long] if self.shortest_too_long else []
        shortest += [entry["length"] for entry in chunk.over_length]
        self.shortest_too_long = min(shortest, default=0)

    def require_rows(self, over_length: str) -> None:
        """StageError where a row is too long and may not be, or where none is left of some."""
        number = self.too_long.total()
        if over_length == "raise" and number:
            named = ", ".join(f"{entry['id']} ({entry['length']})" for entry in self.first_too_long)
            raise StageError(
                f"{self.name}: {number} {'row is' if number == 1 else 'rows are'} longer than tokenize.max_length "
                f"{self.max_length}: {named}{', ...' if number > _NAMED else ''}; raise it, or set "
                "tokenize.over_length to drop or shorten_input"
            )
        if number and not self.rows:
            raise StageError(
                f"tokenize.max_length {self.max_length}: no {self.name} row fits, the shortest has "
                f"{self.shortest_too_long}"
            )

    def summary(self) -> str:
        dropped, shortened = self.too_long["dropped"], self.too_long["input shortened"]
        return f"{self.rows} rows, {dropped} over max_length dropped" + (
            f", {shortened} with a shortened input" if shortened else ""
        )

    def metrics(self) -> dict[str, int]:
        return {
            "rows": self.rows,
            "dropped_too_long": self.too_long["dropped"],
            "input_shortened": self.too_long["input shortened"],
            "tokens": self.tokens,
            "answer_tokens": self.answer_tokens,
            "longest": self.longest,
        }


def bucket_width(max_length: int) -> int:
    return -(-max_length // _BUCKETS)


def length_histogram(sides: list[Side]) -> list[dict[str, Any]]:
    """Rows of CSV, `side, length, rows`: sixteen buckets up to max_length, and what was dropped above it."""
    table = []
    for side in sides:
        width = bucket_width(side.max_length)
        for low in range(0, side.max_length, width):
            label = f"{low + 1}-{min(low + width, side.max_length)}"
            table.append({"side": side.name, "length": label, "rows": side.buckets[low // width]})
        dropped = side.too_long["dropped"]
        table.append({"side": side.name, "length": f"over {side.max_length} (dropped)", "rows": dropped})
    return table


def preview(first_of_family: dict[str, dict[str, Any]], renderer: Renderer) -> str:
    """The first row of each family as Markdown: what is only read, and what is trained on."""
    parts = ["# What the model is trained on", "One row of each family, special tokens included."]
    for row in first_of_family.values():
        ids, start = row["input_ids"], row["loss_start"]
        decode = renderer.tokenizer.decode
        parts += [f"## {row['id']}: {row['length']} tokens, loss on the last {row['length'] - start}"]
        parts += [f"### {title}\n\n````text\n{decode(part)}\n````" for title, part in
                  (("read only", ids[:start]), ("trained on", ids[start:])) if part]  # fmt: skip
    return "\n\n".join(parts) + "\n"
