"""Programs over the library; thin."""
