"""SAM: build and load, encode an image once, decode prompts, find everything."""

from segzs.environment import require_fitting_torchvision

require_fitting_torchvision()
