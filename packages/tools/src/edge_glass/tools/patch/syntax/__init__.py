"""Rewriting with libcst: what a name stands for, and inserting code in the style there is."""
