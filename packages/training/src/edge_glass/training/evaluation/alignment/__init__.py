"""What `evaluate_align` writes about a split besides recall."""
