"""Each speed of segzs beside a peer's, on the same machine, weights and picture: ``python -m benchmarks``."""
