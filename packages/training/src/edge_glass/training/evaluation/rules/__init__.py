"""Published rules that score answers, besides exact match."""
