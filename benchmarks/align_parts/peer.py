"""The peer of `align_peer.py`: the trainer of sentence-transformers over cached features.

Each modality is a route of a Router, whose input is the number of a row and whose module holds the
pooling and the head of a dual encoder of this project.
"""

from __future__ import annotations

from typing import Any

import torch

from edge_glass.training.engine.determinism import make_deterministic, reseed
from edge_glass.training.features.cache import gather, read_index, vision_features
from edge_glass.training.features.captions import caption_rows
from edge_glass.training.folders import PREPARED
from edge_glass.training.stages.align import build_model

SCALE = 20.0  # of the peer's cosines, its default and a constant there; ours is learned


def train_peer(params: Any, options: dict[str, Any]) -> Any:
    """Train with sentence-transformers; return the model that holds the trained parts."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.modules import InputModule, Router
    from sentence_transformers.base.sampler import BatchSamplers
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MatryoshkaLoss,
    )

    class Images(InputModule):
        """Pooling and image head; an input is a row of the split."""

        modalities = ("image",)

        def __init__(self) -> None:
            super().__init__()
            self.pooling, self.head = dual.pooling, dual.image_head

        def preprocess(self, inputs: list[int], **_: object) -> dict[str, torch.Tensor]:
            return {"input_features": gather(vision, rows.images[inputs])}

        def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
            pooled = self.pooling(features["input_features"]).mean(dim=1)
            return {**features, "sentence_embedding": self.head(pooled)}

        def get_embedding_dimension(self) -> int:
            return int(config.matryoshka_dims[0])

        def save(self, output_path: str, *_: object, **__: object) -> None:
            raise NotImplementedError(output_path)

    class Texts(Images):
        """Text head; an input is a group, of which a caption is drawn, or a caption."""

        modalities = ("text",)

        def __init__(self) -> None:
            InputModule.__init__(self)
            self.head = dual.text_head

        def preprocess(self, inputs: list[int], **_: object) -> dict[str, torch.Tensor]:
            if one_per_image:
                drawn = torch.rand(len(inputs), generator=draws).tolist()
                lists = [captions[group] for group in inputs]
                pairs = zip(lists, drawn, strict=True)
                inputs = [each[int(draw * len(each))] for each, draw in pairs]
            return {"input_features": rows.features[inputs]}

        def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
            return {**features, "sentence_embedding": self.head(features["input_features"])}

    config, optim = params.align, params.align.optim
    make_deterministic(params.num_threads, "native")
    rows, vision = caption_rows("train", PREPARED), vision_features("captions", "train")
    reseed(params.seed, "align", "init")
    dual = build_model(params, read_index()).train()
    draws = torch.Generator().manual_seed(params.seed)
    # NO_DUPLICATES compares inputs. With the group as the text, a batch has no false negatives.
    one_per_image = options.get("rows", "images") == "images"
    captions: dict[int, list[int]] = {}
    for row, group in enumerate(rows.groups.tolist()):
        captions.setdefault(group, []).extend(rows.texts[row].tolist())
    if one_per_image:
        columns = {"image": list(range(len(rows.images))), "text": rows.groups.tolist()}
    else:
        every = [(row, text) for row, texts in enumerate(rows.texts) for text in texts.tolist()]
        columns = {"image": [row for row, _ in every], "text": [text for _, text in every]}

    model = SentenceTransformer(
        modules=[Router({"image": [Images()], "text": [Texts()]})], device="cpu"
    )
    loss = MatryoshkaLoss(
        model,
        CachedMultipleNegativesRankingLoss(
            model,
            scale=options.get("scale", SCALE),
            mini_batch_size=options.get("mini_batch", config.batch_size // config.num_microbatches),
            directions=("query_to_doc", "doc_to_query"),
            partition_mode="per_direction",
        ),
        list(config.matryoshka_dims),
        list(config.matryoshka_weights),
    )
    pooling_rate = options.get("pooling_rate", config.pooling_learning_rate)
    arguments = SentenceTransformerTrainingArguments(
        output_dir="peer",
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=options.get("rate", optim.learning_rate),
        learning_rate_mapping={r"\.pooling\.": pooling_rate} if pooling_rate else {},
        weight_decay=optim.weight_decay,
        adam_beta2=optim.beta2,
        max_grad_norm=optim.max_grad_norm,
        warmup_steps=optim.warmup_steps,
        lr_scheduler_type="cosine",
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        router_mapping={"image": "image", "text": "text"},
        dataloader_drop_last=True,
        seed=params.seed,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss
    )
    trainer.train()
    return dual
