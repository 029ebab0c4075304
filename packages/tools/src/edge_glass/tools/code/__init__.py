"""What the code of a notebook means, read from its syntax. Nothing is imported and nothing is run."""
