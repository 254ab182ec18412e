"""Out of memory: smaller batches with the same results, or an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import segzs
from segzs import OutOfMemoryError, Prompt
from segzs.clip.image_features import encode_images
from segzs.clip.text_features import encode_texts
from segzs.memory import run_in_parts
from segzs.sam.decode import decode

CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
ERRORS = (
    MemoryError(),
    RuntimeError(CPU),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


@pytest.mark.parametrize("error", ERRORS, ids=str)
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 9])
def test_batches_are_halved_until_they_fit(error: Exception, limit: int) -> None:
    sizes = []

    def run(batch: Sequence[int]) -> list[int]:
        sizes.append(len(batch))
        if len(batch) > limit:
            raise error
        return [number * 10 for number in batch]

    parts = run_in_parts(run, list(range(9)))
    assert [number for part in parts for number in part] == [number * 10 for number in range(9)]
    assert max(map(len, parts)) <= limit
    assert sizes[0] == 9


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_what_does_not_fit_at_all_is_a_clear_error(error: Exception) -> None:
    def run(batch: Sequence[int]) -> None:
        raise error

    with pytest.raises(OutOfMemoryError, match=r"not enough memory.*smaller model") as raised:
        run_in_parts(run, [1, 2])
    assert "\n" not in str(raised.value)


def test_other_errors_are_not_repeated() -> None:
    calls = []

    def run(batch: Sequence[int]) -> None:
        calls.append(batch)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        run_in_parts(run, [1, 2])
    assert len(calls) == 1


Fail = Callable[[Any, str, int], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """``fail(module, method, limit)``: the module has memory for batches of ``limit`` only."""

    def apply(module: Any, method: str, limit: int) -> None:
        original = getattr(module, method)

        def limited(*arguments: Any, **options: Any) -> Any:
            prompts = arguments[-1]
            if len(prompts.points[0] if hasattr(prompts, "points") else prompts) > limit:
                raise RuntimeError(CPU)
            return original(*arguments, **options)

        monkeypatch.setattr(module, method, limited)

    return apply


@pytest.fixture(scope="module")
def image(segmenter: segzs.Segmenter) -> segzs.EncodedImage:
    pixels = np.full((60, 80, 3), 220, np.uint8)
    pixels[10:40, 20:60] = (200, 30, 30)
    return segmenter.encode(pixels)


def test_prompts_are_decoded_in_smaller_batches(
    segmenter: segzs.Segmenter, image: segzs.EncodedImage, fail: Fail
) -> None:
    prompts = [Prompt.point(30 + 5 * number, 20) for number in range(4)]
    expected = decode(segmenter.sam, image, prompts)
    fail(segmenter.sam.module, "decode", 1)
    assert [one.rle for (one,) in decode(segmenter.sam, image, prompts)] == [one.rle for (one,) in expected]
    fail(segmenter.sam.module, "decode", 0)
    with pytest.raises(OutOfMemoryError, match="can't allocate memory"):
        segmenter.decode(image, prompts)


def test_an_image_that_cannot_be_encoded_is_a_clear_error(segmenter: segzs.Segmenter, fail: Fail) -> None:
    fail(segmenter.sam.module, "encode", 0)
    with pytest.raises(OutOfMemoryError, match="can't allocate memory"):
        segmenter.encode(np.zeros((9, 9, 3), np.uint8))


def test_crops_and_texts_are_encoded_in_smaller_batches(segmenter: segzs.Segmenter, fail: Fail) -> None:
    crops = [np.full((8, 8, 3), number, np.uint8) for number in (0, 90, 180, 250)]
    texts = ["a cat", "a dog", "a red apple"]
    images, sentences = encode_images(segmenter.clip, crops), encode_texts(segmenter.clip, texts)
    fail(segmenter.clip.module, "encode_image", 1)
    fail(segmenter.clip.module, "encode_text", 1)
    torch.testing.assert_close(encode_images(segmenter.clip, crops), images)
    torch.testing.assert_close(encode_texts(segmenter.clip, texts), sentences)
