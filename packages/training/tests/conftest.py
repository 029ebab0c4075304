"""A temporary project with a tiny PixMo; runs that are interrupted; torch as it was before."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_pixmo import PARAMS, build_data

PIPELINE = Path(__file__).parents[3] / "dvc.yaml"


@pytest.fixture
def params() -> dict[str, Any]:
    """A fresh copy of the tiny configuration, to change at will."""
    return copy.deepcopy(PARAMS)


@pytest.fixture
def restore_torch() -> Iterator[None]:
    """Restores the global settings of torch that the stages change."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


@pytest.fixture
def stop_at(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[int], AbstractContextManager[None]]:
    """Returns a context in which training is interrupted just after it has logged a step."""
    from edge_glass.training.loop.curves import Curves

    @contextmanager
    def stop(step: int) -> Iterator[None]:
        original = Curves.log

        def log(self: Curves, at: int, values: Any) -> None:
            original(self, at, values)
            if at == step:
                raise KeyboardInterrupt

        monkeypatch.setattr(Curves, "log", log)
        with pytest.raises(KeyboardInterrupt):
            yield
        monkeypatch.setattr(Curves, "log", original)

    return stop


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, Any]) -> Path:
    """A project with tiny data and the real dvc.yaml; the current folder while the test runs."""
    monkeypatch.chdir(tmp_path)
    build_data(tmp_path / "data")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(PIPELINE, tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose features are in the cache; to be copied, not changed."""
    from edge_glass.training.params import load_params
    from edge_glass.training.stages import encode, prepare

    folder = tmp_path_factory.mktemp("cached")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        build_data(folder / "data")
        (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
        shutil.copy(PIPELINE, folder)
        params = load_params(folder / "params.yaml")
        prepare.run(params)
        encode.run(params)
    return folder


@pytest.fixture
def encoded(cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder like `project`, in which `prepare` and `encode` have been run."""
    shutil.copytree(cached, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def aligned(cached: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all that `vlm_qa` needs has been run; to be copied, not changed."""
    from edge_glass.training.params import load_params
    from edge_glass.training.stages import align

    folder = tmp_path_factory.mktemp("aligned")
    shutil.copytree(cached, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        align.run(load_params(folder / "params.yaml"))
    return folder


@pytest.fixture
def configure(aligned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Changes the tiny configuration in a copy of the project: options of vlm_qa, or `top`."""
    from edge_glass.training.params import load_params

    shutil.copytree(aligned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    raw: dict[str, Any] = copy.deepcopy(PARAMS)

    def change(top: dict[str, Any] | None = None, **options: Any) -> Any:
        raw.update(copy.deepcopy(top or {}))
        raw["vlm_qa"]["tiny"].update(options)
        Path("params.yaml").write_text(yaml.safe_dump(raw))
        return load_params(Path("params.yaml"))

    return change


@pytest.fixture
def tiny_qwen(configure: Callable[..., Any]) -> dict[str, Any]:
    """A small pretrained Qwen2.5 in the project's folder, as options of a decoder with LoRA."""
    import torch

    from edge_glass.decoders.causal_lm_config import CausalLmConfig
    from edge_glass.decoders.tokenizer import word_tokenizer
    from tiny_pixmo import COLOURS

    configure()
    tokenizer = word_tokenizer(["what colour is it? is it a disc? yes", " ".join(COLOURS)], 50)
    sizes = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True,
    }  # fmt: skip
    torch.manual_seed(0)
    decoder = CausalLmConfig(config=sizes).build(tokenizer)
    decoder.causal_lm.to(torch.bfloat16).save_pretrained("qwen")
    tokenizer.save_pretrained("qwen")
    lora = {"rank": 2, "alpha": 2, "dropout": 0.1}
    return {"model": "qwen", "dtype": "bfloat16", "lora": lora, "gradient_checkpointing": True}
