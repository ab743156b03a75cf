"""What could make the default better at four-choice questions with documents: settings beside each other.

Each setting is trained from the committed state in a clone of its own, as `dvc repro train` does. Then its adapter and
the base answer all four-choice questions on networks, with the note that answers and with what a search finds. These
are the questions that evaluate asks a sample of: nothing was chosen by this table, which says what was tried.

"sum", "per character" and "less alone" are three ways to choose an option: by its log-likelihood after documents and
question, by that divided by its length, and by what documents and question add to its log-likelihood alone. "p" is
McNemar's mid-p of "sum" against the base, clusters of questions flipped together, not adjusted for the other rows.

Before them stands what needs no model, of the workspace's data/retrieved/: how often the note is shown that answers (as
a reading of both found: tests/data/corpus_answers.py), and how often the option is right that has the largest share of
its words in the documents, rare ones weighing more, ties shared.

Run    python -m bench.note_settings [--material] [SETTING ...]
       SETTING: overrides in one word, as for `dvc exp run -S`, with blanks between them; "": the default itself.
       --material: what needs no model, and nothing else
       python -m bench.note_settings "" "retrieve.rag_share=1.0 train.max_steps=330"
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from math import log
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, TypeAlias

from bench.hardware import describe_hardware
from bench.settings import find_own, train_setting
from netllama.core.files import hash_file, hash_json, read_json, write_json
from netllama.core.metrics import read_details
from netllama.core.records import Question
from netllama.reading.reading_records import Arm

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel
    from netllama.rendering.renderer import Renderer
    from netllama.scoring.reading_scores import ReadingMaterial
    from netllama.scoring.score import Score

ALL = 10_000
ARMS: tuple[Arm, ...] = ("oracle", "retrieved")
ASKED, CHUNKS = Path("data/retrieved/questions.jsonl"), Path("data/retrieved/chunks.jsonl")
HIT = {"sum": "value", "per character": "accuracy_norm", "less alone": "accuracy_pmi"}
"""Where a score keeps whether an option chosen in this way is right; empty: its value."""
Shares: TypeAlias = dict[str, float | str]


def ask_both(base_scores: Path) -> Shares:
    """What the adapter of this folder and its base get. `base_scores`: where those of the base are kept."""
    from netllama.core.files import read_jsonl, write_jsonl
    from netllama.core.params import read_params
    from netllama.core.records import load_questions, parse_as
    from netllama.models.loading import load_adapter, load_base
    from netllama.models.model_reference import locate_model
    from netllama.rendering.renderer import load_renderer
    from netllama.scoring.comparison import make_suite, pair_scores
    from netllama.scoring.reading_scores import load_reading
    from netllama.scoring.score import Score
    from netllama.statistics.difference_tests import compute_mcnemar_p

    params = read_params()
    renderer = load_renderer(Path("models/tokenizer"), params.prompt)
    material = load_reading(ASKED, CHUNKS, load_questions(Path("data/questions")), 0, ALL)
    model = load_base(locate_model(Path("models/base.json")).folder, params.loading)
    asked = [hash_file(path) for path in (ASKED, CHUNKS, Path("models/base.json"))]
    kept = base_scores.with_name(f"{hash_json([asked, params.prompt.model_dump(), params.loading.model_dump()])}.jsonl")
    if not kept.is_file():
        write_jsonl(kept, (score.model_dump() for score in score_notes(model, material, renderer)))
    base = read_jsonl(kept, lambda row: parse_as(Score, row))
    tuned = score_notes(load_adapter(model, Path("models/adapter")), material, renderer)
    found: Shares = {}
    for arm in ARMS:
        pairs = [pair for pair in pair_scores(base, tuned) if pair[0].arm == arm]
        for way, key in HIT.items():
            sides = [mean(score.measures.get(key, score.value) for score in side) for side in zip(*pairs, strict=True)]
            found[f"{arm}, {way}"] = " -> ".join(f"{share:.3f}" for share in sides)
        found[f"{arm}, p"] = round(compute_mcnemar_p(make_suite(arm, pairs)), 3)
    return found


def score_notes(model: "LanguageModel", material: "ReadingMaterial", renderer: "Renderer") -> "list[Score]":
    """As evaluate scores four-choice questions with documents, and with what an option is worth alone besides."""
    from netllama.scoring.choice import NO_QUESTION, judge_choice
    from netllama.scoring.likelihood import score_continuations
    from netllama.scoring.reading_scores import render_closed
    from netllama.scoring.shared_prefixes import Continued

    asked = render_closed(material, renderer)
    nothing = renderer.encode_prompt(NO_QUESTION)
    alone = [Continued(nothing, each.text.continuations) for each in asked]
    found = score_continuations(model, [*(each.text for each in asked), *alone], desc="notes")
    return [
        judge_choice(each.question, likelihoods, unasked).model_copy(update={"arm": each.arm})
        for each, likelihoods, unasked in zip(asked, found[: len(asked)], found[len(asked) :], strict=True)
    ]


def describe_material() -> str:
    """What needs no model, in a line an arm."""
    from netllama.core.records import load_questions
    from netllama.reading.shown_documents import find_texts
    from netllama.rendering.question_texts import list_options
    from netllama.retrieval.terms import split_terms
    from netllama.scoring.reading_scores import load_reading
    from tests.data.corpus_answers import ANSWERS

    material = load_reading(ASKED, CHUNKS, load_questions(Path("data/questions")), 0, ALL)
    counts = Counter(term for text in material.documents.values() for term in set(split_terms(text)))
    notes = {
        f"q-{family}-{number}": f"{note}.md"
        for family, answered in ANSWERS.items()
        for note, numbers in answered.items()
        for number in numbers.split()
    }

    def weigh(terms: set[str]) -> float:
        return sum(log(1 + len(material.documents) / (1 + counts[term])) for term in terms)

    def pick(question: Question, shown: set[str]) -> float:
        options, right = list_options(question)
        terms = [set(split_terms(option)) for option in options]
        shares = [weigh(own & shown) / weigh(own) if own else 0.0 for own in terms]
        return (shares[right] == max(shares)) / shares.count(max(shares))

    lines = []
    for arm in ARMS:
        ids = [(row.arms[arm], notes.get(row.id, " ")) for row, _ in material.closed]
        shown = mean(any(name.startswith(note) for name in own) for own, note in ids)
        texts = [" ".join(find_texts(own, material.documents, "")) for own, _ in ids]
        words = mean(
            pick(question, set(split_terms(text))) for (_, question), text in zip(material.closed, texts, strict=True)
        )
        lines.append(
            f"{arm}: the note that answers is shown to {shown:.3f}; the option with most words in it: {words:.3f}"
        )
    return "\n".join(lines)


def measure_setting(folder: Path, setting: str, base_scores: Path) -> Shares:
    clone = folder / "clone"
    minutes = train_setting(clone, setting)
    asking = [sys.executable, "-m", "bench.note_settings", "--ask", str(folder / "found.json")]
    asking += ["--kept", str(base_scores)]
    subprocess.run(asking, cwd=clone, env=find_own(clone), check=True, stdout=2)
    trained = read_details(clone / "metrics" / "train.json")
    steps = {"steps": trained["steps"], "minutes": round(minutes, 1), "val loss": trained["val_loss"]["after"]}
    return steps | read_json(folder / "found.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=[""], metavar="SETTING")
    parser.add_argument("--material", action="store_true", help="what needs no model, and nothing else")
    parser.add_argument("--ask", type=Path, help="ask the adapter of this folder, and write the numbers to a file")
    parser.add_argument("--kept", type=Path, help="a file beside which the base's scores are kept")
    given = parser.parse_args()
    if given.ask:
        write_json(given.ask, ask_both(given.kept))
        return
    print(f"{describe_material()}\n", flush=True)
    if given.material:
        return
    print(f"{describe_hardware()}\n", flush=True)
    with tempfile.TemporaryDirectory() as shared:
        for number, setting in enumerate(given.settings):
            with tempfile.TemporaryDirectory() as folder:
                row = measure_setting(Path(folder), setting, Path(shared) / "base")
            if not number:
                print(f"| setting | {' | '.join(row)} |\n|{'---|' * (len(row) + 1)}", flush=True)
            print(f"| {setting or 'as committed'} | {' | '.join(str(value) for value in row.values())} |", flush=True)


if __name__ == "__main__":
    main()
