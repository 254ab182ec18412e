"""SAM: load a model, encode an image once, decode prompts, segment everything."""

from segzs.environment import require_fitting_torchvision

require_fitting_torchvision()
