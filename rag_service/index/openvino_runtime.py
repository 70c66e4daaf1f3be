"""Embedding by OpenVINO, without torch: the model is converted once per machine and kept by the hash of its files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvee.errors import ConfigurationError
from rag_service.index import conversion, runtimes
from rag_service.index.model_files import ModelFiles

_BATCH_TOKENS = 2048
"""Tokens of one batch, padding included: from 512 to 4,096 the speed is the same."""
_PRECISION = {"openvino-bf16": "bf16", "openvino-f32": "f32"}


class OpenVinoNetwork:
    """A compiled encoder with its pooling. Made after a fork, never before: its threads would not survive."""

    def __init__(self, compiled: Any, tokenizer: Any, max_tokens: int, padding_id: int) -> None:
        from tokenizers import Tokenizer

        self.dimension = int(compiled.output(0).partial_shape[1].get_length())
        self.tokenizer = tokenizer
        self._truncating = Tokenizer.from_str(tokenizer.to_str())
        self._truncating.enable_truncation(max_tokens)
        self._padding_id = padding_id
        self._request = compiled.create_infer_request()

    @classmethod
    def load(cls, files: ModelFiles, threads: int | None) -> "OpenVinoNetwork":
        """Compile the converted model, which is converted now if this machine has not done so yet.

        Raises:
            ConfigurationError: the files are no model that can be used, or OpenVINO computes another than torch.
        """
        import openvino

        anatomy = runtimes.anatomy(files.folder)
        assert anatomy is not None, "runtimes.choose gives OpenVINO no other models"
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISION[files.runtime],
            "INFERENCE_NUM_THREADS": threads or 0,
            "ENABLE_CPU_PINNING": threads is None,  # else each of several workers pins its thread to the same core
            "NUM_STREAMS": 1,  # one text is as fast as it can be; two streams make many texts 5 % faster
        }
        core = openvino.Core()
        tokenizer = _tokenizer(files)
        try:
            compiled = core.compile_model(conversion.converted(files, anatomy, core), "CPU", settings)
        except RuntimeError as error:
            raise ConfigurationError(f"CUVEE_EMBEDDER={files.id} cannot be run by OpenVINO: {error}") from error
        return cls(compiled, tokenizer, files.max_tokens, anatomy.padding_id)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (texts, dimension)."""
        ids = [encoding.ids for encoding in self._truncating.encode_batch_fast(list(texts))]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in batches([len(one) for one in ids]):
            width = len(ids[batch[0]])
            padded = np.full((len(batch), width), self._padding_id, dtype=np.int64)
            mask = np.zeros_like(padded)
            for row, text in enumerate(batch):
                padded[row, : len(ids[text])] = ids[text]
                mask[row, : len(ids[text])] = 1
            vectors[batch] = self._request.infer({"input_ids": padded, "attention_mask": mask})[0]
        return vectors


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of texts of like length, longest first, at most _BATCH_TOKENS with padding (or one text) at a time."""
    batch: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _tokenizer(files: ModelFiles) -> Any:
    from tokenizers import Tokenizer

    path: Path = files.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise ConfigurationError(f"CUVEE_EMBEDDER={files.id} cannot be loaded: {path} is damaged: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
