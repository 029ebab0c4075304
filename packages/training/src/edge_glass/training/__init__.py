"""Reproducible training of aligned encoders and vision-language models, stage by stage."""
