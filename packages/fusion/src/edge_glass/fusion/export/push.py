"""A trained model to the Hugging Face Hub, with its card: the work of `edge-glass push`."""

from __future__ import annotations

import re
from pathlib import Path

from edge_glass.encoders.checkpoint import load_checkpoint
from edge_glass.encoders.dual_encoder_config import MODEL as DUAL_ENCODER
from edge_glass.encoders.hub import check_hub_id, publish_folder
from edge_glass.fusion.export.model_card import frozen_parts, model_card
from edge_glass.fusion.vlm_config import FORMAT

# `amlr` is Apple's licence for research, such as that of MobileCLIP; the Academic Free License
# allows all use.
FORBIDDEN = re.compile(
    r"research|academic(?!.free)|evaluation only|non[-_ ]?commercial|no commercial"
    r"|(?<![a-z])(nc|amlr)(?![a-z])",
    re.IGNORECASE,
)
# Models whose licence is for research only, also if the options name no licence.
RESEARCH_ONLY = re.compile(r"qwen/qwen2\.5-(coder-|omni-|vl-)?3b(-.*)?", re.IGNORECASE)
LICENSE_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # as the hub lists them


def push_model(
    folder: Path,
    repo_id: str,
    *,
    project: Path,
    license_name: str | None = None,
    private: bool = False,
) -> str:
    """Publishes the folder of a model, and returns the commit.

    Args:
        folder: a dual encoder or a vision-language model.
        repo_id: owner/name on the hub.
        project: the folder of the pipeline, for the figures of the card.
        license_name: licence of the trained weights, as the hub names it.
        private: whether a new repository is private.

    Raises:
        CheckpointError: if the folder holds no checkpoint.
        HubError: if the hub refuses it.
        ValueError: if the folder is of a different kind, a licence forbids publishing, or a part of
            the model lies in a folder of this machine.
    """
    check_hub_id(repo_id)
    if license_name and not LICENSE_NAME.fullmatch(license_name):
        raise ValueError(
            f"--license is {license_name!r}, expected the hub's name of a licence, such as "
            "apache-2.0, cc-by-4.0 or other"
        )
    if not project.is_dir():
        raise FileNotFoundError(
            f"{project}: no such folder; give the one with dvc.lock and metrics/ with --project"
        )
    config, _ = load_checkpoint(folder)
    if config.get("model") == DUAL_ENCODER:
        kind = DUAL_ENCODER
    elif config.get("format") == FORMAT:
        kind = "vision_language_model"
    else:
        raise ValueError(
            f"{folder} holds neither a dual encoder nor a vision-language model of this version: "
            "give a folder such as models/align, or load and save an old model first"
        )
    for part, options in frozen_parts(config):
        licence = options.get("license")
        if not licence and RESEARCH_ONLY.fullmatch(str(options.get("model"))):
            licence = "Qwen Research License"
        if licence and FORBIDDEN.search(str(licence)):
            raise ValueError(
                f"the {part} {options.get('model')} has the licence {licence!r}, which forbids "
                "publishing a model made of it: train with a different one"
                + (", such as qwen2_5_7b (Apache-2.0)" if part == "decoder" else "")
            )
        source = str(options.get("model") or options.get("weights") or "")
        if source and (source.startswith((".", "/", "~")) or Path(source).exists()):
            raise ValueError(
                f"the {part} of {folder} is {source}, which is on this machine only: publish it "
                "too, train with its hub id and commit, or use `edge-glass export`, which copies it"
            )
    card = model_card(folder, repo_id, kind, project, license_name=license_name)
    return publish_folder(folder, repo_id, card=card, private=private)
