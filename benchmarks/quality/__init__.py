"""The quality of masks and names: ``python -m benchmarks.quality.faithfulness``."""
