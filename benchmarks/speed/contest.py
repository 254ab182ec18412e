"""segzs and the predictor of a SAM's authors on the same random weights, device and image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor, build_sam_vit_b
from segment_anything.modeling import Sam
from torch import Tensor, nn

from benchmarks.speed.measure import MissingError
from segzs.checkpoints.registry import SAMS
from segzs.image import Image, read_image
from segzs.loading import resolve_dtype
from segzs.masks import Mask
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import encode
from segzs.sam.mask_generator import GeneratorOptions, generate_masks
from segzs.sam.model import ARCHITECTURES, SamModel, with_dtype

Pair = tuple[Callable[[], Any], Callable[[], Any]]
IMAGE = Path(__file__).parents[2] / "examples" / "desk.png"
META_CONFIGS = {"hiera_tiny": "t", "hiera_small": "s", "hiera_base_plus": "b+", "hiera_large": "l"}
CLICK = (380.0, 150.0)


@dataclass(frozen=True)
class Contest:
    """Both sides; the predictors and the generators of SAM and of SAM 2 have the same methods.

    ``clicks`` are the masks and predicted IoU that the predictor gives for points N 2 in one batch. With ``autocast``,
    its authors run it in bfloat16 on GPUs; SAM's predictor cannot.
    """

    image: Image
    sam: SamModel
    predictor: Any
    generator: Callable[..., Any]
    clicks: Callable[[Any, np.ndarray], tuple[Tensor, Tensor]]
    autocast: bool = False

    def encoding(self) -> Pair:
        """The image encoder, from pixels."""
        pixels = np.array(self.image.pixels)
        return lambda: encode(self.sam, self.image).features, lambda: self.predictor.set_image(pixels)

    def one_click(self) -> Pair:
        """Three masks of one point on an encoded image."""
        encoded = self._encoded()

        def theirs() -> np.ndarray:
            masks, scores, _ = self.predictor.predict(np.array([CLICK]), np.array([1]), multimask_output=True)
            return masks[scores.argsort()[::-1]] > 0

        return lambda: decode(self.sam, encoded, [Prompt.point(*CLICK)], multimask=True)[0], theirs

    def many_clicks(self, count: int = 64) -> Pair:
        """The best mask of each of many points on an encoded image."""
        encoded = self._encoded()
        size = (self.image.width, self.image.height)
        points = np.random.default_rng(0).uniform((0, 0), size, (count, 2))

        @torch.inference_mode()
        def theirs() -> np.ndarray:
            masks, scores = self.clicks(self.predictor, points)
            return masks[torch.arange(count), scores.argmax(1)].cpu().numpy() > 0

        return lambda: decode(self.sam, encoded, [Prompt.point(x, y) for x, y in points]), theirs

    def everything(self, points_per_side: int = 32, **options: Any) -> Pair:
        """Every object, from pixels, with the same thresholds; they suit random weights, which have no good masks."""
        predicted_iou, stability_score = 0.01, 0.5
        generator = self.generator(
            self.predictor.model,
            points_per_side=points_per_side,
            pred_iou_thresh=predicted_iou,
            stability_score_thresh=stability_score,
            output_mode="coco_rle",
        )
        ours = GeneratorOptions(points_per_side, predicted_iou, stability_score, **options)
        pixels = np.array(self.image.pixels)

        def run() -> list[Mask]:
            return generate_masks(self.sam, encode(self.sam, self.image), ours)

        return run, lambda: generator.generate(pixels)

    def _encoded(self) -> Any:
        self.predictor.set_image(np.array(self.image.pixels))
        return encode(self.sam, self.image)


def of_sam(*, device: str = "cpu", dtype: str = "auto") -> Contest:
    """segment-anything's ViT-B with random weights."""
    official = with_random_weights(build_sam_vit_b()).to(device)
    return against_sam(_loaded(official, "vit_b", device, dtype), official, read_image(IMAGE))


def against_sam(sam: SamModel, official: Sam, image: Image) -> Contest:
    """A SAM against segment-anything's module with the same weights."""

    def clicks(predictor: SamPredictor, points: np.ndarray) -> tuple[Tensor, Tensor]:
        coordinates = predictor.transform.apply_coords(points, predictor.original_size)
        tensor = torch.from_numpy(coordinates).float().to(sam.device)[:, None]
        masks, scores, _ = predictor.predict_torch(tensor, torch.ones(len(points), 1, device=sam.device))
        return masks, scores

    return Contest(image, sam, SamPredictor(official), SamAutomaticMaskGenerator, clicks)


def of_sam2(architecture: str, *, device: str = "cpu", dtype: str = "auto") -> Contest:
    """A SAM 2.1 of the package sam2 with random weights.

    Raises:
        MissingError: the package is not installed.
    """
    try:
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
        from sam2.build_sam import build_sam2
        from sam2.sam2_image_predictor import SAM2ImagePredictor
    except ImportError as error:
        raise MissingError(f"the package sam2 is needed ({error})") from error
    config = f"configs/sam2.1/sam2.1_hiera_{META_CONFIGS[architecture]}.yaml"
    official = with_random_weights(build_sam2(config, device=device))
    sam = _loaded(official, architecture, device, dtype)

    def clicks(predictor: Any, points: np.ndarray) -> tuple[Tensor, Tensor]:
        _, coordinates, labels, _ = predictor._prep_prompts(
            points[:, None], np.ones((len(points), 1)), None, None, True
        )
        masks, scores, _ = predictor._predict(coordinates, labels)
        return masks, scores

    return Contest(
        read_image(IMAGE), sam, SAM2ImagePredictor(official), SAM2AutomaticMaskGenerator, clicks, autocast=True
    )


def with_random_weights(module: nn.Module) -> Any:
    """The module with fixed random weights; zero position embeddings would hide errors."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        if not parameter.any():
            parameter.data.normal_(std=0.02)
    return module.eval().requires_grad_(False)


def _loaded(official: nn.Module, architecture: str, device: str, dtype: str) -> SamModel:
    network = ARCHITECTURES[architecture]()
    network.load({key: tensor.clone() for key, tensor in official.state_dict().items()}, "random weights")
    network.to(device).eval().requires_grad_(False)
    row = next(row for row in SAMS.values() if row.architecture == architecture)
    sam = SamModel(replace(row, name=f"{row.name} with random weights"), "random", network)
    return with_dtype(sam, resolve_dtype(dtype, torch.device(device), row.name))
