"""Executors, Dask, locks, outputs, progress, and the versions of the code that runs."""
