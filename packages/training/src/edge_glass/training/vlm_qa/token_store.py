"""Tokenised questions on the disk: made once by the first process, mapped by all.

They are not an output of a stage, and DVC does not track them: missing ones are made again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_glass.encoders.files import DataError, output_folder, sha256_of, write_json
from edge_glass.training.engine.processes import Processes
from edge_glass.training.folders import TOKENS
from edge_glass.training.runtime.libraries import installed_versions
from edge_glass.training.vlm_qa.token_arrays import TokenArrays, open_token_arrays

FACTS = "facts.json"
REMEDY = "delete this folder, and the questions are tokenised again"


@dataclass(frozen=True, kw_only=True)
class PackedFacts:
    """What is known of packed rows besides their tokens.

    Attributes:
        sizes: how many rows are questions, and how many are captions.
        num_learned: questions and captions that are learned.
        conversations: whether any question follows an earlier one.
        left_out: a line for each reason why questions or captions are not learned.
    """

    sizes: tuple[int, int]
    num_learned: int
    conversations: bool
    left_out: list[str]


def tokenizer_mark(tokenizer: Any) -> dict[str, Any]:
    """Returns what the ids of texts depend on: the tokenizer, its template and its libraries."""
    rules = tokenizer.backend_tokenizer.to_str()
    return {
        "rules": hashlib.sha256(rules.encode()).hexdigest(),
        "template": tokenizer.chat_template,
        "special": tokenizer.special_tokens_map,
        "libraries": installed_versions(("tokenizers", "transformers")),
    }


def stored_tokens(
    key: dict[str, Any],
    make: Callable[[], tuple[TokenArrays, PackedFacts]],
    processes: Processes,
) -> tuple[TokenArrays, PackedFacts]:
    """Maps the tokens of this key; if they are not stored, the first process makes them.

    Args:
        key: all that the tokens depend on, as JSON holds it. Tokens of other keys are deleted.
        make: tokenises and packs.
        processes: of the run; the others wait for the first.
    """
    text = json.dumps(key, sort_keys=True, default=str)
    folder = TOKENS.resolve() / hashlib.sha256(text.encode()).hexdigest()[:16]
    if processes.main and not folder.is_dir():
        samples, facts = make()
        for other in TOKENS.glob("*"):
            if other.is_dir():  # nothing here writes files beside the folders
                shutil.rmtree(other)
        with output_folder(folder) as work:
            samples.save(work)
            digests = {path.name: sha256_of(path) for path in sorted(work.iterdir())}
            write_json(work / FACTS, dataclasses.asdict(facts) | {"sha256": digests})
    processes.wait()
    try:
        raw = json.loads((folder / FACTS).read_text())
        digests = raw.pop("sha256")
        facts = PackedFacts(**raw | {"sizes": tuple(raw["sizes"])})
        for name, expected in digests.items() if processes.main else ():
            if (found := sha256_of(folder / name)) != expected:
                raise ValueError(f"{name}: found SHA-256 {found}, expected {expected}")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{folder}: can't be read ({error!r}): {REMEDY}") from error
    return open_token_arrays(folder), facts
