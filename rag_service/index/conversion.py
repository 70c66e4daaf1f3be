"""A sentence-transformers model to OpenVINO's form, once per machine, checked against torch, kept by content hash."""

import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cuvee.errors import ConfigurationError
from rag_service.index.model_files import ModelFiles
from rag_service.index.runtimes import Anatomy

log = logging.getLogger(__name__)

_FORM = "1"
"""Changed when this module converts otherwise, so that no older conversion is used."""
_LEAST_COSINE = 0.9999
_PROBES = [
    "sulphur dioxide",
    "Malolactic conversion lowers the acidity of a wine; it is finished when malic acid is below 0.1 g/l.",
    "Der Kellermeister prüft täglich die Temperatur. " * 12,
]
_MODEL = "model.xml"


def cache_folder() -> Path:
    """Where converted models are kept: beside those from the hub, or in the user's cache."""
    hub = os.environ.get("HF_HOME")
    if hub:
        return Path(hub) / "openvino"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuvee" / "openvino"


def converted(files: ModelFiles, anatomy: Anatomy, core: Any) -> Any:
    """The OpenVINO model of `files`: ids and mask, int64 (texts, tokens), to unit vectors (texts, dimension).

    Raises:
        ConfigurationError: the files are no model, or OpenVINO computes other vectors than torch.
    """
    folder = cache_folder() / _key(files)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not (folder / _MODEL).is_file():
                _keep(_convert(files, anatomy, core), folder)
            return core.read_model(folder / _MODEL)
    except OSError as error:
        log.warning("%s cannot be written (%s): the embedder is converted at every start", folder.parent, error)
        return _convert(files, anatomy, core)


def _key(files: ModelFiles) -> str:
    """One name for one outcome: the weights, what is read of the other files, and what converts them."""
    import openvino

    digest = hashlib.sha256(f"{_FORM} {openvino.__version__} {files.weights_sha256}".encode())
    for name in ("config.json", "modules.json", "tokenizer.json"):
        digest.update((files.folder / name).read_bytes())
    for path in sorted(files.folder.glob("*/config.json")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process of this machine converts; the others wait for its result."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keep(model: Any, folder: Path) -> None:
    import openvino

    aside = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
    try:
        openvino.save_model(model, aside / _MODEL, compress_to_fp16=False)
        for path in (*aside.iterdir(), aside):
            _sync(path)
        aside.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _convert(files: ModelFiles, anatomy: Anatomy, core: Any) -> Any:
    started = time.perf_counter()
    from rag_service.index.torch_runtime import sentence_transformer

    original = sentence_transformer(files, "cpu")
    try:
        model = _traced(original[0].auto_model, anatomy)
        _check(model, anatomy, original, files, core)
    except RuntimeError as error:  # of OpenVINO's converter, or of torch's tracer
        raise ConfigurationError(f"CUVEE_EMBEDDER={files.id} cannot be converted to OpenVINO: {error}") from error
    log.info("%s converted to OpenVINO in %.1f s", files.id, time.perf_counter() - started)
    return model


def _traced(encoder: Any, anatomy: Anatomy) -> Any:
    """By the front end itself: `openvino.convert_model`, which wraps it, reports every conversion to its makers."""
    import openvino
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            if anatomy.pooling == "cls":
                pooled = states[:, 0]
            else:
                kept = attention_mask.unsqueeze(-1).to(states.dtype)
                pooled = (states * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(pooled, p=2, dim=1)

    mask = torch.ones((2, 16), dtype=torch.long)
    mask[0, 10:] = 0  # so that the tracer sees padding
    example = {"input_ids": torch.full_like(mask, 5), "attention_mask": mask}
    front_end = FrontEndManager().load_by_framework("pytorch")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about values that are constant for an encoder
        decoder = TorchScriptPythonDecoder(Pooled().eval(), example_input=example)
        model = front_end.convert(front_end.load(decoder))
    for port, name in zip(model.inputs, example, strict=True):
        port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
        port.get_node().set_element_type(openvino.Type.i64)
        port.set_names({name})
    model.validate_nodes_and_infer_types()
    return model


def _check(model: Any, anatomy: Anatomy, original: Any, files: ModelFiles, core: Any) -> None:
    """Raises ConfigurationError when the conversion gives other vectors than the original, both in fp32."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(files.folder / "tokenizer.json"))
    tokenizer.enable_truncation(files.max_tokens)
    tokenizer.enable_padding(pad_id=anatomy.padding_id)
    texts = tokenizer.encode_batch(_PROBES)
    inputs = {"input_ids": [text.ids for text in texts], "attention_mask": [text.attention_mask for text in texts]}
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    vectors = compiled({name: np.array(rows, dtype=np.int64) for name, rows in inputs.items()})[0]
    expected = original.encode(_PROBES, normalize_embeddings=True, show_progress_bar=False)
    least = float(np.min(np.sum(vectors * expected, axis=1)))
    if not least >= _LEAST_COSINE:  # also where it is not a number
        raise ConfigurationError(
            f"CUVEE_EMBEDDER={files.id}: OpenVINO gives other vectors than torch (cosine {least:.5f}); "
            f"set CUVEE_EMBEDDER=torch-f32:{files.id}."
        )
