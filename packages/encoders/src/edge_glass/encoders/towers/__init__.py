"""Frozen vision and text encoders, and how an image becomes their input."""
