"""Plots and image sheets of the evaluation stages."""
