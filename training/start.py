"""Weights that the tiny SAM's training starts from: ``python -m training.start``.

The backbone is EfficientNet-Lite0 as ImageNet trained it. All behind it comes from weights of the tiny SAM that had
another backbone (RegNetX-400MF); its four lateral convolutions are fitted so that they give what the earlier ones gave.

    git show 0f9b546:checkpoints/tiny_sam.safetensors > earlier.safetensors
    python -m training.start --inputs INPUTS --earlier earlier.safetensors --out start.safetensors

``training/pretrained.py`` says how INPUTS is filled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from segzs.checkpoints.folding import fold_norms
from segzs.sam.networks.lite import build_lite0
from segzs.sam.networks.tiny import PIXEL_MEAN, PIXEL_STD, build_tiny_sam
from training.batches import Sources, sources
from training.packs import add_packs_argument
from training.pretrained import efficientnet_lite

EARLIER_MEAN, EARLIER_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
IMAGES, SIDE, RIDGE = 96, 512, 0.01


def lite0_weights(inputs: Path) -> dict[str, Tensor]:
    """The weights of ImageNet's EfficientNet-Lite0 by the names of `segzs.sam.networks.lite.Lite0`."""
    network, weights = build_lite0(), efficientnet_lite(inputs, 0).state_dict()
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    return {f"network.{name}": value for name, value in fold_norms(network.eval()).state_dict().items()}


def fit(inputs: list[Tensor], targets: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias of the linear map from columns C N to columns D N, by ridge regression."""
    x, y = torch.cat(inputs, 1).double(), torch.cat(targets, 1).double()
    x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    x, y = x - x_mean, y - y_mean
    scatter = x @ x.T
    scatter += RIDGE * scatter.diagonal().mean() * torch.eye(len(x), dtype=x.dtype)
    weight = torch.linalg.solve(scatter, x @ y.T).T
    error = (y - weight @ x).square().mean() / y.square().mean()
    print(f"{x.shape[0]} -> {y.shape[0]} channels: {error:.3f} of the variance is left")
    return weight.float(), (y_mean - weight @ x_mean)[:, 0].float()


@torch.no_grad()
def fit_laterals(sam: nn.Module, earlier: dict[str, Tensor], images: list[np.ndarray]) -> None:
    """Give the lateral convolutions of ``sam`` weights with which they answer as those of ``earlier`` did."""
    prefix = "image_encoder."
    regnet = timm.create_model("regnetx_004", features_only=True, out_indices=(1, 2, 3, 4), pretrained=False).eval()
    regnet.load_state_dict({k: earlier[f"{prefix}backbone.{k}"] for k in regnet.state_dict()})
    encoder = sam.image_encoder
    inputs: dict[str, list[Tensor]] = {"16": [], "8": [], "4": []}
    targets: dict[str, list[Tensor]] = {"16": [], "8": [], "4": []}
    for image in images:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        before = regnet((pixels - torch.tensor(EARLIER_MEAN)[:, None, None]) / torch.tensor(EARLIER_STD)[:, None, None])
        now = encoder.backbone((pixels - PIXEL_MEAN) / PIXEL_STD)
        old4, old8, old16, old32 = (
            F.conv2d(x, earlier[f"{prefix}lateral_{n}.weight"], earlier[f"{prefix}lateral_{n}.bias"])
            for x, n in zip(before, ("4", "8", "16", "32"), strict=True)
        )
        old16 = old16 + F.interpolate(old32, scale_factor=2, mode="bilinear")
        now16 = torch.cat([now[2], F.interpolate(now[3], scale_factor=2, mode="bilinear")], 1)
        for name, x, y, step in (("16", now16, old16, 1), ("8", now[1], old8, 2), ("4", now[0], old4, 4)):
            inputs[name].append(x[0, :, ::step, ::step].flatten(1))
            targets[name].append(y[0, :, ::step, ::step].flatten(1))
    weight, bias = fit(inputs["16"], targets["16"])
    width = encoder.lateral_16.in_channels
    for lateral, part in ((encoder.lateral_16, weight[:, :width]), (encoder.lateral_32, weight[:, width:])):
        lateral.weight.copy_(part[..., None, None])
        lateral.bias.zero_()
    encoder.lateral_16.bias.copy_(bias)
    for name in ("8", "4"):
        weight, bias = fit(inputs[name], targets[name])
        lateral = getattr(encoder, f"lateral_{name}")
        lateral.weight.copy_(weight[..., None, None])
        lateral.bias.copy_(bias)


def images_of(all_sources: Sources, count: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    makers = all_sources.makers(side, rng)
    return [makers[i % len(makers)].scene(side, side).pixels for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_packs_argument(parser)
    parser.add_argument("--inputs", type=Path, required=True, metavar="DIR", help="see training/pretrained.py")
    parser.add_argument("--earlier", type=Path, required=True, metavar="FILE", help="weights on the earlier backbone")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="safetensors to write")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    sam = build_tiny_sam()
    earlier = {name: value.float() for name, value in load_file(arguments.earlier).items()}
    fresh = sam.state_dict()
    kept = {k: v for k, v in earlier.items() if k in fresh and v.shape == fresh[k].shape and ".backbone." not in k}
    sam.load_state_dict(fresh | kept)
    sam.image_encoder.backbone.load_state_dict(lite0_weights(arguments.inputs))
    fit_laterals(sam, earlier, images_of(sources(arguments.packs), IMAGES, SIDE))
    save_file({name: value.contiguous() for name, value in sam.state_dict().items()}, arguments.out)
    print(f"{arguments.out}: {len(kept)} of {len(fresh)} tensors are the earlier ones")


if __name__ == "__main__":
    main()
