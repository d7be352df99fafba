"""How an image flows through a network row by row: integers only, no tensor and no host."""
