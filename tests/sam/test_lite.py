"""EfficientNet-Lite0 without batch norms answers as timm's with them."""

import torch
from torch import nn

from segzs.checkpoints.folding import fold_norms
from segzs.sam.networks.lite import Lite0, build_lite0


def test_folding_norms_changes_no_features() -> None:
    torch.manual_seed(0)
    network = build_lite0().eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)
            part.running_var.uniform_(0.5, 2)
    pixels = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        before = network(pixels)
        after = fold_norms(network)(pixels)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    for ours, theirs, channels in zip(after, before, Lite0.CHANNELS, strict=True):
        assert ours.shape[1] == channels
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
