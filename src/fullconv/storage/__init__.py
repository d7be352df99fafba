"""Files: images are read here, and every output is written here, whole or not at all."""
