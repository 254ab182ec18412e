"""EfficientNet-Lite0 without batch norms: the tiny SAM's backbone.

Tan and Le, "EfficientNet", ICML 2019; the Lite variant has neither squeeze-and-excitation nor swish.
"""

from __future__ import annotations

import timm
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

PAIRS = (
    ("conv_stem", "bn1"),
    ("conv_dw", "bn1", "conv_pw", "bn2"),
    ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"),
)
"""Convolutions, each with the norm behind it, of the stem and of timm's two kinds of blocks."""


def build_lite0() -> nn.Module:
    """timm's network with batch norms, untrained: B 3 S S -> features at strides 4, 8, 16 and 32."""
    return timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4), pretrained=False)


def fold_norms(network: nn.Module) -> nn.Module:
    """Fold each batch norm, with its frozen statistics, into the convolution before it; in place."""
    for module in list(network.modules()):
        names = next((pair for pair in reversed(PAIRS) if all(hasattr(module, name) for name in pair)), ())
        for convolution, norm in zip(names[::2], names[1::2], strict=True):
            before, behind = getattr(module, convolution), getattr(module, norm)
            setattr(module, convolution, fuse_conv_bn_eval(before.eval(), behind.eval()))
            setattr(module, norm, behind.act)
    return network


class Lite0(nn.Module):
    """B 3 S S -> features of 24, 40, 112 and 320 channels at strides 4, 8, 16 and 32."""

    CHANNELS = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.network = fold_norms(build_lite0())

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return self.network(pixels)
