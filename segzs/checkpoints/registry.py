"""Registry of models: where they come from, their hashes, and the options that suit them."""

from __future__ import annotations

from dataclasses import dataclass

from segzs.errors import UnknownModelError

META = "https://dl.fbaipublicfiles.com/segment_anything/"
META_2 = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
EDGETAM = (
    "https://raw.githubusercontent.com/facebookresearch/EdgeTAM/7711e012a30a2402c4eaab637bdb00a521302c91/checkpoints/"
)
MOBILE = "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/"


@dataclass(frozen=True)
class SamCheckpoint:
    """A SAM: its file, its architecture, and the options of everything mode that suit it.

    ``gflop`` is what the products of its image encoder cost for an image: 10^9 operations, checked in tests.
    ``predicted_iou`` and ``stability_score`` are thresholds. With ``chosen_by_clip``, the CLIP helps to decide which
    masks are objects, because the scores of this SAM are not enough; see `select_masks`. With ``zoom``, small boxes are
    segmented in an enlarged part of the image; see `decode_zoomed`.
    """

    name: str
    architecture: str
    file: str
    bytes: int
    sha256: str
    licence: str
    gflop: int
    url: str = ""
    input_size: int = 1024
    points_per_side: int = 32
    predicted_iou: float = 0.88
    stability_score: float = 0.95
    chosen_by_clip: bool = False
    zoom: bool = False


@dataclass(frozen=True)
class ClipCheckpoint:
    """A CLIP: an architecture and tag of open_clip or a hub repository, and the naming options that suit it.

    ``revision`` is a commit of the hub, so that a name always means the same weights. ``regions``, ``background`` and
    ``margin`` are the defaults of `Naming`, and ``templates`` those of vocabularies without templates.
    ``general`` is the stem of the files of its general vocabulary in the embedded folder: labels (``.txt``) and their
    features (``.safetensors``); without it, the everyday labels are used. ``unknown_threshold`` is the cosine
    similarity that a label must exceed, or else the object is "unknown"; None takes one that suits the kind of model.
    ``ood_threshold`` and ``object_threshold`` are similarities of an object with its nearest general label: below the
    first, images are out of distribution; below the second, masks are probably not objects.
    ``sha256`` is that of the weights, or empty; ``bytes`` is about their size.
    """

    name: str
    hub: str = ""
    revision: str | None = None
    licence: str = ""
    regions: str = "crops"
    background: str = "blur"
    margin: float = 0.1
    templates: tuple[str, ...] = ("a photo of a {}",)
    general: str = ""
    unknown_threshold: float | None = None
    ood_threshold: float | None = None
    object_threshold: float | None = None
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class Preset:
    """A SAM and a CLIP that are loaded together."""

    name: str
    sam: str
    clip: str
    note: str


SAMS = {
    row.name: row
    for row in (
        SamCheckpoint(
            name="tiny",
            architecture="tiny",
            file="tiny_sam.safetensors",
            bytes=9_423_336,
            sha256="2634369992a66788b0412ad54f8b3a0055bf526382fc5af90047898260c3b709",
            licence="Apache-2.0",
            gflop=13,
            input_size=768,
            points_per_side=24,
            predicted_iou=0.5,
            stability_score=0.3,
            chosen_by_clip=True,
            zoom=True,
        ),
        SamCheckpoint(
            name="mobile",
            architecture="vit_t",
            file="mobile_sam.pt",
            bytes=40_728_226,
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            licence="Apache-2.0",
            gflop=78,
            url=MOBILE + "mobile_sam.pt",
        ),
        SamCheckpoint(
            name="vit_b",
            architecture="vit_b",
            file="sam_vit_b_01ec64.pth",
            bytes=375_042_383,
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            licence="Apache-2.0",
            gflop=972,
            url=META + "sam_vit_b_01ec64.pth",
        ),
        SamCheckpoint(
            name="vit_l",
            architecture="vit_l",
            file="sam_vit_l_0b3195.pth",
            bytes=1_249_524_607,
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            licence="Apache-2.0",
            gflop=2986,
            url=META + "sam_vit_l_0b3195.pth",
        ),
        SamCheckpoint(
            name="vit_h",
            architecture="vit_h",
            file="sam_vit_h_4b8939.pth",
            bytes=2_564_550_879,
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            licence="Apache-2.0",
            gflop=5961,
            url=META + "sam_vit_h_4b8939.pth",
        ),
        SamCheckpoint(
            name="edgetam",
            architecture="edgetam",
            file="edgetam.pt",
            bytes=56_116_523,
            sha256="ed2d4850b8792c239689b043c47046ec239b6e808a3d9b6ae676c803fd8780df",
            licence="Apache-2.0",
            gflop=35,
            url=EDGETAM + "edgetam.pt",
            predicted_iou=0.8,
        ),
        SamCheckpoint(
            name="sam2.1-tiny",
            architecture="hiera_tiny",
            file="sam2.1_hiera_tiny.pt",
            bytes=156_008_466,
            sha256="7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            licence="Apache-2.0",
            gflop=287,
            url=META_2 + "sam2.1_hiera_tiny.pt",
            predicted_iou=0.8,
        ),
        SamCheckpoint(
            name="sam2.1-small",
            architecture="hiera_small",
            file="sam2.1_hiera_small.pt",
            bytes=184_416_285,
            sha256="6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
            licence="Apache-2.0",
            gflop=354,
            url=META_2 + "sam2.1_hiera_small.pt",
            predicted_iou=0.8,
        ),
        SamCheckpoint(
            name="sam2.1-base-plus",
            architecture="hiera_base_plus",
            file="sam2.1_hiera_base_plus.pt",
            bytes=323_606_802,
            sha256="a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
            licence="Apache-2.0",
            gflop=641,
            url=META_2 + "sam2.1_hiera_base_plus.pt",
            predicted_iou=0.8,
        ),
        SamCheckpoint(
            name="sam2.1-large",
            architecture="hiera_large",
            file="sam2.1_hiera_large.pt",
            bytes=898_083_611,
            sha256="2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
            licence="Apache-2.0",
            gflop=1815,
            url=META_2 + "sam2.1_hiera_large.pt",
            predicted_iou=0.8,
        ),
    )
}

CLIPS = {
    row.name: row
    for row in (
        ClipCheckpoint(
            "tiny",
            licence="Apache-2.0",
            background="grey",
            regions="both",
            templates=("{}", "a photo of a {}."),
            general="tiny_labels",
            unknown_threshold=0.22,
            ood_threshold=0.28,
            object_threshold=0.3,
            sha256="9b6b6f7a0ca2170cf20b077936f8320ea22d78b920ef43d36eb6d4bdc894046d",
        ),
        ClipCheckpoint(
            "ViT-B-32:datacomp_xl_s13b_b90k",
            hub="laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
            revision="f0e2ffa09cbadab3db6a261ec1ec56407ce42912",
            licence="MIT",
            bytes=605_000_000,
        ),
        ClipCheckpoint(
            "ViT-B-16:datacomp_xl_s13b_b90k",
            hub="laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
            revision="d110532e8d4ff91c574ee60a342323f28468b287",
            licence="MIT",
            bytes=599_000_000,
        ),
        ClipCheckpoint(
            "ViT-L-14:datacomp_xl_s13b_b90k",
            hub="laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
            revision="84c9828e63dc9a9351d1fe637c346d4c1c4db341",
            licence="MIT",
            bytes=1_711_000_000,
        ),
        ClipCheckpoint(
            "ViT-B-16-SigLIP2:webli", hub="timm/ViT-B-16-SigLIP2", licence="Apache-2.0", bytes=1_501_000_000
        ),
    )
}

PRESETS = {
    row.name: row
    for row in (
        Preset("tiny", "tiny", "tiny", "drawings and photographs, offline; tests"),
        Preset("photo-fast", "sam2.1-tiny", "ViT-B-32:datacomp_xl_s13b_b90k", "photographs on a CPU"),
        Preset("photo", "sam2.1-base-plus", "ViT-B-16-SigLIP2:webli", "photographs, good masks and names"),
        Preset("mobile", "mobile", "ViT-B-32:datacomp_xl_s13b_b90k", "photographs on a CPU, the smallest download"),
        Preset("vit_b", "vit_b", "ViT-B-16:datacomp_xl_s13b_b90k", "photographs, SAM as published in 2023"),
        Preset("vit_l", "vit_l", "ViT-L-14:datacomp_xl_s13b_b90k", "the same, better and slower"),
        Preset("vit_h", "vit_h", "ViT-L-14:datacomp_xl_s13b_b90k", "the same, best and slowest"),
    )
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UnknownModelError: there is no such preset.

    >>> preset("tiny").sam
    'tiny'
    """
    if name not in PRESETS:
        raise UnknownModelError(
            f"unknown preset {name!r} (--model, load or SEGZS_MODEL); choose from {', '.join(PRESETS)}, or give a SAM "
            "and a CLIP"
        )
    return PRESETS[name]
