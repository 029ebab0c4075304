"""What both training loops share: options, optimizer, state, best weights, curves, certificate."""
