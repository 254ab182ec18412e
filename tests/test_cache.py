"""EmbeddingCache: no tensor is computed twice, and no damaged or foreign file is used."""

from __future__ import annotations

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
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from segzs import CacheWarning
from segzs import cache as module
from segzs.cache import EmbeddingCache


class Computer:
    """Computes a tensor for a key, and counts."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def get(self, cache: EmbeddingCache, key: str) -> torch.Tensor:
        return cache.get(key, lambda: self.compute(key))

    def compute(self, key: str) -> torch.Tensor:
        self.keys.append(key)
        return tensor_of(key)


def tensor_of(key: str) -> torch.Tensor:
    return torch.randn(1, 64, 16, 16, generator=torch.Generator().manual_seed(ord(key[0]))).half()


@pytest.fixture
def computer() -> Computer:
    return Computer()


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted(tmp_path.glob("*.safetensors"))


def test_a_tensor_is_computed_once(tmp_path: Path, computer: Computer) -> None:
    cache = EmbeddingCache(tmp_path)
    tensors = [computer.get(each, "a") for each in (cache, cache, EmbeddingCache(tmp_path))]
    assert computer.keys == ["a"]
    assert all(torch.equal(tensor, tensor_of("a")) for tensor in tensors)


def test_each_key_has_its_own_tensor(tmp_path: Path, computer: Computer) -> None:
    cache = EmbeddingCache(tmp_path)
    assert all(torch.equal(computer.get(cache, key), tensor_of(key)) for key in "abba")
    assert computer.keys == ["a", "b"]


def test_a_tensor_can_be_kept_in_memory_only(tmp_path: Path, files: Callable[[], list[Path]]) -> None:
    cache = EmbeddingCache(tmp_path)
    first = cache.get("a", lambda: tensor_of("a"), on_disk=False)
    assert torch.equal(cache.get("a", lambda: tensor_of("b"), on_disk=False), first)
    assert files() == []


def test_a_cached_tensor_cannot_be_written_to(tmp_path: Path) -> None:
    for cache in (EmbeddingCache(tmp_path), EmbeddingCache(tmp_path)):  # computed and read
        with pytest.raises(RuntimeError, match=r"[Ii]nference"):
            cache.get("a", lambda: tensor_of("a")).zero_()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1000] ^= 4
    path.write_bytes(data)


def forge(path: Path) -> None:
    save_file({"tensor": torch.zeros(1, 64, 16, 16).half()}, path)


def store_bfloat16(path: Path) -> None:
    save_file({"tensor": torch.zeros(1, 64, 16, 16, dtype=torch.bfloat16)}, path)


def rename_the_file_of_another_key(path: Path) -> None:
    EmbeddingCache(path.parent).get("z", lambda: tensor_of("z"))
    (other,) = set(path.parent.glob("*.safetensors")) - {path}
    os.replace(other, path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def write_text(path: Path) -> None:
    path.write_text("cat " * 999)


@pytest.mark.parametrize(
    "damage", [truncate, flip_one_bit, forge, store_bfloat16, rename_the_file_of_another_key, empty, write_text]
)
def test_a_damaged_or_foreign_file_is_replaced_with_one_warning(
    damage: Callable[[Path], object], tmp_path: Path, computer: Computer, files: Callable[[], list[Path]]
) -> None:
    computer.get(EmbeddingCache(tmp_path), "a")
    damage(files()[0])
    with pytest.warns(CacheWarning, match="computed again") as caught:
        again = computer.get(EmbeddingCache(tmp_path), "a")
    assert len(caught) == 1
    assert computer.keys == ["a", "a"]
    assert torch.equal(again, tensor_of("a"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        computer.get(EmbeddingCache(tmp_path), "a")
    assert computer.keys == ["a", "a"]


def test_the_folder_keeps_the_most_recently_used_files(
    tmp_path: Path, computer: Computer, files: Callable[[], list[Path]]
) -> None:
    computer.get(EmbeddingCache(tmp_path), "a")
    room = 2 * files()[0].stat().st_size + 10
    for key, day in (("a", 1), ("b", 2)):
        computer.get(EmbeddingCache(tmp_path), key)
        newest = max(files(), key=lambda path: path.stat().st_mtime)
        os.utime(newest, (day, day))
    computer.get(EmbeddingCache(tmp_path), "a")  # so that "b" is the least recently used
    computer.get(EmbeddingCache(tmp_path, disk=room), "c")
    assert len(files()) == 2
    computer.keys.clear()
    for key in "ac":
        computer.get(EmbeddingCache(tmp_path), key)
    assert computer.keys == []


def test_memory_keeps_the_most_recently_used_tensors(computer: Computer) -> None:
    cache = EmbeddingCache(memory=2 * tensor_of("a").nbytes)
    for key in "abacab":
        computer.get(cache, key)
    assert computer.keys == ["a", "b", "c", "b"]


def test_many_threads_compute_a_tensor_once(tmp_path: Path, computer: Computer) -> None:
    cache, ready = EmbeddingCache(tmp_path), threading.Barrier(8)

    def work(number: int) -> torch.Tensor:
        ready.wait()
        return computer.get(cache, "ab"[number % 2])

    with ThreadPoolExecutor(8) as pool:
        tensors = list(pool.map(work, range(8)))
    assert sorted(computer.keys) == ["a", "b"]
    assert all(torch.equal(tensor, tensors[number % 2]) for number, tensor in enumerate(tensors))


PROCESS = """
import sys, time, torch
from pathlib import Path
from segzs.cache import EmbeddingCache
def compute():
    print("computed", flush=True)
    time.sleep(0.5)
    return torch.zeros(5)
print("ready", flush=True)
sys.stdin.readline()
EmbeddingCache(Path(sys.argv[1])).get("a", compute)
"""


@pytest.mark.slow
def test_many_processes_compute_a_tensor_once(tmp_path: Path, files: Callable[[], list[Path]]) -> None:
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
    printed = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert "".join(printed) == "computed\n"
    assert len(files()) == 1


def test_an_unusable_folder_costs_only_a_warning(tmp_path: Path, computer: Computer) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(CacheWarning, match="cannot w"):
        tensor = computer.get(EmbeddingCache(tmp_path / "file" / "cache"), "a")
    assert torch.equal(tensor, tensor_of("a"))


def test_size_and_clear(tmp_path: Path, computer: Computer, files: Callable[[], list[Path]]) -> None:
    cache = EmbeddingCache(tmp_path)
    computer.get(cache, "a")
    assert cache.size() == (1, files()[0].stat().st_size)
    assert load_file(files()[0])["tensor"].dtype == torch.float16
    cache.clear()
    assert cache.size()[0] == 0
    computer.get(cache, "a")
    assert computer.keys == ["a", "a"]


def test_a_tensor_in_memory_needs_no_lock_and_no_file(
    tmp_path: Path, computer: Computer, files: Callable[[], list[Path]]
) -> None:
    computer.get(EmbeddingCache(tmp_path), "a")
    cache = EmbeddingCache(tmp_path)
    before = computer.get(cache, "a")
    with ExitStack() as held:
        for stripe in range(module.STRIPES):
            held.enter_context(FileLock(tmp_path / f"{stripe:02}.lock"))
        with files()[0].open("r+b") as file:
            file.seek(-4000, os.SEEK_END)
            file.write(bytes(4000))
        assert torch.equal(computer.get(cache, "a"), before)


def test_a_hanging_process_does_not_block_others_forever(
    tmp_path: Path, computer: Computer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    with ExitStack() as held:
        for stripe in range(module.STRIPES):
            held.enter_context(FileLock(tmp_path / f"{stripe:02}.lock"))
        with pytest.warns(CacheWarning, match="cannot wait for other processes"):
            computer.get(EmbeddingCache(tmp_path), "a")


def test_the_temporary_file_of_a_killed_process_is_evicted_and_cleared(tmp_path: Path, computer: Computer) -> None:
    left = tmp_path / f"{'0' * 64}.safetensors.1-1"
    left.write_bytes(bytes(1000))
    os.utime(left, (1, 1))
    cache = EmbeddingCache(tmp_path)
    assert cache.size() == (0, 1000)
    computer.get(EmbeddingCache(tmp_path, disk=1), "a")
    assert not left.exists()
    left.write_bytes(bytes(1000))
    cache.clear()
    assert not left.exists()


def test_a_cache_can_be_pickled_and_copied(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, memory=5, disk=6)
    for twin in (pickle.loads(pickle.dumps(cache)), deepcopy(cache)):
        assert (twin.folder, twin.memory, twin.disk) == (tmp_path, 5, 6)
