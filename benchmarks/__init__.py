"""Every figure in the documentation, by a command: ``benchmarks.speed`` and ``benchmarks.quality``."""
