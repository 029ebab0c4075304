"""Language decoders of Edge Glass: TRM, Qwen2.5, their tokenizer and the sampling loop.

Import the modules themselves (`from edge_glass.decoders.trm import TinyRecursiveConfig`): this file
stays empty so that a command line can name a decoder without loading torch or transformers.
"""
