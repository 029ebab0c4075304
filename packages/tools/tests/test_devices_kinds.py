"""Notebooks of the kind that `optimize_gpu_usage` was for: patched, then run on two devices."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_glass.tools.notebook import parse_notebook
from edge_glass.tools.patch.devices.devices_patch import DevicesPatch
from edge_glass.tools.patch.devices.memory_plan import parse_devices
from edge_glass.tools.patch.rewrite import rewrite_notebook
from two_devices import Module, Tensor, world

HEAD = "import torch\nfrom mylab import AlignedEncoder, QwenDecoder, VisionTower, Projector\n"
DEVICE = "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n"
QWEN = "QwenDecoder(model_name='Qwen/Qwen2.5-7B-Instruct', use_lora=True, device_map='auto')"
LOADER = "loader = [{'image': torch.zeros(1), 'input_ids': torch.ones(1)}]\n"

# Each is run as it is after the patch; every model call checks the device of its tensors.
KINDS: dict[str, list[str]] = {
    "a helper with an annotation": [
        HEAD + DEVICE + LOADER,
        "encoder = AlignedEncoder(width=8).to(device)",
        f"language = {QWEN}",
        "def see(pixels: torch.Tensor):\n    with torch.no_grad():\n"
        "        out = encoder.vision(pixels, return_sequence=True)\n    return out.sequence",
        "bridge = torch.nn.Linear(8, language.hidden_dim).to(device)",
        "for batch in loader:\n    tokens = bridge(see(batch['image'].to(device)))\n"
        "    language.generate(inputs_embeds=tokens)",
    ],
    "a helper without annotations": [
        HEAD + "DEV = 'cuda'\n" + LOADER,
        f"enc = AlignedEncoder().to(DEV)\nllm = {QWEN}",
        "def run(img, ids):\n    seen = enc(img)\n    return llm(seen, input_ids=ids)",
        "for b in loader:\n    run(b['image'].to(DEV), b['input_ids'].to(DEV))",
    ],
    "a lambda and a comprehension": [
        HEAD + DEVICE + LOADER,
        f"vision = VisionTower().to(device).eval()\ndecoder = {QWEN}",
        "see = lambda pixels: vision(pixels.to(device)).last_hidden_state\n"
        "outs = [decoder(inputs_embeds=see(b['image'])) for b in loader]",
    ],
    "models in attributes of a namespace": [
        HEAD + DEVICE + LOADER + "import types\naligned = types.SimpleNamespace()",
        f"aligned.vision_encoder = VisionTower().to(device)\naligned.decoder = {QWEN}",
        "for batch in loader:\n    h = aligned.vision_encoder(batch['image'].to(device))\n"
        "    aligned.decoder(inputs_embeds=h.last_hidden_state)",
    ],
    "parts of a model that are moved apart": [
        HEAD + DEVICE + LOADER + "from mylab import MultimodalModel\n"
        "import types\naligned = types.SimpleNamespace(vision_encoder=VisionTower())",
        "aligned.vision_encoder.to(device)\n"
        "llm = QwenDecoder('Qwen/Qwen2.5-7B-Instruct', load_in_8bit=True, device_map='auto')",
        "for batch in loader:\n    feats = aligned.vision_encoder(batch['image'].to(device))\n"
        "    llm(feats.pooled)",
    ],
    "a class of the notebook": [
        HEAD + DEVICE + LOADER,
        "class Pipeline:\n    def __init__(self):\n        self.vision = VisionTower().to(device)\n"
        f"        self.decoder = {QWEN}\n\n"
        "    def forward(self, pixels, ids):\n        seen = self.vision(pixels).tokens\n"
        "        return self.decoder(inputs_embeds=seen, input_ids=ids)",
        "pipe = Pipeline()\nfor b in loader:\n"
        "    pipe.forward(b['image'].to(device), b['input_ids'].to(device))",
    ],
    "a factory function": [
        HEAD + DEVICE + LOADER,
        "def load_models():\n    encoder = AlignedEncoder().to(device)\n"
        f"    language = {QWEN}\n    return encoder, language",
        "encoder, language = load_models()",
        "x = encoder(loader[0]['image'].to(device)).sequence\nlanguage(x)",
    ],
    "a factory that returns a call": [
        HEAD + DEVICE + LOADER,
        f"def make():\n    return {QWEN}\n\nlm = make()\nenc = AlignedEncoder().to(device)",
        "y = lm(enc(loader[0]['image'].to(device)).out)",
    ],
    "a model given as a parameter": [
        HEAD + DEVICE + LOADER,
        f"encoder = AlignedEncoder().to(device)\nlanguage = {QWEN}",
        "def evaluate(net, lm, loader):\n    for batch in loader:\n"
        "        feats = net(batch['image'].to(device)).features\n        lm(feats)",
        "evaluate(encoder, language, loader)",
    ],
    "aliases of torch and of the classes": [
        "import torch as th\nimport mylab as lab\nfrom mylab import QwenDecoder as LM\n"
        + LOADER.replace("torch", "th"),
        "dev = th.device('cuda:0')\nenc = lab.AlignedEncoder().to(dev)\n"
        "lm = LM('Qwen/Qwen2.5-7B-Instruct', device_map='auto')",
        "for b in loader:\n    lm(enc(b['image'].to(dev)).sequence)",
    ],
    "joined embeddings": [
        HEAD + DEVICE + LOADER,
        f"encoder = AlignedEncoder().to(device)\nlanguage = {QWEN}\n"
        "bridge = Projector().to(device)",
        "for batch in loader:\n    vis = bridge(encoder(batch['image'].to(device)).sequence)\n"
        "    words = language.get_input_embeddings()(batch['input_ids'].to(device))\n"
        "    both = torch.cat([vis, words], dim=1)\n    language(inputs_embeds=both)",
    ],
    "tokens with two stars": [
        HEAD + DEVICE + LOADER + "from transformers import AutoTokenizer",
        f"tok = AutoTokenizer.from_pretrained('q')\nencoder = AlignedEncoder().to(device)\n"
        f"language = {QWEN}",
        "inputs = tok('How many?', return_tensors='pt').to(device)\nlanguage.generate(**inputs)\n"
        "more = tok(['a'], return_tensors='pt')\nlanguage(**more)\n"
        "language(more.input_ids, attention_mask=more['attention_mask'])",
    ],
    "async and nested functions": [
        HEAD + DEVICE + LOADER + "import asyncio",
        f"encoder = AlignedEncoder().to(device)\nlanguage = {QWEN}",
        "async def answer(pixels: 'torch.Tensor'):\n    def inner(x):\n"
        "        return language(encoder(x).hidden)\n    return inner(pixels)",
        "asyncio.run(answer(loader[0]['image']))",
    ],
    "cuda() and arithmetic": [
        HEAD + LOADER,
        f"encoder = AlignedEncoder().cuda()\nlanguage = {QWEN}",
        "a = encoder(loader[0]['image'].cuda()).a\nb = language(loader[0]['input_ids'].cuda()).b\n"
        "c = a + b\nlanguage(a * 2)",
    ],
    "weights loaded into a model": [
        HEAD + DEVICE + LOADER,
        f"encoder = AlignedEncoder()\nstate = torch.load('x.pt', map_location=device)\n"
        f"encoder.load_state_dict(state)\nencoder = encoder.to(device)\nlanguage = {QWEN}",
        "language(encoder(loader[0]['image'].to(device)).z)",
    ],
    "star arguments": [
        HEAD + DEVICE + LOADER + "def wrap(*args, **kwargs):\n    return kwargs\n",
        "options = dict(use_lora=True)\nencoder = AlignedEncoder(*[1], **wrap(a=2)).to(device)\n"
        "language = QwenDecoder('Qwen/Qwen2.5-7B-Instruct', device_map='auto', **options)",
        "for batch in loader:\n    language(encoder(batch['image'].to(device)).s, *[])",
    ],
    "models in a dict": [
        HEAD + DEVICE + LOADER,
        f"models = {{}}\nmodels['enc'] = AlignedEncoder().to(device)\nmodels['dec'] = {QWEN}\n"
        "first, second = models['enc'], models['dec']",
        "for b in loader:\n    models['dec'](models['enc'](b['image'].to(device)).s)",
    ],
    "a tuple of models": [
        HEAD + LOADER,
        f"enc, dec = AlignedEncoder().to('cuda'), {QWEN}",
        "def forward(batch):\n    batch = {k: v.to('cuda') for k, v in batch.items()}\n"
        "    return dec(enc(batch['image']).z, mask=batch['input_ids'])\n\n"
        "outs = [forward(b) for b in loader]",
    ],
    "a trainer that is given models": [
        HEAD + DEVICE + LOADER,
        f"encoder = AlignedEncoder().to(device)\nlm = {QWEN}",
        "class Trainer:\n    def __init__(self, vision, decoder, loader):\n"
        "        self.vision, self.decoder = vision, decoder\n        self.loader = loader\n\n"
        "    def step(self, batch):\n        pixels = batch['image'].to(device)\n"
        "        return self.decoder(self.vision(pixels).h, labels=batch['input_ids']).loss",
        "trainer = Trainer(encoder, lm, loader)\nfor b in loader:\n    trainer.step(b)",
    ],
    "parts without sizes": [
        HEAD + LOADER + "from mylab import MultimodalModel\nimport types",
        "vlm = types.SimpleNamespace()\nvlm.vision = VisionTower()\nvlm.lm = Projector()\n"
        "vlm.vision.to('cuda:0')\nvlm.lm.to('cuda:0')",
        "for b in loader:\n    vlm.lm(inputs_embeds=vlm.vision(b['image'].to('cuda')).x)",
    ],
    "magic lines around": [
        "%load_ext autoreload\n" + HEAD + DEVICE + LOADER,
        f"%time encoder = AlignedEncoder().to(device)\n!nvidia-smi\nlanguage = {QWEN}",
        "%%time\nout = language(encoder(loader[0]['image'].to(device)).s)",
    ],
}


def _notebook(cells: list[str]) -> Any:
    entries = [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]
    text = json.dumps({"cells": entries, "nbformat": 4, "nbformat_minor": 4}, indent=1)
    return parse_notebook(text, Path("/nowhere/devices.ipynb"))


def _patched(cells: list[str], memory: str = "24GiB") -> list[str]:
    patch = DevicesPatch(devices=parse_devices("cuda:0,cuda:1", memory))
    outcome = rewrite_notebook(_notebook(cells), [patch])
    new = [outcome.sources.get(number, cell) for number, cell in enumerate(cells)]
    assert rewrite_notebook(_notebook(new), [patch]).sources == {}
    return new


def _run(cells: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, module in world().items():
        monkeypatch.setitem(sys.modules, name, module)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        lines = [line.removeprefix("%time ") for line in cell.splitlines()]
        code = "\n".join(line for line in lines if not line.startswith(("%", "!")))
        exec(compile(code, "cell", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("cells", KINDS.values(), ids=KINDS)
def test_the_patched_notebook_runs_on_two_devices(
    cells: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = _run(_patched(cells), monkeypatch)
    models = [each for each in namespace.values() if isinstance(each, Module)]
    holders = [each for each in namespace.values() if hasattr(each, "__dict__")]
    models += [m for each in holders for m in vars(each).values() if isinstance(m, Module)]
    assert {model.device for model in models} == {"cuda:0", "cuda:1"}


@pytest.mark.parametrize("cells", KINDS.values(), ids=KINDS)
def test_a_decoder_too_large_for_one_device_is_spread(
    cells: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Balanced over both, and the tensors go to the first."""
    cells = [cell.replace("7B-Instruct", "9B-Instruct") for cell in cells]
    new = _patched(cells, memory="20GiB")
    text = "\n".join(new)
    assert "balanced" in text or "load_in_8bit" in text or "QwenDecoder(" not in text
    _run(new, monkeypatch)


def test_the_stand_ins_refuse_a_wrong_device() -> None:
    with pytest.raises(RuntimeError, match="on cuda:1, a tensor on cpu"):
        Module(device_map={"": "cuda:1"})(Tensor())
