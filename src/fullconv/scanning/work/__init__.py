"""The scan itself: px in, strip after strip, and chunks of scores out."""
