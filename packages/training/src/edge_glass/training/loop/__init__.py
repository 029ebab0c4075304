"""What both training loops share: optimizer, state, best weights, curves, certificate."""
