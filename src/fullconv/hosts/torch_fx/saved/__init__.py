"""A network as data: what can be written of it, and built again without any code."""
