"""What all benchmarks share: timing in turn, the machine, the networks, results and their page."""
