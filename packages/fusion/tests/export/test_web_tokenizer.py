"""The page's tokenizer gives the ids of the Python package `tokenizers`, run by Node.js."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from edge_glass.encoders.dual_encoder import DualEncoder
from edge_glass.fusion.export.npm_package import package_files
from edge_glass.fusion.export.onnx_dual_encoder import save_tokenizer
from edge_glass.fusion.export.web_page import PACKAGES

NUM_TEXTS = 1000
SCRIPT = """
import { readFileSync } from "node:fs";
import { TextTokenizer } from "./tokenizer.js";

const read = (name) => JSON.parse(readFileSync(name, "utf8"));
const { texts, maxTokens } = JSON.parse(readFileSync(0, "utf8"));
const tokenizer = new TextTokenizer(
  read("tokenizer.json"), read("tokenizer_config.json"), maxTokens,
);
for (const text of texts) console.log(JSON.stringify(tokenizer.ids(text)));
"""
ODD = (
    "", " ", "a\tb\nc", "Ágnes' crème brûlée, ÅNGSTRÖM & Straße!", "猫と犬 — 東京", "e\u0301 é",
    "don't; it's 3.14 %", "👍🏽 family 👨‍👩‍👧", "[CLS] [PAD] [SEP] [MASK]", "x" * 200,
    "\u200bzero\u00a0width",
    "سلام دنیا", "हिन्दी", "...!!!", "C++ / C#", "\ufffd\x00\x07bell",
)  # fmt: skip


def captions(tokenizer: Tokenizer) -> list[str]:
    """Draws texts of whole words, some with capitals and signs, some longer than the limit."""
    draws = np.random.default_rng(0)
    words = sorted(each for each in tokenizer.get_vocab() if each.isalpha())
    texts = list(ODD)
    while len(texts) < NUM_TEXTS:
        chosen = draws.choice(words, int(draws.integers(1, 40))).tolist()
        text = draws.choice([" ", ", ", "-"]).join(chosen)
        texts.append(text.title() if draws.random() < 0.3 else text)
    return texts


@pytest.mark.slow
def test_ids_are_those_of_the_python_package(dual: DualEncoder, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js")
    try:
        files = package_files(PACKAGES[1])
    except ValueError as error:
        pytest.skip(str(error))
    (tmp_path / "runtime").mkdir()
    library = files["dist/tokenizers.min.mjs"]
    (tmp_path / "runtime" / "tokenizers.min.mjs").write_bytes(library)
    source = importlib.resources.files("edge_glass.fusion.export") / "web" / "tokenizer.js"
    (tmp_path / "tokenizer.js").write_bytes(source.read_bytes())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "script.js").write_text(SCRIPT)
    save_tokenizer(dual.text.model.tokenizer, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(dual.text.max_tokens)
    texts = captions(tokenizer)
    done = subprocess.run(
        [node, "script.js"],
        input=json.dumps({"texts": texts, "maxTokens": dual.text.max_tokens}),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    expected = [tokenizer.encode(text).ids for text in texts]
    assert sum(len(each) == dual.text.max_tokens for each in expected) > 100
    wrong = [
        (text, ours, theirs)
        for text, ours, theirs in zip(texts, found, expected, strict=True)
        if ours != theirs
    ]
    assert wrong == []
