"""Times of segzs and of a peer on the same machine, weights and image: ``python -m benchmarks.speed``."""
