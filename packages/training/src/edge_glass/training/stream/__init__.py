"""Row-group datasets that read images from Parquet during training."""
