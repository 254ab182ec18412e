"""CLIP: models, image and text features, vocabularies, and zero-shot classification."""

from segzs.environment import require_fitting_torchvision

require_fitting_torchvision()
