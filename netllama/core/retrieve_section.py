"""The params section `retrieve`: documents to answer from."""

from typing import Annotated, Literal

from pydantic import Field

from netllama.core.param_types import NUMBER, Count, PositiveInt, Section, Seed, Share, Strings

UpToOne = Annotated[float, Field(ge=0, le=1), NUMBER]
DenseModel = Literal["", "minilm"]


class RetrieveParams(Section):
    """Documents to answer from, in training and in evaluation (RAFT, arXiv 2403.10131)."""

    seed: Seed
    """Seed of networks, of which documents are shown, and of their order."""
    corpus: Strings
    """Folders of data/corpus/, yours too (docs/documents.md: what is read); empty: none."""
    chunk_tokens: Annotated[int, Field(ge=32)]
    """Tokens of a chunk at most, headings included."""
    max_dropped_share: Share
    """Share of a corpus's files that may be unreadable; above it the stage ends."""
    top_k: PositiveInt
    """Documents that are shown with a question, at most."""
    dense: DenseModel
    """minilm: chunks of the corpus are found by meaning as well as by words (all-MiniLM-L6-v2, 83 MB; reciprocal rank
    fusion); empty: by words alone."""
    rag_share: UpToOne
    """Share of the training rows without code that are trained on once more, with chunks of the corpus."""
    train_networks: Count
    """Simulated networks whose reports are trained on; 0: none."""
    train_tasks: Count
    """Questions on these reports that are trained on, at most."""
    report_tokens: Annotated[int, Field(ge=40)]
    """About as many tokens has a report at most, in training and in evaluation: it states less where it would have
    more."""
    val_networks: Count
    """Simulated networks by which evaluate decides how readily the tuned model refuses; 0: as it does by itself."""
    test_networks: Count
    """Simulated networks that base and tuned model answer questions on; 0: none."""
    oracle_share: UpToOne
    """Share of the questions in training that have their answer among the documents. In the others the answer is that
    the documents do not say."""
