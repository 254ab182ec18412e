"""CLIP: build and load, vocabularies, crops of masks, maps of what it sees, names."""

from segzs.environment import require_fitting_torchvision

require_fitting_torchvision()
