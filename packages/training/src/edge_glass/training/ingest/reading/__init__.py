"""What the readers share: the files of a source, its texts, its tables, and records."""
