"""What a run of tokenize tells of its rows: counts, lengths, and a look at what is trained on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netllama.core.errors import StageError
from netllama.core.tokenized_rows import TokenizedRow
from netllama.rendering.renderer import Renderer
from netllama.tokenizing.encoder import EncodedLines, LongRow

_BUCKETS = 16
_NAMED = 3


@dataclass
class SideSummary:
    """What is kept of a side while its chunks pass: numbers, and the first row of each family."""

    name: str
    max_length: int
    rows: int = 0
    tokens: int = 0
    answer_tokens: int = 0
    longest: int = 0
    too_long: int = 0
    """Rows that were left out."""
    first_too_long: list[LongRow] = field(default_factory=list)
    shortest_too_long: int = 0
    shortened: int = 0
    """Rows that have fewer documents than they were to have."""
    buckets: Counter[int] = field(default_factory=Counter)
    first_of_family: dict[str, TokenizedRow] = field(default_factory=dict)

    def add(self, chunk: EncodedLines) -> None:
        self.rows += len(chunk.lengths)
        self.tokens += sum(chunk.lengths)
        self.answer_tokens += chunk.answer_tokens
        self.longest = max([self.longest, *chunk.lengths])
        self.buckets.update((length - 1) // compute_bucket_width(self.max_length) for length in chunk.lengths)
        for family, row in chunk.first_of_family.items():
            self.first_of_family.setdefault(family, row)
        self.too_long += len(chunk.too_long)
        self.shortened += len(chunk.shortened)
        self.first_too_long += chunk.too_long[: _NAMED - len(self.first_too_long)]
        shortest = [self.shortest_too_long] if self.shortest_too_long else []
        self.shortest_too_long = min([*shortest, *(row.length for row in chunk.too_long)], default=0)

    def require_rows(self, over_length: str) -> None:
        """StageError where a row is too long and may not be, or where none is left of some."""
        if over_length == "raise" and self.too_long:
            named = ", ".join(f"{row.id} ({row.length})" for row in self.first_too_long)
            raise StageError(
                f"{self.name}: {self.too_long} {'row is' if self.too_long == 1 else 'rows are'} longer than "
                f"tokenize.max_length {self.max_length}: {named}{', ...' if self.too_long > _NAMED else ''}; raise it, "
                "or set tokenize.over_length to drop"
            )
        if self.too_long and not self.rows:
            raise StageError(
                f"tokenize.max_length {self.max_length}: no {self.name} row fits, the shortest has "
                f"{self.shortest_too_long}"
            )

    def to_metrics(self) -> dict[str, int]:
        return {
            "rows": self.rows,
            "dropped_too_long": self.too_long,
            "tokens": self.tokens,
            "answer_tokens": self.answer_tokens,
            "longest": self.longest,
            **({"fewer_documents": self.shortened} if self.shortened else {}),
        }


def compute_bucket_width(max_length: int) -> int:
    return -(-max_length // _BUCKETS)


def build_length_histogram(sides: Sequence[SideSummary]) -> list[dict[str, str | int]]:
    """Rows of CSV, `side, length, rows`: sixteen buckets up to max_length, and what was dropped above it."""
    table: list[dict[str, str | int]] = []
    for side in sides:
        width = compute_bucket_width(side.max_length)
        for low in range(0, side.max_length, width):
            label = f"{low + 1}-{min(low + width, side.max_length)}"
            table.append({"side": side.name, "length": label, "rows": side.buckets[low // width]})
        table.append({"side": side.name, "length": f"over {side.max_length} (dropped)", "rows": side.too_long})
    return table


def render_preview(first_of_family: Mapping[str, TokenizedRow], renderer: Renderer) -> str:
    """The first row of each family as Markdown: what is only read, and what is trained on."""
    parts = ["# What the model is trained on", "One row of each family, special tokens included."]
    for row in first_of_family.values():
        decode, start = renderer.tokenizer.decode, row.loss_start
        parts.append(f"## {row.id}: {row.length} tokens, loss on the last {row.length - start}")
        for title, ids in (("read only", row.input_ids[:start]), ("trained on", row.input_ids[start:])):
            if ids:
                parts.append(f"### {title}\n\n````text\n{decode(ids)}\n````")
    return "\n\n".join(parts) + "\n"
