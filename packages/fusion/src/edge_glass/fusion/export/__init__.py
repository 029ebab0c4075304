"""Models in formats that other tools read: one file per format, and the Hugging Face Hub."""
