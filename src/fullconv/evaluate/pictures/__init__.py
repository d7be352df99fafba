"""Score maps drawn: tinted images with a title and a colour bar, and maps of winning classes."""
