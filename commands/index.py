"""Read a folder of documents, cut them into chunks, and look something up in them.

Reads  FOLDER...: .md, .txt (RFCs, 3GPP-like specifications, notes), .html, .pdf, configurations and logs of routers
       (.cfg, .conf, .log, .yang); models/tokenizer/
Writes .scratch/index/HASH/   chunks.jsonl, dropped.jsonl, summary.json, index/: kept until the documents change
       data/recorded/notes/chunks.jsonl (--record): what generate's filter `agrees` checks answers against
Run    python -m commands.index data/corpus
       python -m commands.index ~/notes ~/rfcs --query "hold timer expires" --query "graceful restart"
       python -m commands.index data/corpus --dense --query "the neighbour went silent"
       python -m commands.index data/corpus/bgp data/corpus/measurement --record
       python -m commands.index data/corpus --max-tokens 256 --k 2 --query "5QI of a voice call"

Prints what was read and how large the chunks are in tokens of the model, what was dropped and why, and the best chunks
for each query: score, id, headings and how the text begins.
"""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from netllama.asking.columns import clean_text, decode_typed
from netllama.asking.document_search import preview_chunk
from netllama.core.errors import run_stage
from netllama.documents.chunk_file import iter_chunks, write_chunks
from netllama.documents.cutting import LEAST_TOKENS
from netllama.documents.dropped import Dropped
from netllama.documents.indexed_corpus import CorpusSummary, FoundChunk, index_corpus
from netllama.retrieval.terms import split_terms

TOKENIZER = Path("models/tokenizer")
RECORDED = Path("data/recorded/notes/chunks.jsonl")
SHOWN_DROPS = 20


def describe_summary(summary: CorpusSummary) -> list[str]:
    formats = ", ".join(f"{count:,} {name}" for name, count in summary.documents.items())
    documents, sections = _count(sum(summary.documents.values()), "document"), _count(summary.sections, "section")
    return [
        f"read: {documents} ({formats}), {sections}",
        f"cut: {_count(summary.chunks, 'chunk')}, {summary.tokens:,} tokens; smallest {summary.least_tokens}, "
        f"median {summary.median_tokens}, largest {summary.most_tokens}",
    ]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def describe_dropped(dropped: Sequence[Dropped], full_list: Path) -> list[str]:
    """A line for each, the first ones of what should have been read before what nobody expects to be."""
    if not dropped:
        return ["dropped: nothing"]
    causes = Counter(item.cause for item in dropped)
    counts = ", ".join(f"{count:,} {cause.replace('_', ' ')}" for cause, count in causes.items())
    ordered = sorted(dropped, key=lambda item: not (item.is_failure or item.page))
    lines = [f"dropped: {len(dropped):,} ({counts})", *(f"  {item}" for item in ordered[:SHOWN_DROPS])]
    if len(dropped) > SHOWN_DROPS:
        lines.append(f"  and {len(dropped) - SHOWN_DROPS:,} more: {full_list}")
    return lines


def describe_found(query: str, found: Sequence[FoundChunk], decimals: int) -> list[str]:
    """`decimals`: of the scores."""
    nothing = "no chunk holds a word of it"
    if not split_terms(query):
        nothing = "too common words; they are not looked up" if re.search(r"\w", query) else "there is no word in it"
    lines = [f'"{query}"' if found else f'"{query}": {nothing}']
    for number, hit in enumerate(found, start=1):
        lines.append(f"{number}. {hit.score:.{decimals}f}  {clean_text(hit.chunk.id)}")
        lines += [f"   {line}" for line in preview_chunk(hit.chunk)]
    return lines


def parse_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.index"
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--query", action="append", type=decode_typed, default=[], help="what to look up; may be given several times"
    )
    parser.add_argument("--k", type=parse_count, default=4, metavar="N", help="chunks a query; default: %(default)s")
    parser.add_argument(
        "--max-tokens", type=parse_count, default=160, metavar="N", help="of a chunk; default: %(default)s"
    )
    parser.add_argument("--dense", action="store_true", help="search by meaning as well as by words (MiniLM)")
    parser.add_argument("--record", action="store_true", help=f"copy the chunks to {RECORDED}, for the filter agrees")
    given = parser.parse_args(arguments)
    if given.max_tokens < LEAST_TOKENS:
        parser.error(f"--max-tokens {given.max_tokens} leaves no room for headings and text: {LEAST_TOKENS} or more")
    if not all(query.strip() for query in given.query):
        parser.error("the query is empty")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    given = parse_arguments(arguments)
    corpus = index_corpus(given.folders, TOKENIZER, given.max_tokens, "minilm" if given.dense else "")
    print("\n".join([*describe_summary(corpus.summary), *describe_dropped(corpus.dropped, corpus.list_of_dropped)]))
    print(f"index: {corpus.folder}")
    if given.record:
        write_chunks(RECORDED, iter_chunks(corpus.folder / "chunks.jsonl"))
        print(f"{RECORDED}: written; commit it, so that answers are checked against the same notes everywhere")
    for query in given.query:
        print("\n" + "\n".join(describe_found(query, corpus.search(query, given.k), 4 if given.dense else 2)))


if __name__ == "__main__":
    run_stage(main)
