"""What all training stages share: determinism, order, optimizer, state, curves."""
