"""Checkpoints: the registry of models; finding, downloading and reading their files."""
