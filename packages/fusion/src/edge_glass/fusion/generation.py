"""An answer of a vision-language model, word by word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from edge_glass.decoders.sampling import Sampling, generate_words
from edge_glass.fusion.prompt import prompt_ids
from edge_glass.fusion.text_stream import AnswerStream, cut_at
from edge_glass.fusion.token_scores import Observe

if TYPE_CHECKING:
    from edge_glass.fusion.vlm import VisionLanguageModel


@torch.no_grad()
def generation_arguments(
    model: VisionLanguageModel,
    features: Float[Tensor, "B P Din"],
    input_ids: Int[Tensor, "B T"],
    attention_mask: Int[Tensor, "B T"],
    sampling: Sampling,
    examples: Sequence[int] | None,
) -> dict[str, Any]:
    """Returns the arguments of `sampling.generate` for prompts and their images.

    Call both in the model's `autocast`.
    """
    visual = model.see(features)
    fused = model.fused(visual, input_ids, attention_mask)
    return {
        **word_arguments(model, visual, sampling),
        "inputs_embeds": fused.inputs_embeds,
        "attention_mask": fused.attention_mask,
        "prefix_length": fused.prefix_length,
        "examples": examples,
    }


def word_arguments(
    model: VisionLanguageModel, visual: Float[Tensor, "B N Dv"], sampling: Sampling
) -> dict[str, Any]:
    """Returns the arguments of `sampling.generate` that concern the words of the answer."""

    def embed_next(token_ids: Tensor) -> Tensor:
        return model.fusion.extend(visual, model.embed(visual, token_ids))

    def stopped(words: Tensor) -> Tensor:
        texts = model.tokenizer.batch_decode(words, skip_special_tokens=True)
        found = [cut_at(text, sampling.stop) != text for text in texts]
        return torch.tensor(found, device=words.device)

    return {
        "decoder": model.decoder,
        "embed_next": embed_next,
        "max_new_tokens": sampling.max_new_tokens or model.config.max_new_tokens,
        "eos_token_id": (int(model.tokenizer.eos_token_id), *model.decoder.stop_ids),
        "sampling": sampling,
        "stopped": stopped if sampling.stop else None,
    }


def stream_answer(
    model: VisionLanguageModel,
    features: Float[Tensor, "1 P Din"],
    question: str,
    history: Sequence[str] = (),
    *,
    sampling: Sampling | None = None,
    example: int = 0,
    observe: Observe | None = None,
) -> AnswerStream:
    """Returns the answer to one question in pieces, as they come.

    Together they are what `answer_features` returns for a batch of one. `history` has the messages
    before the question; `example` decides the noise if words are sampled. `observe` receives the
    logits of each token, see `token_scores.py`.
    """
    sampling = sampling or Sampling()
    input_ids = torch.tensor([prompt_ids(model.tokenizer, question, history)]).to(model.device)
    ones = torch.ones_like(input_ids)
    with model.autocast():
        arguments = generation_arguments(
            model, features.to(model.device), input_ids, ones, sampling, [example]
        )
    if observe is not None:
        arguments["observe"] = lambda logits, words: observe(
            logits[0].float().cpu().numpy(), int(words)
        )
    return AnswerStream(
        _words(model, arguments),
        lambda words: str(model.tokenizer.decode(words, skip_special_tokens=True)),
        stop=sampling.stop,
        end_ids=arguments["eos_token_id"],
        num_prompt_positions=arguments["inputs_embeds"].shape[1],
    )


def _words(model: VisionLanguageModel, arguments: dict[str, Any]) -> Iterator[int]:
    words = generate_words(**arguments)
    while True:
        with model.autocast():  # not around `yield`, which would change the caller's precision
            word = next(words, None)
        if word is None:
            return
        yield int(word)
