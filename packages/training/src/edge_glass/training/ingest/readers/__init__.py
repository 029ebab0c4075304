"""One reader per format: it yields records in a fixed order, and never an image's pixels."""
