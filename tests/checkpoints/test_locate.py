"""Models are located by name and verified; errors about missing or wrong files say what to run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest

import segzs
from segzs import ModelError, WeightsError, settings
from segzs.checkpoints import download, locate
from segzs.checkpoints.download import fetch
from segzs.checkpoints.locate import (
    builtin_config,
    hub_of,
    is_clip_here,
    locate_clip,
    locate_sam,
    verify_clip,
)
from segzs.checkpoints.registry import CLIPS, PRESETS, SAMS

B16 = "ViT-B-16:datacomp_xl_s13b_b90k"
FAKE = "sam_vit_b_01ec64.pth"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without models; returns its cache folder."""
    monkeypatch.setattr(settings, "embedded_folder", lambda: tmp_path / "embedded")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def clip_folder(folder: Path, weights: str | None = "open_clip_model.safetensors") -> Path:
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {}}))
    if weights:
        shutil.copy(settings.PACKAGE.parent / "checkpoints" / "tiny_labels.safetensors", folder / weights)
    return folder


# The registry


def test_presets_name_registered_models() -> None:
    for preset in PRESETS.values():
        assert preset.sam in SAMS
        assert preset.clip in CLIPS


def test_every_download_has_a_hash() -> None:
    for name, row in SAMS.items():
        if name == "tiny":
            assert not row.url
        else:
            assert row.url.startswith("https://")
            assert row.url.endswith(row.file)
            assert len(row.sha256) == 64
            assert row.bytes > 10**7
    assert all(row.hub for name, row in CLIPS.items() if name != "tiny")
    assert locate_sam("tiny").path.parent == settings.embedded_folder()
    assert verify_clip("tiny").parent == settings.embedded_folder()


def test_hubs_are_those_of_open_clip() -> None:
    import open_clip

    for name, row in CLIPS.items():
        if row.hub:
            assert open_clip.get_pretrained_cfg(*name.split(":"))["hf_hub"].strip("/") == row.hub


# The environment


def test_the_environment_chooses_model_and_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.default_model() == "tiny"
    monkeypatch.setenv("SEGZS_MODEL", "vit_b")
    assert settings.default_model() == "vit_b"
    monkeypatch.setenv("SEGZS_MODEL", " ")
    assert settings.default_model() == "tiny"
    monkeypatch.setenv("SEGZS_CACHE", "~/models")
    assert settings.cache_folder() == Path.home() / "models"
    monkeypatch.delenv("SEGZS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert settings.cache_folder() == tmp_path / "segzs"


@pytest.mark.parametrize("value", ["1", "yes", "True", "0", "False", "no", ""])
def test_values_of_segzs_offline(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SEGZS_OFFLINE", value)
    assert settings.is_offline() is (value in ("1", "yes", "True"))


def test_segzs_model_chooses_the_default_preset(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGZS_MODEL", "vit_b")
    with pytest.raises(ModelError, match="segzs fetch vit_b"):
        segzs.load()
    monkeypatch.setenv("SEGZS_MODEL", "enormous")
    with pytest.raises(ModelError, match=r"unknown preset 'enormous' .*SEGZS_MODEL.*; choose from tiny"):
        segzs.load()


# SAM


@pytest.mark.parametrize("name", ["mobile", "vit_b", "vit_l", "vit_h"])
def test_a_missing_sam_says_what_to_run(bare: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"is not on this machine; run: segzs fetch {name}$") as caught:
        segzs.load(name)
    assert not isinstance(caught.value, WeightsError)


@pytest.mark.parametrize("folder", ["cache", "checkpoints"])
def test_a_sam_with_another_hash_is_refused(bare: Path, folder: str) -> None:
    fake = bare.parent / folder / FAKE
    fake.parent.mkdir(exist_ok=True)
    fake.write_bytes(b"not what Meta published")
    with pytest.raises(WeightsError, match=rf"{FAKE} has SHA-256 .*ec2df62732614e57.*segzs fetch vit_b"):
        segzs.load("vit_b")
    with pytest.raises(WeightsError):
        fetch("vit_b")
    assert fake.read_bytes() == b"not what Meta published"


def test_own_weights_need_no_hash(bare: Path) -> None:
    own = bare / "own.pth"
    own.write_bytes(b"weights")
    located = locate_sam(f"vit_b:{own}")
    assert (located.path, located.spec.architecture) == (own, "vit_b")
    before = located.digest
    with pytest.raises(ModelError, match=r"own.pth'; .* or give ARCHITECTURE:FILE"):
        locate_sam(own)
    own.write_bytes(b"other weights")
    assert locate_sam(f"vit_b:{own}").digest != before


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("vit_x", "choose from tiny, mobile, vit_b, .*sam2.1-large, or give ARCHITECTURE:FILE"),
        ("vit_x:weights.pth", "tiny, vit_b, vit_h, vit_l, vit_t"),
        ("vit_b:nowhere.pth", "no such file: nowhere.pth"),
    ],
)
def test_unknown_sams_are_refused(bare: Path, spec: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        locate_sam(spec)


# CLIP


def test_a_missing_clip_says_what_to_run(bare: Path) -> None:
    with pytest.raises(ModelError, match=f"segzs fetch {B16}$"):
        locate_clip(B16)
    with pytest.raises(ModelError, match=r"segzs fetch hf-hub:org/name$"):
        locate_clip("hf-hub:org/name")
    assert not is_clip_here(B16)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("ViT-B-16:no_such_tag", "choose a tag from .*datacomp_xl_s13b_b90k"),
        ("no-such-clip:openai", "ARCHITECTURE:TAG, hf-hub:ORG/NAME, or a folder"),
        ("nothing", "ARCHITECTURE:TAG, hf-hub:ORG/NAME, or a folder"),
    ],
)
def test_unknown_clips_are_refused(bare: Path, spec: str, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        locate_clip(spec)


def test_own_clips_are_named_by_their_file_or_folder(bare: Path) -> None:
    """Output files contain the name, so it has no path; a folder "tiny" is not the embedded CLIP."""
    folder = clip_folder(bare / "tiny")
    weights = folder / "open_clip_model.safetensors"
    (folder / "open_clip_model.json").write_text((folder / "open_clip_config.json").read_text())
    for spec, name in {
        str(folder): "local:tiny",
        f"{folder}/../tiny": "local:tiny",
        str(weights): "local:open_clip_model.safetensors",
        f"ViT-B-32:{weights}": "ViT-B-32:open_clip_model.safetensors",
    }.items():
        assert locate_clip(spec).spec.name == name


def test_the_architecture_decides_about_quick_gelu(bare: Path) -> None:
    weights = clip_folder(bare / "own") / "open_clip_model.safetensors"
    plain, quick = (locate_clip(f"{name}:{weights}").config for name in ("ViT-B-32", "ViT-B-32-quickgelu"))
    assert plain["model_cfg"].get("quick_gelu") is None
    assert quick["model_cfg"]["quick_gelu"] is True
    assert quick["preprocess_cfg"] == plain["preprocess_cfg"]


@pytest.mark.parametrize("weights", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_a_fetched_clip_and_a_folder_are_located(bare: Path, weights: str) -> None:
    folder = clip_folder(bare / "clip-ViT-B-16-datacomp_xl_s13b_b90k", weights)
    for spec in (B16, str(folder)):
        located = locate_clip(spec)
        assert located.weights == folder / weights
        assert located.config["model_cfg"] == {"embed_dim": 8}
        assert verify_clip(spec) == located.weights


def test_a_file_needs_its_configuration_beside_it(bare: Path) -> None:
    folder = clip_folder(bare / "own")
    weights = folder / "open_clip_model.safetensors"
    with pytest.raises(WeightsError, match=r"open_clip_model\.json"):
        locate_clip(str(weights))
    (folder / "open_clip_config.json").rename(folder / "open_clip_model.json")
    assert locate_clip(str(weights)).weights == weights
    assert locate_clip(f"ViT-B-32:{weights}").config["model_cfg"]["embed_dim"] == 512


@pytest.mark.parametrize(
    ("text", "says"), [("{", "not a configuration"), ("[]", "no model_cfg"), ('{"a": 1}', "no model_cfg")]
)
def test_wrong_configurations_are_refused(bare: Path, text: str, says: str) -> None:
    folder = clip_folder(bare / "own")
    (folder / "open_clip_config.json").write_text(text)
    with pytest.raises(WeightsError, match=says):
        locate_clip(str(folder))


def test_incomplete_folders_are_refused(bare: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no open_clip_config\.json"):
        locate_clip(str(bare))
    with pytest.raises(WeightsError, match=r"none of open_clip_model\.safetensors"):
        locate_clip(str(clip_folder(bare / "own", None)))


def test_truncated_weights_are_damaged(bare: Path) -> None:
    folder = clip_folder(bare / "clip-ViT-B-16-datacomp_xl_s13b_b90k")
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match=f"damaged.*segzs fetch {B16}"):
        verify_clip(B16)


def test_a_truncated_embedded_sam_is_damaged(bare: Path) -> None:
    embedded = bare.parent / "embedded"
    embedded.mkdir()
    weights = settings.PACKAGE.parent / "checkpoints" / "tiny_sam.safetensors"
    (embedded / "tiny_sam.safetensors").write_bytes(weights.read_bytes()[:-5000])
    with pytest.raises(WeightsError, match=r"damaged.*install segzs again"):
        locate_sam("tiny")


def test_openai_weights_get_their_activation() -> None:
    assert builtin_config("ViT-B-32", "openai")["model_cfg"]["quick_gelu"] is True
    assert not builtin_config("ViT-B-32", "laion2b_s34b_b79k")["model_cfg"].get("quick_gelu")
    siglip = builtin_config("ViT-B-16-SigLIP2", "webli")["preprocess_cfg"]
    assert siglip["mean"][0] == 0.5
    assert siglip["resize_mode"] == "squash"
    with pytest.raises(ModelError, match="unknown architecture 'ViT-Z'"):
        builtin_config("ViT-Z", None)


def test_clips_outside_of_the_hub_are_refused() -> None:
    assert hub_of("ViT-B-32:openai") == "timm/vit_base_patch32_clip_224.openai"
    assert hub_of("hf-hub:org/name") == "org/name"
    with pytest.raises(ModelError, match=r"at jienengchen/ViTamin-S/pytorch_model\.bin; download its file"):
        hub_of("ViTamin-S:datacomp1b")


# Fetching


@pytest.mark.parametrize("name", ["vit_b", "mobile", B16, "hf-hub:org/name", "ViT-B-32:openai"])
def test_offline_nothing_is_fetched(bare: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def reach(*_: object, **__: object) -> None:
        pytest.fail("reached for the network")

    monkeypatch.setattr("requests.get", reach)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", reach)
    with pytest.raises(ModelError, match="SEGZS_OFFLINE forbids"):
        fetch(name)
    assert list(bare.iterdir()) == []


def test_unknown_names_cannot_be_fetched() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'vit_x'; choose from tiny, photo-fast, .*ARCHITECTURE:TAG"):
        fetch("vit_x")


def test_fetching_the_embedded_models_returns_their_files() -> None:
    sam, clip = fetch("tiny")
    assert sam.is_file()
    assert clip.is_dir()


def test_a_broken_hub_download_is_resumed(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGZS_OFFLINE")
    calls: list[list[str]] = []

    def hub(repository: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        assert (repository, revision) == (CLIPS[B16].hub, CLIPS[B16].revision)
        calls.append(allow_patterns)
        if not local_dir.exists():
            clip_folder(local_dir, None)
            raise ConnectionError("the line went dead")
        if "open_clip_pytorch_model.bin" in allow_patterns:
            (local_dir / "open_clip_pytorch_model.bin").write_bytes(b"weights")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    with pytest.raises(ModelError, match="the line went dead"):
        fetch(B16)
    with pytest.raises(WeightsError, match=f"segzs fetch {B16}"):
        locate_clip(B16)
    (folder,) = fetch(B16)
    assert locate_clip(B16).weights == folder / "open_clip_pytorch_model.bin"
    assert fetch(B16) == [folder]
    assert len(calls) == 3


def test_only_one_format_of_the_weights_is_downloaded(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGZS_OFFLINE")
    patterns: list[str] = []

    def hub(repository: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        patterns.extend(name for name in allow_patterns if "model" in name)
        local_dir.mkdir(parents=True)
        (local_dir / "open_clip_model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    fetch(B16, bare / "there")
    assert patterns == ["open_clip_model.safetensors"]
    config = json.loads((bare / "there" / "clip-ViT-B-16-datacomp_xl_s13b_b90k" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["embed_dim"] == 512


def test_files_with_another_hash_than_the_hubs_are_deleted(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGZS_OFFLINE")

    def hub(repository: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        statements = local_dir / ".cache" / "huggingface" / "download"
        clip_folder(local_dir)
        statements.mkdir(parents=True)
        (statements / "open_clip_model.safetensors.metadata").write_text(f"{revision}\n{'0' * 64}\n1.0\n")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    with pytest.raises(WeightsError, match="not what the hub published"):
        fetch(B16, bare / "there")
    assert not list((bare / "there").rglob("open_clip_model.safetensors"))


def test_a_damaged_embedded_clip_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "embedded"
    shutil.copytree(settings.embedded_folder(), folder)
    monkeypatch.setattr(locate, "embedded_folder", lambda: folder)
    data = bytearray((folder / "tiny_clip.safetensors").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    (folder / "tiny_clip.safetensors").write_bytes(data)
    for find in (locate_clip, verify_clip):
        with pytest.raises(WeightsError, match="damaged or another model's; install segzs again"):
            find("tiny")


def test_a_sam_can_be_fetched_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(download, "_fetch_sam", lambda row, folder: fetched.append(row.name) or Path(row.file))
    monkeypatch.setattr(download, "_fetch_clip", lambda spec, folder: fetched.append(spec) or Path(spec))
    fetch("sam:vit_b")
    assert fetched == ["vit_b"]


def test_a_changed_clip_is_detected_and_downloaded_again(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGZS_OFFLINE")
    fetched: list[str] = []

    def hub(repository: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        fetched.append(repository)
        statements = local_dir / ".cache" / "huggingface" / "download"
        shutil.rmtree(local_dir, ignore_errors=True)
        clip_folder(local_dir)
        statements.mkdir(parents=True)
        digest = hashlib.sha256((local_dir / "open_clip_model.safetensors").read_bytes()).hexdigest()
        (statements / "open_clip_model.safetensors.metadata").write_text(f"{revision}\n{digest}\n1.0\n")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    monkeypatch.setenv("SEGZS_CACHE", str(bare))
    (folder,) = fetch(B16)
    assert verify_clip(B16).parent == folder
    fetch(B16)
    assert len(fetched) == 1
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    with pytest.raises(WeightsError, match="not what the hub published"):
        verify_clip(B16)
    fetch(B16)
    assert len(fetched) == 2
    assert verify_clip(B16) == weights
