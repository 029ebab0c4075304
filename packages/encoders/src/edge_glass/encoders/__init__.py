"""Frozen encoders, poolings and Matryoshka heads: images and captions to embeddings.

Nothing heavy is imported here: import each class from its module, for example
`from edge_glass.encoders.dual_encoder import DualEncoder`.
"""
