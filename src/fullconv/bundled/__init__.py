"""What ships with the package: a small texture classifier and the photographs it was trained on."""
