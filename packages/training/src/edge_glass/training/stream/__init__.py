"""Batches of rows and images, read from Parquet row groups while training runs.

No stage of the pipeline imports this folder yet: stages read prepared data and cached features.
`docs/loading.md` describes its use in other training loops. Notebooks use `dict_rows`.
"""
