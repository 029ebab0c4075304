"""Packing, batches, loss, validation, launches and options of stage `vlm_qa`."""
