"""Fusion of visual tokens into a language decoder, and the vision-language model made from it."""
