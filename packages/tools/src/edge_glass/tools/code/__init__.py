"""What the code of a notebook means, read from its syntax. Nothing of it is run."""
