"""The PyTorch host: torch.fx reads classifiers and carries plans out."""
