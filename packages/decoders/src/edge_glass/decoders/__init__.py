"""Language decoders of Edge Glass: TRM, causal language models, tokenizer and sampling loop.

Import the modules directly (`from edge_glass.decoders.trm import TinyRecursiveConfig`). This file
stays empty, so that importing the package loads neither torch nor transformers.
"""
