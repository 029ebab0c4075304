"""Notebooks of the kinds that the hot-fix scripts were for, as they were and as they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HELPERS = '''"""A module beside the notebooks."""


def image_pipeline(size, *, is_training):
    """Returns the image transform of this project."""
    raise NotImplementedError


class QuestionRows:
    def __init__(self, path, tokenizer, transform):
        self.path = path
'''
DEVICES = [
    "import torch\nfrom mylab.align import AlignedEncoder\nfrom mylab.language import QwenDecoder\n"
    "\ndevice = torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "encoder = AlignedEncoder(width=4096).to(device)",
    "language = QwenDecoder(\n    model_name='Qwen/Qwen2.5-7B-Instruct',\n    load_in_4bit=False,\n"
    "    use_lora=True,\n    device_map='auto',\n)",
    "def see(pixels: torch.Tensor):\n    '''Runs the vision half.'''\n    with torch.no_grad():\n"
    "        out = encoder.vision(pixels, return_sequence=True)\n    return out.sequence",
    "bridge = torch.nn.Linear(4096, language.hidden_dim).to(device)",
    "for batch in loader:\n    tokens = bridge(see(batch['image'].to(device)))\n    break",
]
DEVICES_AFTER = {
    0: DEVICES[0].replace("'cuda' if torch.cuda.is_available()",
                          "'cuda:0' if torch.cuda.device_count() > 0"),
    2: "device_cuda_1 = torch.device('cuda:1' if torch.cuda.device_count() > 1 else 'cpu')\n"
       + DEVICES[2].replace("'auto'", "{'': device_cuda_1}"),
    3: DEVICES[3].replace("vision(pixels,", "vision(pixels.to(device),"),
}  # fmt: skip
COLLATE = [
    "import torch\nfrom torch.nn.utils.rnn import pad_sequence\n"
    "from torch.utils.data import DataLoader",
    "def collate_fn(rows):\n    pixels = torch.stack([r['image'] for r in rows])\n"
    "    q = pad_sequence([r['question_ids'] for r in rows], batch_first=True, "
    "padding_value=tokenizer.pad_token_id)\n"
    "    q_mask = pad_sequence([r['question_mask'] for r in rows], batch_first=True, "
    "padding_value=0)\n"
    "    a = pad_sequence([r['answer_ids'] for r in rows], batch_first=True, "
    "padding_value=tokenizer.pad_token_id)\n"
    "    return {\n        'images': pixels,\n        'question_ids': q,\n"
    "        'question_mask': q_mask,\n        'answer_ids': a,\n    }",
    "loader = DataLoader(rows, batch_size=8, collate_fn=collate_fn)",
    "for batch in loader:\n    guess = model.generate(batch['images'], batch['question_ids'])\n"
    "    right = sum(g.strip() == t for g, t in zip(guess, batch['answers'], strict=True))\n"
    "    break",
]
COLLATE_AFTER = {1: COLLATE[1].replace(
    "'answer_ids': a,\n", "'answer_ids': a,\n        'answers': [r['answer'] for r in rows],\n"
)}  # fmt: skip
TRANSFORMS = [
    "from helpers import QuestionRows, image_pipeline",
    "train = QuestionRows('train.parquet', tokenizer, image_pipeline(336, is_train=True))\n"
    "held_out = QuestionRows('val.parquet', tokenizer, image_pipeline(336, is_train=False))",
    "picture = val_transform(Image.open('scene.png'))",
]
TRANSFORMS_AFTER = {
    1: TRANSFORMS[1].replace("is_train=", "is_training="),
    2: "val_transform = image_pipeline(336, is_training=False)\n" + TRANSFORMS[2],
}
BOOKS = {
    "devices": (DEVICES, DEVICES_AFTER),
    "collate": (COLLATE, COLLATE_AFTER),
    "transforms": (TRANSFORMS, TRANSFORMS_AFTER),
}


def write(path: Path, cells: list[str], **extra: Any) -> Path:
    entries = [{"cell_type": "code", "execution_count": None, "id": f"c{n}", "metadata": {},
                "outputs": [], "source": cell.splitlines(True), **extra}
               for n, cell in enumerate(cells)]  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = {"cells": entries, "metadata": {"kernelspec": kernel}, "nbformat": 4,
            "nbformat_minor": 5}  # fmt: skip
    path.write_text(json.dumps(book, indent=1) + "\n")
    return path
