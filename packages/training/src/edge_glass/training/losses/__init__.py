"""Training losses: contrastive, Matryoshka, answer-only causal language modelling."""
