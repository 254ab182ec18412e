"""EfficientNet-Lite0 without batch norms: the tiny SAM's backbone.

Tan and Le, "EfficientNet", ICML 2019; the Lite variant has neither squeeze-and-excitation nor swish.
"""

from __future__ import annotations

import timm
from torch import Tensor, nn

from segzs.checkpoints.folding import fold_norms


def build_lite0() -> nn.Module:
    """timm's network with batch norms, untrained: B 3 S S -> features at strides 4, 8, 16 and 32."""
    return timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4), pretrained=False)


class Lite0(nn.Module):
    """B 3 S S -> features of 24, 40, 112 and 320 channels at strides 4, 8, 16 and 32."""

    CHANNELS = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.network = fold_norms(build_lite0())

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.network(pixels)
