"""The cache of encoded images: same answers, nothing encoded twice, nothing believed that was not written here."""

import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from segzs import cache as module
from segzs.cache import CacheWarning, EmbeddingCache
from segzs.checkpoints.locate import locate_sam
from segzs.image import Image, read_image
from segzs.masks import iou
from segzs.prompts import Prompt
from segzs.sam.decode import decode
from segzs.sam.encode import encode
from segzs.sam.model import SamModel, load_sam
from tests.conftest import EXAMPLES, read_scene


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the images that were really encoded, in order."""
    seen: list[str] = []

    def counting(sam: SamModel, image: Image) -> object:
        seen.append(image.digest)
        return encode(sam, image)

    monkeypatch.setattr(module, "encode", counting)
    return seen


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted(tmp_path.glob("*.safetensors"))


def flat(value: int) -> Image:
    return read_image(np.full((40, 60, 3), value, np.uint8))


def test_an_image_is_encoded_once(tiny: SamModel, desk: Image, tmp_path: Path, counted: list[str]) -> None:
    cache = EmbeddingCache(tmp_path)
    first, again = cache.encode(tiny, desk), cache.encode(tiny, read_image(EXAMPLES / "desk.png"))
    tomorrow = EmbeddingCache(tmp_path).encode(tiny, desk)
    assert counted == [desk.digest]
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.features, tomorrow.features)
    assert torch.equal(first.features, encode(tiny, desk).features.half().float())
    assert (tomorrow.input_size, tomorrow.model_digest) == (first.input_size, first.model_digest)


def test_masks_from_the_folder_are_those_of_the_encoder(tiny: SamModel, desk: Image, tmp_path: Path) -> None:
    EmbeddingCache(tmp_path).encode(tiny, desk)
    prompts = [Prompt.box(*mask.box) for mask in read_scene("desk").masks]
    both = (encode(tiny, desk), EmbeddingCache(tmp_path).encode(tiny, desk))
    fresh, stored = (decode(tiny, encoded, prompts) for encoded in both)
    assert min(iou(a.rles, b.rles)[0, 0] for a, b in zip(fresh, stored, strict=True)) >= 0.99


def test_another_picture_or_other_weights_are_not_found(
    tiny: SamModel, other_tiny: SamModel, tmp_path: Path, counted: list[str]
) -> None:
    cache = EmbeddingCache(tmp_path)
    for sam, image in ((tiny, flat(0)), (tiny, flat(1)), (other_tiny, flat(0)), (tiny, flat(0))):
        assert cache.encode(sam, image).model_digest == sam.digest
    assert len(counted) == 3


def test_another_preprocessing_is_not_found(
    tiny: SamModel, tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    EmbeddingCache(tmp_path).encode(tiny, flat(0))
    monkeypatch.setattr(module, "PREPROCESSING", -1)
    EmbeddingCache(tmp_path).encode(tiny, flat(0))
    assert len(counted) == 2


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1000] ^= 4
    path.write_bytes(data)


def forge(path: Path) -> None:
    save_file({"features": torch.zeros(1, 512, 48, 48).half()}, path)


def store_bfloat16(path: Path) -> None:
    save_file({"features": torch.zeros(1, 512, 48, 48, dtype=torch.bfloat16)}, path)


def swap(path: Path) -> None:
    """Another image's file under this one's name."""
    EmbeddingCache(path.parent).encode(swap.tiny, flat(9))  # type: ignore[attr-defined]
    (other,) = set(path.parent.glob("*.safetensors")) - {path}
    os.replace(other, path)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_one_bit,
        forge,
        store_bfloat16,
        swap,
        lambda p: p.write_bytes(b""),
        lambda p: p.write_text("cat " * 999),
    ],
)
def test_a_damaged_or_foreign_file_is_a_miss_reported_once(
    damage: Callable[[Path], object],
    tiny: SamModel,
    tmp_path: Path,
    counted: list[str],
    files: Callable[[], list[Path]],
) -> None:
    swap.tiny = tiny  # type: ignore[attr-defined]
    right = EmbeddingCache(tmp_path).encode(tiny, flat(0))
    damage(files()[0])
    counted.clear()
    with pytest.warns(CacheWarning, match="encoded again") as caught:
        again = EmbeddingCache(tmp_path).encode(tiny, flat(0))
    assert len(caught) == len(counted) == 1
    assert torch.equal(again.features, right.features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmbeddingCache(tmp_path).encode(tiny, flat(0))
    assert len(counted) == 1


def test_the_folder_keeps_what_was_used_last(
    tiny: SamModel, tmp_path: Path, counted: list[str], files: Callable[[], list[Path]]
) -> None:
    EmbeddingCache(tmp_path).encode(tiny, flat(0))
    room = 2 * files()[0].stat().st_size + 10
    for value, day in ((0, 1), (1, 2)):
        EmbeddingCache(tmp_path).encode(tiny, flat(value))
        newest = max(files(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (day, day))
    EmbeddingCache(tmp_path).encode(tiny, flat(0))  # used now, so that 1 is the one used longest ago
    EmbeddingCache(tmp_path, disk=room).encode(tiny, flat(2))
    assert len(files()) == 2
    counted.clear()
    for value in (0, 2):
        EmbeddingCache(tmp_path).encode(tiny, flat(value))
    assert counted == []


def test_memory_keeps_what_was_used_last(tiny: SamModel, counted: list[str]) -> None:
    one = encode(tiny, flat(0)).features.nbytes
    cache = EmbeddingCache(memory=one)  # float16: room for two
    for value in (0, 1, 0, 2, 0, 1):
        cache.encode(tiny, flat(value))
    assert counted == [flat(value).digest for value in (0, 1, 2, 1)]


def test_features_beyond_float16_stay_as_they_are(
    tiny: SamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = encode(tiny, flat(0))
    huge = replace(right, features=right.features * 1e9)
    monkeypatch.setattr(module, "encode", lambda *_: huge)
    for _ in ("fresh", "from the folder"):
        assert torch.equal(EmbeddingCache(tmp_path).encode(tiny, flat(0)).features, huge.features)


def test_many_threads_encode_once(tiny: SamModel, tmp_path: Path, counted: list[str]) -> None:
    cache, ready = EmbeddingCache(tmp_path), threading.Barrier(8)

    def work(number: int) -> torch.Tensor:
        ready.wait()
        return cache.encode(tiny, flat(number % 2)).features

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    assert sorted(counted) == sorted({flat(0).digest, flat(1).digest})
    assert all(torch.equal(answer, answers[number % 2]) for number, answer in enumerate(answers))


PROCESS = """
import sys, numpy as np
from pathlib import Path
import segzs.cache as module
from segzs.image import read_image
from segzs.checkpoints.locate import locate_sam
from segzs.sam.model import load_sam
from segzs.sam.encode import encode
def telling(sam, image):
    print("encoded", flush=True)
    return encode(sam, image)
module.encode = telling
sam = load_sam(locate_sam("tiny"))
print("ready", flush=True)
sys.stdin.readline()
module.EmbeddingCache(Path(sys.argv[1])).encode(sam, read_image(np.zeros((600, 800, 3), np.uint8)))
"""


def test_many_processes_encode_once(tmp_path: Path, files: Callable[[], list[Path]]) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert "".join(said) == "encoded\n"
    assert len(files()) == 1


def test_a_folder_that_cannot_be_used_costs_only_a_warning(tiny: SamModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(CacheWarning, match="cannot be"):
        encoded = EmbeddingCache(tmp_path / "file" / "cache").encode(tiny, flat(0))
    assert torch.equal(encoded.features, encode(tiny, flat(0)).features.half().float())


def test_size_and_clear(tiny: SamModel, tmp_path: Path, counted: list[str], files: Callable[[], list[Path]]) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.encode(tiny, flat(0))
    assert (cache.size().entries, cache.size().bytes) == (1, files()[0].stat().st_size)
    assert load_file(files()[0])["features"].dtype == torch.float16
    cache.clear()
    assert cache.size().entries == 0
    cache.encode(tiny, flat(0))
    assert len(counted) == 2


def test_the_models_name_is_the_askers(tiny: SamModel, tmp_path: Path) -> None:
    """Two rows may share weights; the answer names the one that asked."""
    cache = EmbeddingCache(tmp_path)
    cache.encode(tiny, flat(0))
    renamed = replace(tiny, spec=replace(tiny.spec, name="mine"))
    assert cache.encode(renamed, flat(0)).model == "mine"


def test_another_dtype_is_not_found(tiny: SamModel, tmp_path: Path, counted: list[str]) -> None:
    EmbeddingCache(tmp_path).encode(tiny, flat(0))
    halved = load_sam(locate_sam("tiny"), dtype=torch.bfloat16)
    EmbeddingCache(tmp_path).encode(halved, flat(0))
    assert len(counted) == 2


def test_what_is_in_memory_waits_for_nobody_and_changes_with_no_file(
    tiny: SamModel, tmp_path: Path, files: Callable[[], list[Path]]
) -> None:
    EmbeddingCache(tmp_path).encode(tiny, flat(0))
    cache = EmbeddingCache(tmp_path)
    before = cache.encode(tiny, flat(0)).features
    with ExitStack() as held:
        for stripe in range(module.STRIPES):
            held.enter_context(FileLock(tmp_path / f"{stripe:02}.lock"))
        with files()[0].open("r+b") as file:
            file.seek(-4000, os.SEEK_END)
            file.write(bytes(4000))
        assert torch.equal(cache.encode(tiny, flat(0)).features, before)


def test_a_hanging_process_is_not_waited_for_for_ever(
    tiny: SamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.1)
    with ExitStack() as held:
        for stripe in range(module.STRIPES):
            held.enter_context(FileLock(tmp_path / f"{stripe:02}.lock"))
        with pytest.warns(CacheWarning, match="cannot be waited for"):
            EmbeddingCache(tmp_path).encode(tiny, flat(0))


def test_what_a_killed_process_left_is_evicted_and_cleared(tiny: SamModel, tmp_path: Path) -> None:
    left = tmp_path / f"{'0' * 64}.safetensors.1-1"
    left.write_bytes(bytes(1000))
    os.utime(left, (1, 1))
    cache = EmbeddingCache(tmp_path)
    assert (cache.size().entries, cache.size().bytes) == (0, 1000)
    EmbeddingCache(tmp_path, disk=1).encode(tiny, flat(0))
    assert not left.exists()
    left.write_bytes(bytes(1000))
    cache.clear()
    assert not left.exists()


def test_a_cache_travels_to_other_processes(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, memory=5, disk=6)
    for twin in (pickle.loads(pickle.dumps(cache)), deepcopy(cache)):
        assert (twin.folder, twin.memory, twin.disk) == (tmp_path, 5, 6)
