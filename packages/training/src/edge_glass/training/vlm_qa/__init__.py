"""Packing, batches, loss, validation and launches of stage `vlm_qa`."""
