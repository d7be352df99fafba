"""What weights there are, and how few would do."""
