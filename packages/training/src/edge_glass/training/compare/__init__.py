"""Two runs compared byte by byte."""
