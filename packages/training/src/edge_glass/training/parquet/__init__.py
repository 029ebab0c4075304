"""Parquet files with images: schemas, row groups, rows."""
