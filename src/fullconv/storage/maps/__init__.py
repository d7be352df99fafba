"""Score maps as files: the native store, and what other programs open."""
