"""The patch `devices`: a memory plan, and the moves of models and tensors that follow from it."""
