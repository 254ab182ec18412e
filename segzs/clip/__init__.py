"""CLIP: build and load, vocabularies, crops of masks, names."""
