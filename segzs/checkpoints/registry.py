"""Registry of models: where they come from, their hashes, and the options that suit them."""

from __future__ import annotations

from dataclasses import dataclass

from segzs.errors import UnknownModelError

META = "https://dl.fbaipublicfiles.com/segment_anything/"
MOBILE = "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/"


@dataclass(frozen=True)
class SamCheckpoint:
    """A SAM: its file, its architecture, and the options of everything mode that suit it.

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
    ``sha256`` is that of the weights, or empty.
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
            url=MOBILE + "mobile_sam.pt",
        ),
        SamCheckpoint(
            name="vit_b",
            architecture="vit_b",
            file="sam_vit_b_01ec64.pth",
            bytes=375_042_383,
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            licence="Apache-2.0",
            url=META + "sam_vit_b_01ec64.pth",
        ),
        SamCheckpoint(
            name="vit_l",
            architecture="vit_l",
            file="sam_vit_l_0b3195.pth",
            bytes=1_249_524_607,
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            licence="Apache-2.0",
            url=META + "sam_vit_l_0b3195.pth",
        ),
        SamCheckpoint(
            name="vit_h",
            architecture="vit_h",
            file="sam_vit_h_4b8939.pth",
            bytes=2_564_550_879,
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            licence="Apache-2.0",
            url=META + "sam_vit_h_4b8939.pth",
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
            unknown_threshold=0.15,
            ood_threshold=0.2,
            object_threshold=0.3,
            sha256="61c51afcf66aec82f618b78966b39334fe7b04475691ede7649894d5190e395e",
        ),
        ClipCheckpoint(
            "ViT-B-32:datacomp_xl_s13b_b90k",
            hub="laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
            revision="f0e2ffa09cbadab3db6a261ec1ec56407ce42912",
            licence="MIT",
        ),
        ClipCheckpoint(
            "ViT-B-16:datacomp_xl_s13b_b90k",
            hub="laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
            revision="d110532e8d4ff91c574ee60a342323f28468b287",
            licence="MIT",
        ),
        ClipCheckpoint(
            "ViT-L-14:datacomp_xl_s13b_b90k",
            hub="laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
            revision="84c9828e63dc9a9351d1fe637c346d4c1c4db341",
            licence="MIT",
        ),
    )
}

PRESETS = {
    row.name: row
    for row in (
        Preset("tiny", "tiny", "tiny", "embedded; drawings, emoji, clip art: no download, not for photographs"),
        Preset("mobile", "mobile", "ViT-B-32:datacomp_xl_s13b_b90k", "photographs on a CPU"),
        Preset("vit_b", "vit_b", "ViT-B-16:datacomp_xl_s13b_b90k", "photographs, good masks and names"),
        Preset("vit_l", "vit_l", "ViT-L-14:datacomp_xl_s13b_b90k", "photographs, better, slower"),
        Preset("vit_h", "vit_h", "ViT-L-14:datacomp_xl_s13b_b90k", "photographs, best masks, slowest"),
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
