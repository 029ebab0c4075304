"""From PixMo files to tensors: reading, filtering, splitting, caching, batching."""
