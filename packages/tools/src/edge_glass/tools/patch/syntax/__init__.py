"""Tools for rewriting with libcst: what a name stands for, and inserting code in the local style."""
