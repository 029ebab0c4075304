"""Data, augmentation and losses of stage `align`."""
