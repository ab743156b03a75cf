"""Ask the base and the tuned model a question, or talk with them: their answers side by side, as they are written.

Reads  models/base.json, models/tokenizer/, models/adapter/ (or --adapter), params `loading`, `prompt`, `evaluate`,
       with --docs: the folders, params `retrieve`, results/refusals.json (how readily this adapter refuses)
Writes .scratch/ask/answer-RANDOM/   with --run: the folder of each script, the last ones are kept
       .scratch/index/HASH/          with --docs: the index, kept until a document changes
Run    python -m commands.ask "What is a MOAS conflict?"
       python -m commands.ask                                # a conversation: /reset forgets it, /quit leaves
       python -m commands.ask --run "Count the withdrawals in updates.mrt with PyBGPStream."
       python -m commands.ask "When does the hold timer expire?" --docs                 # of the corpus in params.yaml
       python -m commands.ask --docs ~/notes --docs ~/rfcs --k 5 "When does the hold timer expire?"
       python -m commands.ask --model tuned --temperature 0.7 --max-new-tokens 512

Both models are one set of weights, in memory once: for the base the adapter is switched off. A greedy answer (the
default) is word for word the one that evaluate gets to the same prompt. --docs shows the models the chunks of your
documents that a search for the question finds, and lists them below the answers, with those that an answer cites. --run
runs the Python of each answer in the sandbox, on the network of `python -m commands.replay`.
"""

import argparse
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from netllama.asking.answer_stream import Speaker, make_speakers
from netllama.asking.columns import decode_typed
from netllama.asking.conversation import Conversation
from netllama.asking.document_search import DocumentSearch
from netllama.core.errors import StageError, run_stage
from netllama.core.params import View
from netllama.core.retrieve_section import RetrieveParams
from netllama.core.sections import EvaluateParams, LoadingParams, PromptParams
from netllama.documents.corpus_folders import find_corpus_folders
from netllama.documents.indexed_corpus import index_corpus
from netllama.models.loading import load_adapter, load_base
from netllama.models.model_reference import locate_model
from netllama.models.precision import describe_precision
from netllama.models.training_record import read_training_record, require_base
from netllama.rendering.renderer import load_renderer, require_same_template
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox_choice import find_sandbox
from netllama.scoring.material import WALL
from netllama.scoring.refusal_balance import find_balance

BASE = Path("models/base.json")
TOKENIZER = Path("models/tokenizer")
ADAPTER = Path("models/adapter")
CORPUS = Path("data/corpus")
REFUSALS = Path("results/refusals.json")
INTERRUPTED = 130
_COMMAND = re.compile(r"/[a-z]+")


class Needs(View):
    """The params of this command."""

    loading: LoadingParams
    prompt: PromptParams
    retrieve: RetrieveParams
    evaluate: EvaluateParams


def load_speakers(needs: Needs, which: str, adapter: Path) -> list[Speaker]:
    """Those of `which` (base, tuned, both), all checked before the weights are loaded."""
    if not BASE.is_file():
        raise StageError(f"{BASE} is missing: run `dvc repro fetch`")
    renderer, located = load_renderer(TOKENIZER, needs.prompt), locate_model(BASE)
    if which != "base":
        if not adapter.is_dir():
            remedy = "run `dvc repro train`" if adapter == ADAPTER else "--adapter names a folder that train wrote"
            raise StageError(f"{adapter} is missing: {remedy}")
        record = read_training_record(adapter)
        require_same_template(record.template_hash, renderer, str(adapter))
        require_base(adapter, record, located.reference, BASE)
    print(describe_precision(needs.loading.precision), file=sys.stderr, flush=True)
    model = load_base(located.folder, needs.loading)
    if which == "base":
        return make_speakers(model, renderer, has_adapter=False)
    refusals = find_balance(REFUSALS, adapter)
    speakers = make_speakers(load_adapter(model, adapter), renderer, has_adapter=True, refusals=refusals)
    return speakers if which == "both" else speakers[1:]


def open_documents(folders: Sequence[Path | None], k: int | None, params: RetrieveParams) -> DocumentSearch:
    """The search in `folders`, of which None stands for those of retrieve.corpus."""
    chosen: list[Path] = []
    for folder in folders:
        if folder is None:
            if not params.corpus:
                raise StageError("retrieve.corpus names no folder; name one of yours: --docs FOLDER")
            chosen += find_corpus_folders(CORPUS, params.corpus)
        elif not folder.exists():
            raise StageError(f"{folder}: no such folder (a question stands in front of a bare --docs)")
        else:
            chosen.append(folder)
    corpus = index_corpus(chosen, TOKENIZER, params.chunk_tokens, params.dense)
    documents, lost = sum(corpus.summary.documents.values()), sum(dropped.is_failure for dropped in corpus.dropped)
    print(f"documents: {documents:,}, in {corpus.summary.chunks:,} chunks", end="", file=sys.stderr)
    print(f"; {lost:,} files could not be read: {corpus.list_of_dropped}" if lost else "", file=sys.stderr, flush=True)
    return DocumentSearch(corpus, k or params.top_k)


def read_questions() -> Iterator[str]:
    """Lines that the user types, until the input ends; without a terminal, those of stdin."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  # input() edits lines with it
    while True:
        try:
            line = input("> " if sys.stdin.isatty() and sys.stdout.isatty() else "")
        except EOFError:
            if sys.stdin.isatty():
                print()
            return
        if line.strip():
            yield line.strip()


def converse(conversation: Conversation) -> None:
    """Answer one question after another, until /quit or the end of the input."""
    if sys.stdin.isatty():
        print("a conversation: /reset forgets what was said, /quit or Ctrl-D leaves")
    for line in read_questions():
        if line == "/quit":
            break
        if line == "/reset":
            conversation.forget()
            print("forgotten: the next question begins a new conversation")
        elif _COMMAND.fullmatch(line):
            print(f"{line} is not known; there are /reset and /quit")
        else:
            try:
                conversation.answer(line)
            except StageError as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
    print("end of the conversation")


def parse_temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not a temperature from 0 to 10")
    return value


def parse_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m commands.ask"
    )
    parser.add_argument("question", nargs="?", type=decode_typed, help="none: a conversation")
    parser.add_argument("--model", default="both", choices=("base", "tuned", "both"), help="default: %(default)s")
    parser.add_argument("--adapter", default=ADAPTER, type=Path, metavar="FOLDER", help="default: %(default)s")
    parser.add_argument("--max-new-tokens", default=256, type=parse_count, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--temperature", default=0.0, type=parse_temperature, metavar="T", help="0, the default: greedy"
    )
    parser.add_argument("--run", action="store_true", help="run the Python of each answer in the sandbox")
    parser.add_argument(
        "--docs",
        action="append",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="ask of the documents in it; may be given several times; without FOLDER: those of retrieve.corpus",
    )
    parser.add_argument(
        "--k", type=parse_count, metavar="N", help="documents with a question, at most; default: retrieve.top_k"
    )
    given = parser.parse_args(arguments)
    if given.k and not given.docs:
        parser.error("--k is the number of documents: it needs --docs")
    if given.question is not None and not given.question.strip():
        parser.error("the question is empty")
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    """`arguments`: those of the command line, which None stands for."""
    given = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        needs = Needs.load()
        seconds = needs.evaluate.code_seconds
        search = open_documents(given.docs, given.k, needs.retrieve) if given.docs else None
        sandbox = find_sandbox(remedy="Or ask without --run") if given.run else None
        conversation = Conversation(
            speakers=load_speakers(needs, given.model, given.adapter),
            max_new_tokens=given.max_new_tokens,
            temperature=given.temperature,
            sandbox=sandbox,
            limits=Limits(cpu_seconds=seconds, wall_seconds=WALL * seconds),
            search=search,
        )
        if sandbox:
            print(f"scripts in answers: {sandbox.statement.splitlines()[0]}", file=sys.stderr)
        if given.question:
            conversation.answer(given.question.strip())
        else:
            converse(conversation)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    run_stage(main)
