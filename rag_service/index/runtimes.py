"""What computes the embeddings, and in which precision: chosen by the model's build and the machine, before loading.

The choice is part of the embedder's version, because vectors of two precisions differ in the fifth digit. Machines that
share an index and differ in what they can do must be told one runtime by name (docs/adr/0008-embedding-runtime.md).
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast, get_args

from cuvee.errors import ConfigurationError

Runtime = Literal["openvino-bf16", "openvino-f32", "torch-cuda", "torch-f32"]
Pooling = Literal["mean", "cls"]

_PROCESSOR = Path("/proc/cpuinfo")
_NVIDIA = Path("/proc/driver/nvidia/version")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
# Encoders whose attention needs nothing but ids and a mask; each was or can be checked against torch at conversion.
_ENCODERS = {"bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"}


@dataclass(frozen=True)
class Anatomy:
    """A model that is an encoder, a pooling and nothing else; its vectors are scaled to length one in any case."""

    pooling: Pooling
    padding_id: int


def asked_for(name: str) -> tuple[Runtime | None, str]:
    """The runtime that a model's name begins with, if it does, and the name without it."""
    prefix, colon, model = name.partition(":")
    if colon and prefix in get_args(Runtime):
        return cast("Runtime", prefix), model
    return None, name


def choose(folder: Path, name: str, wanted: Runtime | None) -> tuple[Runtime, str]:
    """The runtime for the model in `folder`, and why.

    Raises:
        ConfigurationError: `wanted` cannot run here; the message says what can.
    """
    plain, bf16 = anatomy(folder) is not None, computes_bf16()
    if wanted is not None:
        _check(name, wanted, plain, bf16)
        return wanted, "it was asked for by name"
    if has_gpu():
        return "torch-cuda", "there is a GPU"
    if not plain:
        return "torch-f32", "the model is more than an encoder with mean or CLS pooling"
    if bf16:
        return "openvino-bf16", "this processor computes in bf16: 2.6 times plain fp32 at an equal nDCG@10 (ADR 8)"
    return "openvino-f32", "this processor does not compute in bf16"


def _check(name: str, wanted: Runtime, plain: bool, bf16: bool) -> None:
    if wanted.startswith("openvino") and not plain:
        reason = "the model is more than an encoder with mean or CLS pooling; use torch-f32"
    elif wanted == "openvino-bf16" and not bf16:
        reason = "this processor does not compute in bf16; use openvino-f32"
    elif wanted == "torch-cuda" and not has_gpu():
        reason = "there is no GPU; use openvino-f32 or torch-f32"
    else:
        return
    raise ConfigurationError(f"CUVEE_EMBEDDER={wanted}:{name} cannot run here: {reason}.")


@lru_cache(maxsize=1)
def computes_bf16() -> bool:
    """Whether the processor multiplies bf16 itself; where it only could emulate it, fp32 is faster and better."""
    try:
        lines = _PROCESSOR.read_text().splitlines()
    except OSError:
        return False  # not Linux
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not _BF16_FLAGS.isdisjoint(flags.split())


@lru_cache(maxsize=1)
def has_gpu() -> bool:
    """Whether torch has a GPU to compute on. CUDA is not started: a process forked after that could not use it."""
    # Both spare importing torch; a container sees its machine's driver, but may have neither GPU nor a torch for one.
    if not _NVIDIA.exists() or version("torch").endswith("+cpu"):
        return False
    import torch

    return torch.cuda.device_count() > 0  # it asks NVML; torch.cuda.is_available would start CUDA


def anatomy(folder: Path) -> Anatomy | None:
    """What the model in `folder` is made of; None where it is more than an encoder with mean or CLS pooling."""
    modules, config = _json(folder / "modules.json"), _json(folder / "config.json")
    if not isinstance(modules, list) or not isinstance(config, dict) or not (folder / "tokenizer.json").is_file():
        return None
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    encoder = _json(folder / modules[0].get("path", "") / "sentence_bert_config.json") or {}
    general = _json(folder / "config_sentence_transformers.json") or {}
    pooling = _pooling(_json(folder / modules[1]["path"] / "config.json") or {})
    if (
        modules[0].get("path")
        or config.get("model_type") not in _ENCODERS
        or encoder.get("do_lower_case")
        or encoder.get("transformer_task", "feature-extraction") != "feature-extraction"
        or general.get("default_prompt_name")
        or pooling is None
    ):
        return None
    return Anatomy(pooling, int(config.get("pad_token_id") or 0))


def _pooling(config: dict[str, Any]) -> Pooling | None:
    mode = config.get("pooling_mode")
    if mode is None:  # as models were saved before sentence-transformers 5
        names = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
        active = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
        mode = names.get(active[0]) if len(active) == 1 else None
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    return cast("Pooling", mode) if mode in get_args(Pooling) else None


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
