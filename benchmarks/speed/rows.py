"""The rows of ``python -m benchmarks.speed``. They use random weights, or the embedded models."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import open_clip
import PIL.Image
import torch
from open_clip.transform import PreprocessCfg
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from segment_anything.utils.amg import build_point_grid

from benchmarks.speed.contest import IMAGE, Contest, Pair, of_sam, of_sam2
from benchmarks.speed.measure import Row
from segzs.cache import EmbeddingCache
from segzs.checkpoints.locate import locate_sam
from segzs.checkpoints.registry import ClipCheckpoint
from segzs.clip.crops import crops
from segzs.clip.dense import dense_features, pool
from segzs.clip.image_features import encode_images
from segzs.clip.model import ClipModel
from segzs.dataset.directory import label_directory
from segzs.formats.annotations import Digests, ImageAnnotations
from segzs.image import Image, read_image
from segzs.loading import resolve_dtype
from segzs.masks import RLE, Mask, iou
from segzs.sam.decode import CHUNK
from segzs.sam.encode import PreparedImage, encode, encode_cached, prepare
from segzs.sam.mask_generator import GeneratorOptions, MaskGenerator, generate_masks
from segzs.sam.model import SamModel, load_sam
from segzs.sam.networks.tiny import build_tiny_sam

POINTS_PER_SIDE = 32
CPU = torch.device("cpu")


@cache
def desk() -> Image:
    return read_image(IMAGE)


@cache
def vit_b(dtype: str = "auto") -> Contest:
    return of_sam(dtype=dtype)


@cache
def sam2(dtype: str = "auto") -> Contest:
    return of_sam2("hiera_tiny", dtype=dtype)


@cache
def tiny() -> tuple[SamModel, Sam]:
    ours = load_sam(locate_sam("tiny"))
    theirs = build_tiny_sam()  # the decoder of the embedded SAM is our own
    theirs.load_state_dict(ours.module.state_dict())
    return ours, frozen(theirs)


def frozen(module: Sam) -> Sam:
    return module.eval().requires_grad_(False)


def encoding(contest: Callable[..., Contest], dtype: str = "auto") -> Pair:
    ours, theirs = contest(dtype).encoding()
    predictor = contest(dtype).predictor

    def features() -> torch.Tensor:
        theirs()
        return predictor.get_image_embedding()

    return ours, features


def all_objects(pixels: np.ndarray | None = None) -> Pair:
    """Both sides start from pixels and use the same module, so that only the mask generators differ."""
    sam, module = tiny()
    generator = SamAutomaticMaskGenerator(
        module,
        points_per_side=POINTS_PER_SIDE,
        pred_iou_thresh=sam.spec.predicted_iou,
        stability_score_thresh=sam.spec.stability_score,
        output_mode="coco_rle",
    )
    options = GeneratorOptions(points_per_side=POINTS_PER_SIDE, nms_threshold=0.9, min_area=0)
    pixels = np.array(desk().pixels) if pixels is None else pixels
    image = read_image(pixels)
    return lambda: generate_masks(sam, encode(sam, image), options), lambda: generator.generate(pixels)


def names_of_100(naming: str) -> Pair:
    """The peer encodes the same crops with open_clip one by one in float32, as is common."""
    clip, transform = vit_b_32()
    ours = in_native_type(clip)
    pixels = np.asarray(desk().pixels)
    masks = [RLE.encode(mask) for mask in boxes(100)]

    @torch.inference_mode()
    def theirs() -> torch.Tensor:
        images = [PIL.Image.fromarray(image) for image in crops(pixels, masks)]
        return torch.cat([clip.module.encode_image(transform(p)[None], normalize=True) for p in images])

    if naming == "pooled":
        return lambda: pool(ours, dense_features(ours, pixels), masks), theirs
    return lambda: encode_images(ours, crops(pixels, masks)), theirs


@cache
def vit_b_32() -> tuple[ClipModel, Callable]:
    torch.manual_seed(0)
    module, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    module.eval().requires_grad_(False)
    row = ClipCheckpoint("ViT-B-32:random", licence="none")
    preprocessing = PreprocessCfg(**module.visual.preprocess_cfg)
    preprocessing.size = module.visual.image_size
    return ClipModel(row, "random", module, preprocessing, open_clip.get_tokenizer("ViT-B-32")), transform


def in_native_type(clip: ClipModel) -> ClipModel:
    """The same weights in the dtype that `load` chooses on this machine."""
    dtype = resolve_dtype("auto", clip.device, clip.spec.name)
    return replace(clip, module=deepcopy(clip.module).to(dtype))


def boxes(count: int) -> np.ndarray:
    """Boxes of different sizes as masks, bool (count, height, width)."""
    masks = np.zeros((count, desk().height, desk().width), bool)
    rng = np.random.default_rng(0)
    for mask in masks:
        side = int(rng.uniform(30, 200))
        x, y = rng.integers(0, (desk().width - side, desk().height - side))
        mask[y : y + side, x : x + side] = True
    return masks


def prompts_of_photographs(count: int = 512) -> Pair:
    """As many prompts as photographs need; random weights make everything mode ask for more or for fewer.

    See `benchmarks.quality.waves` for how many that is.
    """
    contest = vit_b()
    _, theirs = contest.everything()
    encoded = encode(contest.sam, contest.image)
    generator = MaskGenerator(contest.sam, encoded, GeneratorOptions(POINTS_PER_SIDE, 0.01, 0.5))
    grid = np.random.default_rng(0).permutation(build_point_grid(POINTS_PER_SIDE))[:count]

    def ours() -> list[Mask]:
        encode(contest.sam, contest.image)
        candidates = [*chain(*(generator.prompt(grid[i : i + CHUNK]) for i in range(0, count, CHUNK)))]
        return generator.finish(generator.unique([*chain(*candidates)]))

    return ours, theirs


def cached_embedding() -> Pair:
    sam = vit_b().sam
    folder = tempfile.TemporaryDirectory()
    encode_cached(sam, desk(), EmbeddingCache(Path(folder.name)))

    def ours(folder: tempfile.TemporaryDirectory = folder) -> torch.Tensor:
        return encode_cached(sam, desk(), EmbeddingCache(Path(folder.name))).features

    return ours, lambda: encode(sam, desk()).features


class Encoding:
    """A labeller that only encodes."""

    settings: ClassVar[dict[str, Any]] = {}

    def prepare(self, data: bytes) -> PreparedImage:
        return prepare(vit_b().sam, read_image(data))

    def label(self, path: str, sha256: str, image: PreparedImage) -> ImageAnnotations:
        encode(vit_b().sam, image)
        return ImageAnnotations(path, image.width, image.height, digests=Digests(image.digest, sha256))


def directory(images: int = 3) -> Pair:
    """The peer is the image encoder alone, on prepared images."""
    folder = tempfile.TemporaryDirectory()
    photos = Path(folder.name) / "photos"
    photos.mkdir()
    for number in range(images):
        large = PIL.Image.fromarray(desk().pixels).resize((4000, 3000)).rotate(90 * number)
        large.save(photos / f"{number}.jpg", quality=90)
    labeller = Encoding()
    ready = [labeller.prepare(path.read_bytes()) for path in photos.iterdir()]

    def ours(folder: tempfile.TemporaryDirectory = folder) -> None:
        with tempfile.TemporaryDirectory() as out:
            for result in label_directory(labeller, photos, out):
                assert isinstance(result, ImageAnnotations), result

    return ours, lambda: [encode(vit_b().sam, image) for image in ready]


def help_text() -> Pair:
    """The peer is an empty Python program."""
    command = [sys.executable, "-m", "segzs", "--help"]
    empty = [sys.executable, "-c", "pass"]
    run = partial(subprocess.run, capture_output=True, check=True, cwd=IMAGE.parents[1])
    return lambda: run(command), lambda: run(empty)


def compare_masks(ours: list[tuple[Mask]] | tuple[Mask, ...], theirs: np.ndarray) -> str:
    masks = [mask for (mask,) in ours] if isinstance(ours, list) else ours
    overlaps = iou([mask.rle for mask in masks], [RLE.encode(mask) for mask in theirs]).diagonal()
    return f"mean IoU of the masks {overlaps.mean():.4f}"


def compare_features(ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """Of SAM 2.1, the image embedding, which comes first in segzs' features."""
    difference = (ours[:, : theirs.shape[1]] - theirs).norm() / theirs.norm()
    return f"features differ by {float(difference):.1e} of their norm"


def compare_names(ours: torch.Tensor, theirs: torch.Tensor) -> str:
    """Random weights have no names, so 100 random directions around the mean feature stand for labels."""
    labels = torch.randn(100, theirs.shape[1], generator=torch.Generator().manual_seed(0))
    same = [((each - theirs.mean(0)) @ labels.T).argmax(1) for each in (ours, theirs)]
    return f"{compare_features(ours, theirs)}; top-1 equal for {(same[0] == same[1]).float().mean():.0%}"


def compare_objects(ours: list[Mask], theirs: list[dict]) -> str:
    masks = [mask.rle for mask in ours]
    others = [RLE(*row["segmentation"]["size"], row["segmentation"]["counts"]) for row in theirs]
    if not masks or not others:
        return f"{len(masks)} masks and {len(others)}"
    best = iou(others, masks).max(1)
    pairs = np.triu(iou(masks, masks), 1)
    return (
        f"{len(masks)} masks and {len(others)}; {np.mean(best >= 0.9):.0%} of the peer's matched at IoU 0.9; "
        f"largest IoU between two masks of segzs {pairs.max():.2f}"
    )


ROWS = (
    Row(
        "encode",
        "encode, ViT-B, 1024 px",
        "`SamPredictor.set_image`",
        "3.5 x",
        partial(encoding, vit_b),
        compare_features,
        repeats=3,
    ),
    Row(
        "encode-fp32",
        "encode, ViT-B, 1024 px, float32",
        "`SamPredictor.set_image`",
        "1.5 x",
        partial(encoding, vit_b, "float32"),
        compare_features,
        repeats=3,
    ),
    Row(
        "encode-sam2",
        "encode, SAM 2.1 tiny, 1024 px",
        "`SAM2ImagePredictor.set_image`",
        "2 x",
        partial(encoding, sam2),
        compare_features,
        repeats=3,
    ),
    Row(
        "click",
        "one click, three masks, ViT-B",
        "`SamPredictor.predict`",
        "2.2 x",
        lambda: vit_b().one_click(),
        compare_masks,
        repeats=15,
    ),
    Row(
        "click-sam2",
        "one click, three masks, SAM 2.1 tiny",
        "`SAM2ImagePredictor.predict`",
        "2.5 x",
        lambda: sam2().one_click(),
        compare_masks,
        repeats=15,
    ),
    Row(
        "prompts",
        "64 clicks at once, ViT-B",
        "`predict_torch`",
        "7 x",
        lambda: vit_b().many_clicks(),
        compare_masks,
        repeats=3,
    ),
    Row(
        "prompts-sam2",
        "64 clicks at once, SAM 2.1 tiny",
        "`SAM2ImagePredictor`",
        "",
        lambda: sam2().many_clicks(),
        compare_masks,
        repeats=3,
    ),
    Row(
        "everything",
        "everything, 32x32 grid, tiny",
        "`SamAutomaticMaskGenerator`",
        "20 x",
        all_objects,
        compare_objects,
        repeats=3,
    ),
    Row(
        "everything-vit-b",
        "everything, 32x32 grid, ViT-B, masks of random weights",
        "`SamAutomaticMaskGenerator`",
        "12 x",
        lambda: vit_b().everything(),
        repeats=1,
    ),
    Row(
        "everything-prompts",
        "everything, ViT-B, as many prompts as photographs need",
        "`SamAutomaticMaskGenerator`",
        "12 x",
        prompts_of_photographs,
        repeats=1,
    ),
    Row(
        "everything-sam2",
        "everything, 32x32 grid, SAM 2.1 tiny, masks of random weights",
        "`SAM2AutomaticMaskGenerator`",
        "",
        lambda: sam2().everything(),
        repeats=1,
    ),
    Row(
        "names",
        "names of 100 segments, ViT-B-32",
        "one crop at a time with open_clip",
        "5 x, top-1 equal for 99 %",
        partial(names_of_100, "crops"),
        compare_names,
        repeats=3,
    ),
    Row(
        "pooled",
        "the same, pooled features",
        "one crop at a time with open_clip",
        "20 x",
        partial(names_of_100, "pooled"),
        repeats=3,
    ),
    Row(
        "again",
        "a cached image embedding, ViT-B",
        "the image encoder",
        "100 x",
        cached_embedding,
        compare_features,
        repeats=3,
    ),
    Row(
        "directory",
        "a directory of 12-megapixel JPEGs, read, decoded and encoded, ViT-B",
        "the encoder alone",
        "at least 0.95 x",
        directory,
        repeats=3,
    ),
    Row("help", "`segzs --help`", "`python -c pass`", "under 0.3 s", help_text, repeats=9),
)
