"""The models that segzs knows, as data: where they come from, what they weigh, how they like to be used."""

from __future__ import annotations

from dataclasses import dataclass

from segzs.errors import UnknownModelError

META = "https://dl.fbaipublicfiles.com/segment_anything/"
MOBILE = "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/"


@dataclass(frozen=True)
class SamCheckpoint:
    """One SAM: a file with its hash, the architecture that it fits, and everything mode's thresholds for it.

    Where its scores tell objects badly, masks are ``chosen_by_clip``, by one that knows objects; see `recognised`.
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
    stability: float = 0.95
    chosen_by_clip: bool = False


@dataclass(frozen=True)
class ClipCheckpoint:
    """One CLIP: an open_clip architecture and tag, or a hub repository, and how crops and "unknown" work best.

    ``revision`` is the hub's commit, so that a name always means the same weights.
    ``background``, ``margin`` and ``scales`` are those of `Cropping`, ``naming`` is one of `NAMINGS`; ``templates`` are
    used where the user gives none; an empty tuple means "plain". ``general`` is the stem of its
    own general vocabulary, a list of labels (``.txt``) and their features (``.safetensors``) in the embedded folder;
    left out, it is that of everyday things.
    ``unknown`` is the similarity (cosine) from which on a label beats "unknown"; None is what fits the model's kind.
    Pictures whose objects come less close than ``familiar`` to everything that the model knows are of a kind it was
    not made for, and so are masks that are no objects. ``sha256`` is the weights' hash, where it is known.
    """

    name: str
    hub: str = ""
    revision: str | None = None
    licence: str = ""
    background: str = "blur"
    margin: float = 0.1
    scales: tuple[float, ...] = (1.0,)
    naming: str = "crops"
    templates: tuple[str, ...] = ()
    general: str = ""
    unknown: float | None = None
    familiar: float | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Preset:
    """A SAM and a CLIP that go together."""

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
            bytes=12_923_674,
            sha256="4f1828a7d4fa4fc55a26bbc8ebe0be5685a3080f842488233714494f051c4909",
            licence="Apache-2.0",
            input_size=768,
            points_per_side=16,
            predicted_iou=0.6,
            stability=0.6,
            chosen_by_clip=True,
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
            naming="both",
            templates=("{}", "a photo of a {}."),
            general="tiny_labels",
            unknown=0.15,
            familiar=0.2,
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
        UnknownModelError: there is none.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise UnknownModelError(
            f"there is no preset {name!r}, which --model, load or SEGZS_MODEL asks for; there are {known}. "
            "For another pairing give a SAM and a CLIP"
        )
    return PRESETS[name]
