"""Features, augmentation, loss, validation and options of stage `align`."""
