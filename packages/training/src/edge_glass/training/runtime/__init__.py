"""Executors, Dask, locks and progress."""
