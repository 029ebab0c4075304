"""Contact sheets: images in a grid, with captions."""
