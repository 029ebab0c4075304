"""Fusion of visual tokens into a language decoder, and the vision-language model built of it."""
