"""What several stages share: determinism, order, processes, sums."""
