"""Ideas for better names against plain naming: ``python -m benchmarks.quality.names``."""
