"""Search in a folder of images: an index of their embeddings, and queries to it."""
