"""Frozen encoders, poolings and Matryoshka heads: pictures and captions to embeddings.

Nothing heavy is imported here: take what you need from its module, for example
``from edge_glass.encoders.dual_encoder import DualEncoder``.
"""
