"""What lmms-eval reads to find our model: the entry point `lmms_eval.models`."""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """Returns the name of the model and the path of its class."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="edge_glass",
        simple_class_path="edge_glass.fusion.evaluators.lmms_eval_model.EdgeGlass",
    )
