"""Notebooks in which the patch `devices` has to be careful: the source as it becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
from edge_glass.tools.patch.devices.memory_plan import parse_devices
from edge_glass.tools.patch.devices.sizes import parameters_of, size_of
from edge_glass.tools.patch.syntax.rewrite import rewrite_notebook

DECODER = "dec = QwenDecoder('Qwen/Qwen2.5-7B', device_map='auto')"
MODELS = f"import torch\nenc = Enc().to('cuda:0')\n{DECODER}"


def patched(*cells: str) -> tuple[list[str], str]:
    """Return the new sources, and the notes as one text. A second run changes nothing."""

    def book(sources: list[str]) -> str:
        entries = [{"cell_type": "code", "source": each.splitlines(True)} for each in sources]
        return json.dumps({"cells": entries, "nbformat": 4, "nbformat_minor": 4}, indent=1)

    patch = DevicesPatch(devices=parse_devices("cuda:0,cuda:1", "24GiB"))
    path = Path("/nowhere/a.ipynb")
    outcome = rewrite_notebook(parse_notebook(book(list(cells)), path), [patch])
    new = [outcome.sources.get(number, cell) for number, cell in enumerate(cells)]
    assert rewrite_notebook(parse_notebook(book(new), path), [patch]).sources == {}
    return new, "\n".join(f"{note.kind}: {note.message}" for note in outcome.notes)


CALLS = {
    "a parameter that may be None": (
        "def go(mask=None):\n    return dec(mask)",
        "dec(mask if mask is None else mask.to(device_cuda_1))",
    ),
    "an annotation with None": (
        "def go(m: torch.Tensor | None):\n    return dec(m)",
        "dec(m if m is None else m.to(device_cuda_1))",
    ),
    "moved in a branch alone": (
        "def go(mask=None):\n    if mask is not None:\n        mask = mask.to('cuda:0')\n"
        "    h = enc(mask)\n    return dec(mask)",
        "dec(mask if mask is None else mask.to(device_cuda_1))",
    ),
    "a choice of None": (
        "def go(mask):\n    return dec(mask if flag else None)",
        "return dec(mask if flag else None)",
    ),
    "a comparison": ("same = dec(ids) == enc(x)", "== enc(x.to(device_cuda_0)).to(device_cuda_1)"),
    "a sum in place": (
        "v = enc(x)\nv += dec(v)",
        "v += dec(v.to(device_cuda_1)).to(device_cuda_0)",
    ),
    "a device that is not followed": (
        "def go(self, x):\n    return dec(x.to(self.device))",
        "dec(x.to(device_cuda_1))",
    ),
}


@pytest.mark.parametrize(("cell", "expected"), CALLS.values(), ids=CALLS)
def test_tensors_of_calls(cell: str, expected: str) -> None:
    new, _ = patched(MODELS, cell)
    assert expected in new[1]


def test_an_input_that_cannot_be_followed_is_reported() -> None:
    new, notes = patched(MODELS, "dec(**batch)")
    assert new[1] == "dec(**batch)"
    assert "person: `dec(**batch)`: the input `batch` could not be followed" in notes


@pytest.mark.parametrize(
    "use",
    [
        "amp = device == 'cuda'",
        "size = sizes[device]",
        "t = Trainer(accelerator=device)",
        "with torch.autocast(device):\n    pass",
        "torch.autocast(device_type=device)",
    ],
)
def test_a_device_text_that_is_compared_stays(use: str) -> None:
    new, notes = patched("import torch\ndevice = 'cuda'\nenc = Enc().to(device)", use)
    assert "\ndevice = 'cuda'\n" in new[0]
    assert "enc = Enc().to(device_cuda_0)" in new[0]
    assert new[1] == use
    assert "left: `device = 'cuda'`: is compared" in notes


def test_to_compare_with_the_cpu_is_no_reason() -> None:
    new, _ = patched("import torch\ndevice = 'cuda'\nenc = Enc().to(device)", "a = device != 'cpu'")
    assert "device = 'cuda:0' if" in new[0]


def test_a_variable_is_used_below_its_definition_alone() -> None:
    make = "import torch\ndef make(device='cuda'):\n    return Enc().to(device)\nenc = make()"
    new, _ = patched(make, DECODER, "h = enc(x)\ny = dec(h)", "DEVICE = 'cuda'")
    assert "device_cuda_0 = " in new[2]
    assert "enc(x.to(device_cuda_0))" in new[2]
    assert "DEVICE)" not in new[2]


CONTAINER = (
    "class Vlm(torch.nn.Module):\n    def __init__(self, encoder, decoder):\n"
    "        self.encoder, self.decoder = encoder, decoder\n"
)


def test_a_container_whose_parts_are_placed_is_not_moved() -> None:
    new, notes = patched(MODELS, CONTAINER + "vlm = Vlm(enc, dec)\nvlm.to('cuda')\nvlm.eval()")
    assert new[1].endswith("vlm = Vlm(enc, dec)\nvlm.eval()")
    assert "move dropped: dec, enc are moved one by one" in notes


@pytest.mark.parametrize("extra", ["        self.proj = torch.nn.Linear(8, 8)\n", None])
def test_a_container_that_may_have_weights_is_left_with_its_parts(extra: str | None) -> None:
    head = CONTAINER + extra if extra else ""
    cell = f"{head}vlm = Vlm(enc, dec).to('cuda')"
    new, notes = patched(MODELS, cell)
    assert new[1] == cell
    assert "device_map='auto'" in new[0]
    assert "moves dec, enc as a whole" in notes or "Vlm.proj, dec, enc as a whole" in notes


def test_a_part_of_what_an_unknown_function_loads_is_a_model() -> None:
    new, _ = patched(
        MODELS.replace("enc = Enc()", "a = load_aligned('x')\na.vision_encoder"),
        "h = a.vision_encoder(x)\ny = dec(h)",
    )
    assert new[1].startswith("h = a.vision_encoder(x.to(device_cuda_0))\ny = dec(h.to(")


def test_dictionaries_of_keywords_are_followed() -> None:
    cfg = "cfg = dict(model_name='Qwen/Qwen2.5-7B', load_in_8bit=True, device_map='auto')\n"
    new, notes = patched(
        "import torch\n" + cfg + "enc = Enc().cuda()\nlm = Lm(**cfg)", "lm(enc(x))"
    )
    assert cfg in new[0]
    assert 'Lm(**{**cfg, "device_map": {"": device_cuda_1}})' in new[0].replace("'", '"')
    assert new[1] == "lm(enc(x.to(device_cuda_0)).to(device_cuda_1))"
    assert "7.00B parameters" in notes
    assert "(8bit)" in notes


@pytest.mark.parametrize("by_hand", ["{'': 0}", "{'a': 0, 'b': 1}"])
def test_a_device_map_made_by_hand_is_left(by_hand: str) -> None:
    cell = f"import torch\ndec = QwenDecoder('Qwen/Qwen2.5-72B', device_map={by_hand})"
    new, _ = patched(cell, "dec(ids)")
    assert new == [cell, "dec(ids)"]


def test_a_model_that_goes_to_the_cpu_and_back() -> None:
    cell = "dec.cpu()\nz = dec(ids)\ndec.to('cuda')\ny = dec(ids)"
    new, _ = patched(MODELS, cell)
    assert (
        new[1] == "dec.cpu()\nz = dec(ids)\ndec.to(device_cuda_1)\ny = dec(ids.to(device_cuda_1))"
    )


def test_the_devices_that_the_notebook_leaves_visible() -> None:
    hide = "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '1'\n"
    new, notes = patched(hide + MODELS)
    assert new[0].startswith(hide + "import torch\ndevice_cuda_0 = torch.device(")
    assert "cuda:1" not in new[0]
    assert "CUDA_VISIBLE_DEVICES leaves 1 visible; the plan has cuda:0" in notes


def test_sizes_in_names() -> None:
    assert parameters_of("mistralai/Mixtral-8x7B-v0.1") == 46_702_792_704
    size = size_of(
        "Qwen/Qwen2.5-7B-Instruct-AWQ", "AutoModel", dtype="float16", lora=False, wrapper=False,
        given=None,
    )  # fmt: skip
    assert size.bytes == int(7 * 10**9 * 0.56)


def test_a_timed_line_whose_value_is_assigned_is_reported() -> None:
    new, notes = patched(MODELS, "out = %time dec(x.cuda())")
    assert new[1] == "out = %time dec(x.cuda())"
    assert "left: `%time dec(x.cuda())`: its value is assigned" in notes
