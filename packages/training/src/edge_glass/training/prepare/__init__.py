"""Inspects the images and texts of a data set, plans what to keep, writes it, and checks it."""
