"""The patch `paths`: paths of one machine become relative to the notebook."""
