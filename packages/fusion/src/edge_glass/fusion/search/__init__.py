"""An index of the images in a folder, and queries to it."""
