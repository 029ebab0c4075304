"""Inspect, decide, write and check what the models are trained on."""
