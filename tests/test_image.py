"""read_image: sources of every kind give the same upright pixels, and everything else is an ImageError."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from torchvision import tv_tensors

import segzs
from segzs.errors import ImageError
from segzs.image import read_image

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def drawing(height: int = 6, width: int = 9, seed: int = 0) -> np.ndarray:
    """Noise: no two of its rotations or mirror images are alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def orientation(number: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = number
    return exif


# Kinds of source


class Stream:
    """Can be read and nothing else, like a socket."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def test_path_str_bytes_and_file_objects_give_the_same_pixels(tmp_path: Path) -> None:
    pixels = drawing()
    path = tmp_path / "ünï cödé 猫.png"
    PIL.Image.fromarray(pixels).save(path)
    data = path.read_bytes()
    with path.open("rb") as file:
        sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file, Stream(data)]
        images = [read_image(source) for source in sources]
        assert not file.closed
    assert all(np.array_equal(image.pixels, pixels) for image in images)
    assert len({image.digest for image in images}) == 1


def test_an_image_is_returned_as_it_is() -> None:
    image = read_image(drawing())
    assert read_image(image) is image


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, WHITE),
        ("L", 120, (120, 120, 120)),
        ("LA", (120, 0), WHITE),
        ("LA", (120, 255), (120, 120, 120)),
        ("P", 3, (3, 3, 3)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), WHITE),
        ("CMYK", (0, 255, 255, 0), RED),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
        ("HSV", (0, 255, 255), RED),
        ("I", 65535, WHITE),
        ("I", 0, BLACK),
        ("I;16", 257 * 77, (77, 77, 77)),
        ("F", 0.2, (51, 51, 51)),
    ],
)
def test_pil_images_of_every_mode_are_read(mode: str, colour: Any, expected: tuple[int, int, int]) -> None:
    source = PIL.Image.new(mode, (4, 3), colour)
    if mode == "P":
        source.putpalette([value for value in range(256) for _ in range(3)])
    image = read_image(source)
    assert image.pixels.shape == (3, 4, 3)
    assert image.pixels.dtype == np.uint8
    assert (image.pixels == expected).all()
    assert source.mode == mode


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_shows_the_background(kind: str) -> None:
    source = PIL.Image.new("P", (4, 3), 0)
    source.putpalette([10, 20, 30, 200, 100, 50])
    source.putpixel((0, 0), 1)
    data = encoded(source, kind, transparency=0)
    pixels = read_image(data, background=(0, 0, 255)).pixels
    assert tuple(pixels[0, 0]) == (200, 100, 50)
    assert tuple(pixels[2, 3]) == (0, 0, 255)


def test_half_transparent_pixels_mix_with_the_background() -> None:
    source = PIL.Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert tuple(read_image(source).pixels[0, 0]) == (255, 127, 127)
    assert tuple(read_image(source, background=BLACK).pixels[0, 0]) == (128, 0, 0)
    assert tuple(read_image(np.asarray(source), background=BLACK).pixels[0, 0]) == (128, 0, 0)


def stored(upright: np.ndarray, number: int) -> np.ndarray:
    """How a camera stores an upright image under an orientation number of the EXIF standard."""
    turned = upright.transpose(1, 0, 2)
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: turned,
        6: turned[::-1],
        7: turned[::-1, ::-1],
        8: turned[:, ::-1],
    }[number]


@pytest.mark.parametrize("number", range(1, 9))
def test_images_are_turned_upright(number: int) -> None:
    upright = drawing()
    raw = PIL.Image.fromarray(np.ascontiguousarray(stored(upright, number)))
    data = encoded(raw, "PNG", exif=orientation(number))
    assert np.array_equal(read_image(data).pixels, upright)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert np.array_equal(read_image(opened).pixels, upright)


@pytest.mark.parametrize("number", range(1, 9))
def test_a_jpeg_has_the_orientation_of_opencv(number: int) -> None:
    blocks = np.kron(drawing(2, 3), np.ones((16, 16, 1), np.uint8))
    data = encoded(PIL.Image.fromarray(blocks), "JPEG", quality=95, exif=orientation(number))
    theirs = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    ours = read_image(data).pixels
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).mean() < 3


def test_unreadable_exif_data_is_ignored() -> None:
    data = encoded(PIL.Image.new("RGB", (8, 6), (90, 90, 90)), "JPEG", exif=b"Exif\0\0no tags at all")
    assert read_image(data).pixels.shape == (6, 8, 3)


def test_a_16_bit_png_keeps_its_brightness() -> None:
    wide = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    image = read_image(encoded(PIL.Image.fromarray(wide), "PNG"))
    assert np.array_equal(image.pixels[:, :, 0].ravel(), np.arange(256))


def test_a_cmyk_jpeg_is_read_with_its_colours() -> None:
    data = encoded(PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert np.abs(read_image(data).pixels.astype(int) - RED).max() < 12


def test_the_first_frame_of_an_animation_is_read() -> None:
    first, second = (PIL.Image.new("RGB", (4, 3), colour) for colour in (RED, (0, 0, 255)))
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert (read_image(data).pixels == RED).all()


# Arrays and tensors


DTYPES = {
    "uint8": (np.uint8, 255),
    "uint16": (np.uint16, 65535),
    "uint16 big-endian": (np.dtype(">u2"), 65535),
    "bool": (np.bool_, 1),
    "float16": (np.float16, 1),
    "float32": (np.float32, 1),
    "float64": (np.float64, 1),
}


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5, 4, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_shape_and_dtype_are_read(dtype: str, shape: tuple[int, ...]) -> None:
    kind, white = DTYPES[dtype]
    array = np.zeros(shape, kind)
    array[1, 2] = white
    if shape[-1] == 4 and len(shape) == 3:
        array[..., 3] = white
    image = read_image(array)
    assert (image.width, image.height) == (4, 5)
    assert tuple(image.pixels[1, 2]) == WHITE
    assert image.pixels.sum() == 3 * 255


def test_pixels_are_rounded_to_8_bits() -> None:
    assert read_image(np.array([[0.0, 0.2, 0.5, 1.0]])).pixels[0, :, 0].tolist() == [0, 51, 128, 255]
    assert read_image(np.array([[0, 128, 129, 257 * 99]], np.uint16)).pixels[0, :, 0].tolist() == [0, 0, 1, 99]


def test_channels_are_reversed_only_with_bgr() -> None:
    pixels = drawing()
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    assert np.array_equal(read_image(bgr, bgr=True).pixels, pixels)
    assert np.array_equal(read_image(bgr).pixels, bgr)
    bgra = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGRA)
    assert np.array_equal(read_image(bgra, bgr=True).pixels, pixels)
    grey = pixels[:, :, 0]
    assert np.array_equal(read_image(grey, bgr=True).pixels, read_image(grey).pixels)


def test_views_and_strides_are_read_correctly() -> None:
    pixels = drawing()
    assert np.array_equal(read_image(pixels[::-1, ::2]).pixels, pixels[::-1, ::2])


@pytest.mark.parametrize(
    "convert",
    [
        lambda chw: chw,
        lambda chw: chw.float() / 255,
        lambda chw: chw.double() / 255,
        lambda chw: (chw.float() / 255).requires_grad_(),
        lambda chw: chw.to(torch.uint16) * 257,
        lambda chw: tv_tensors.Image(chw),
        lambda chw: torch.nn.Parameter(chw.float() / 255),
        lambda chw: chw.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    ],
)
def test_tensors_are_read(convert: Any) -> None:
    pixels = drawing()
    tensor = convert(torch.from_numpy(pixels.transpose(2, 0, 1).copy()))
    assert np.array_equal(read_image(tensor).pixels, pixels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half])
def test_tensors_of_half_precision_are_read(dtype: torch.dtype) -> None:
    tensor = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=dtype).expand(3, 2, 4)
    assert read_image(tensor).pixels[1, :, 2].tolist() == [0, 64, 128, 255]


def test_tensors_of_one_and_four_channels_are_read() -> None:
    assert (read_image(torch.ones(5, 4)).pixels == 255).all()
    assert (read_image(torch.ones(1, 5, 4, dtype=torch.bool)).pixels == 255).all()
    rgba = torch.tensor([255, 0, 0, 0], dtype=torch.uint8)[:, None, None].expand(4, 2, 2)
    assert (read_image(rgba, background=(1, 2, 3)).pixels == (1, 2, 3)).all()
    bgr = torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    assert (read_image(bgr, bgr=True).pixels == RED).all()


# Values


def test_the_digest_depends_on_pixels_and_not_on_the_file() -> None:
    pixels = drawing()
    same = [pixels, encoded(PIL.Image.fromarray(pixels), "PNG"), encoded(PIL.Image.fromarray(pixels), "BMP")]
    assert len({read_image(source).digest for source in same}) == 1
    changed = pixels.copy()
    changed[3, 3, 2] ^= 1
    others = [changed, pixels.reshape(9, 6, 3), pixels[:, :, ::-1], pixels[:-1]]
    assert len({read_image(source) for source in [*same, *others]}) == 1 + len(others)


def test_pixels_are_read_only_and_independent_of_the_source() -> None:
    source = drawing()
    image = read_image(source)
    before = image.pixels.copy()
    source[:] = 0
    assert np.array_equal(image.pixels, before)
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 0
    assert source.flags.writeable


# Errors


def truncated(kind: str) -> bytes:
    data = encoded(PIL.Image.fromarray(drawing(64, 64)), kind)
    return data[: len(data) // 2]


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds nothing."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = struct.pack(">I", 1000) + b"IDAT"
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + pixels


class Broken:
    def read(self, size: int = -1) -> bytes:
        raise TimeoutError("the line is dead")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "NoneType"),
        (7, "int"),
        ([[1, 2], [3, 4]], "list"),
        ("nowhere/at all.png", "no such file"),
        ("http://example.com/cat.jpg", "URL"),
        ("https://example.com/cat.jpg", "URL"),
        ("data:image/png;base64,AAAA", "URL"),
        ("x" * 5000, "too long"),
        ("", "folder"),
        (b"", "0 bytes"),
        (b"not an image, only words" * 9, "not an image"),
        (truncated("JPEG"), "truncated"),
        (truncated("PNG"), "truncated"),
        (io.StringIO("text"), "StringIO"),
        (Broken(), "the line is dead"),
        (PIL.Image.new("RGB", (0, 5)), "empty"),
        (PIL.Image.new("I", (2, 2), 70_000), "70000"),
        (PIL.Image.new("F", (2, 2), 255.0), "from 0 to 1"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"\(4,\)"),
        (np.zeros((3, 8, 9), np.uint8), r"\(3, 8, 9\).*\(H, W, 3\)"),
        (np.zeros((2, 8, 9, 3), np.uint8), r"\(2, 8, 9, 3\)"),
        (np.zeros((8, 9, 2), np.uint8), r"\(8, 9, 2\)"),
        (np.zeros((8, 9, 3), np.int64), "int64.*uint8"),
        (np.zeros((8, 9, 3), np.complex64), "complex64"),
        (np.full((8, 9, 3), "a"), "<U1"),
        (np.full((8, 9), np.nan), "from 0 to 1"),
        (np.full((8, 9), np.inf), "from 0 to 1"),
        (np.full((8, 9), 255.0), "255.*scale them"),
        (np.full((8, 9), -0.1), "-0.1"),
        (np.full((8, 9), 1.01), "1.01"),
        (np.ma.masked_equal(np.eye(4, dtype=np.uint8), 1), r"masked.*filled\(0\)"),
        (torch.zeros(8, 9, 3), r"\(8, 9, 3\).*\(C, H, W\)"),
        (torch.zeros(1, 3, 8, 9), "batch"),
        (torch.zeros(3, 8, 9, dtype=torch.int32), "int32"),
        (torch.full((3, 8, 9), 2.0), "2.0"),
        (torch.zeros(3, 8, 9).to_sparse(), "to_dense"),
        (torch.zeros(3, 8, 9, device="meta"), "cannot be converted"),
    ],
)
def test_other_sources_are_refused_with_a_reason(source: Any, says: str) -> None:
    with pytest.raises(ImageError, match=f"(?s){says}"):
        read_image(source)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_that_rounding_left_outside_of_0_to_1_are_read(dtype: type) -> None:
    pixels = np.array([[-0.0009, 0.5, 1.0009]], dtype)
    assert read_image(pixels).pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_of_other_classes_become_plain_pixels() -> None:
    grey = drawing()[:, :, 0]
    for source in (np.matrix(grey), np.ma.masked_array(grey)):
        image = read_image(source)
        assert type(image.pixels) is np.ndarray
        assert image == read_image(grey)


@pytest.mark.parametrize("kind", ["array", "tensor", "PNG"])
def test_white_is_what_the_caller_says(kind: str) -> None:
    grey = np.array([[0, 1024, 2048, 4095]], np.uint16)
    source: Any = grey
    if kind == "tensor":
        source = torch.from_numpy(grey.astype(np.int32))
    if kind == "PNG":
        source = encoded(PIL.Image.fromarray(grey), "PNG")
    assert read_image(source, white=4095).pixels[0, :, 0].tolist() == [0, 64, 128, 255]
    assert read_image(source, white=2048).pixels[0, :, 0].tolist() == [0, 128, 255, 255]
    if kind != "tensor":
        with pytest.warns(segzs.ImageWarning, match="4095.*12 bits.*white=4095"):
            assert read_image(source).pixels.max() == 16


@pytest.mark.parametrize(
    ("source", "white", "says"),
    [
        (np.zeros((2, 2), np.uint16), 0, "greater than 0"),
        (np.zeros((2, 2), np.uint16), "4095", "greater than 0"),
        (np.full((2, 2), np.nan), 4095, "nan_to_num"),
        (PIL.Image.new("RGB", (2, 2)), 4095, "8 bits"),
        (read_image(np.zeros((2, 2), np.uint8)), 4095, "8 bits"),
    ],
)
def test_white_without_a_meaning_is_refused(source: Any, white: Any, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        read_image(source, white=white)


def test_folders_and_other_files_are_refused_with_their_name(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("buy milk")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    for path in (notes, empty):
        with pytest.raises(ImageError, match=f"{path.name} is not an image"):
            read_image(path)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((10, 11, 3), np.uint8),
        torch.zeros(3, 10, 11),
        PIL.Image.new("L", (11, 10)),
        encoded(PIL.Image.new("L", (11, 10)), "PNG"),
    ],
)
def test_max_pixels_limits_every_kind_of_source(source: Any) -> None:
    assert read_image(source, max_pixels=110).width == 11
    with pytest.raises(ImageError, match=r"11x10.*109"):
        read_image(source, max_pixels=109)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_size_is_checked_before_decoding() -> None:
    with pytest.raises(ImageError, match="more than 1,000"):
        read_image(png_header(100, 100), max_pixels=1000)
    with pytest.raises(ImageError, match="more than"):
        read_image(png_header(13_400, 13_300))
    with pytest.raises(ImageError, match="pixels"):
        read_image(png_header(200_000, 200_000))


def test_the_half_limit_of_pillow_is_ignored_unless_a_filter_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (5, 3)).save(buffer, "PNG")
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        for _ in range(2):
            assert read_image(buffer.getvalue()).width == 5
        assert len(warnings.filters) == 1
    assert not caught
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        with pytest.raises(segzs.ImageError, match="exceeds limit"):
            read_image(buffer.getvalue())
