"""Import of common data formats: images with captions or questions become Parquet with bytes."""
