"""Fold batch norms into convolutions: the same network with fewer layers."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_norms(network: Network) -> Network:
    """Fold each batch norm, with its frozen statistics, into the convolution before it; in place.

    A norm follows a convolution if it is registered right behind it, as in timm's networks. The activation that timm
    puts into a norm stays.
    """
    for module in list(network.modules()):
        for (name, convolution), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution.eval(), norm.eval()))
                setattr(module, norm_name, getattr(norm, "act", nn.Identity()))
    return network
