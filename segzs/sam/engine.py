"""SAM's encoder and decoder as graphs that OpenVINO computes: converted once, kept on disk, put in torch's place.

Graphs are exported from the torch modules in float32; what they are computed with is decided when they are compiled, so
one conversion serves every precision.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from segment_anything.modeling import MaskDecoder, Sam
from torch import Tensor, nn
from tqdm import tqdm

from segzs.errors import SegzsWarning, warn
from segzs.models.store import file_sha256
from segzs.sam.build import SamModel, with_dtype

CONVERSION = 1
"""Version of what is exported; graphs of another version are not read."""
PARTS = ("encoder", "decoder")
SUMS = "sha256.json"
LONGEST_WAIT = 600
"""Seconds after which another process's conversion is not waited for any longer: it may hang."""


class EngineWarning(SegzsWarning):
    """OpenVINO was asked for and cannot be had, or cannot keep what it converted."""


def compiled(sam: SamModel, dtype: torch.dtype, folder: Path | None = None, *, quiet: bool = False) -> SamModel:
    """The same SAM, computed by OpenVINO; where that cannot be, by torch, with a warning that says why.

    Answers are those of torch in the same ``dtype``, but for rounding. Threads are as many as torch has.

    Args:
        sam: a model on the CPU in float32.
        dtype: torch.float32 or torch.bfloat16.
        folder: where graphs are kept between runs; None converts anew each time.
        quiet: show no progress on stderr while converting.
    """
    try:
        if sam.device.type != "cpu":
            raise ValueError(f"it computes on the CPU, and the device is {sam.device}")
        encoder, decoder = _kept(sam, folder, quiet) if folder else _converted(sam, quiet)
        module = Sam(
            CompiledEncoder(encoder, dtype, sam.module.image_encoder.img_size),
            sam.module.prompt_encoder,
            CompiledDecoder(decoder, dtype),
            sam.module.pixel_mean.flatten().tolist(),
            sam.module.pixel_std.flatten().tolist(),
        )
        return SamModel(sam.row, sam.digest, module.eval(), dtype, "openvino")
    except ImportError as error:
        why = f"it is not installed ({error}); run: pip install 'segzs[openvino]'"
    except Exception as error:  # the exporter, the converter and the compiler raise errors of many kinds
        why = (str(error) or type(error).__name__).strip().splitlines()[0]
    warn(f"{sam.row.name} is computed by torch, not by openvino: {why}", EngineWarning)
    return with_dtype(sam, dtype)


class CompiledEncoder(nn.Module):
    """An image encoder's graph: 1 3 S S normalised pixels -> features 1 C G G."""

    def __init__(self, graph: Any, dtype: torch.dtype, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size
        self._graph = _compile(graph, dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        return _run(self._graph, pixels)[0]


class CompiledDecoder(nn.Module):
    """A mask decoder's graph, for one dense embedding that all prompts share.

    It is compiled for each number of prompts when that is first asked for: with the number left open it is no faster
    than torch.
    """

    def __init__(self, graph: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self._graph, self._dtype = graph, dtype
        self._by_prompts: dict[int, Any] = {}
        self._guard = threading.Lock()

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Masks N 4 4G 4G and predicted IoU N 4 for N prompts on one image, 1 C G G."""
        sparse, dense = sparse_prompt_embeddings, dense_prompt_embeddings
        if len(dense) == 1:
            masks, predicted_iou = _run(self._for(len(sparse)), image_embeddings, image_pe, sparse, dense)
            return masks, predicted_iou
        each = [
            self.predict_masks(image_embeddings, image_pe, *one)
            for one in zip(sparse.split(1), dense.split(1), strict=True)
        ]
        return torch.cat([masks for masks, _ in each]), torch.cat([predicted_iou for _, predicted_iou in each])

    def _for(self, prompts: int) -> Any:
        with self._guard:
            if prompts not in self._by_prompts:
                graph = self._graph.clone()
                sparse = graph.input(2)
                graph.reshape({sparse: [prompts, -1, sparse.partial_shape[2]]})
                self._by_prompts[prompts] = _compile(graph, self._dtype)
            return self._by_prompts[prompts]


class _MaskDecoder(nn.Module):
    """A decoder's ``predict_masks`` as a module's ``forward``, which is what can be exported."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, image: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        return self.decoder.predict_masks(image, positions, sparse, dense)


def _kept(sam: SamModel, folder: Path, quiet: bool) -> Sequence[Any]:
    """The graphs of these weights, read from a folder; converted and put there if they are not, or are damaged."""
    _openvino()  # absent, it shall leave no empty folders
    place = folder / f"{sam.digest[:32]}-{CONVERSION}-openvino-{version('openvino')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{place.name}.lock", timeout=LONGEST_WAIT):
            if not _intact(place):
                _write(place, _converted(sam, quiet))
        return [_core().read_model(place / f"{part}.xml") for part in PARTS]
    except (OSError, NotImplementedError) as error:
        warn(f"converted models cannot be kept in {folder}: {error}", EngineWarning)
        return _converted(sam, quiet)


def _intact(place: Path) -> bool:
    try:
        sums = json.loads((place / SUMS).read_text("utf-8"))
        return sums == _sums(place)
    except (OSError, ValueError):
        return False


def _sums(place: Path) -> dict[str, str]:
    return {f"{part}.{ending}": file_sha256(place / f"{part}.{ending}") for part in PARTS for ending in ("bin", "xml")}


def _write(place: Path, graphs: Sequence[Any]) -> None:
    """Write a temporary folder and rename it: a reader sees all of it or nothing."""
    part = place.with_name(f"{place.name}.part")
    for old in (part, place):  # what a killed process left, and what is damaged
        if old.exists():
            shutil.rmtree(old)
    part.mkdir()
    for name, graph in zip(PARTS, graphs, strict=True):
        _openvino().save_model(graph, part / f"{name}.xml", compress_to_fp16=False)
    (part / SUMS).write_text(json.dumps(_sums(part)), "utf-8")
    os.replace(part, place)


def _converted(sam: SamModel, quiet: bool) -> Sequence[Any]:
    """A SAM's encoder and decoder as OpenVINO's graphs."""
    from torch.export import Dim, export

    module, size = sam.module, sam.module.image_encoder.img_size
    openvino = _openvino()
    with tqdm(total=2, desc=f"converting {sam.row.name} for openvino, once", disable=quiet) as bar:
        pixels = torch.zeros(1, 3, size, size)
        encoder = openvino.convert_model(export(module.image_encoder, (pixels,), strict=False))
        encoder.reshape([1, 3, size, size])
        channels = encoder.output(0).shape[1]
        bar.update()
        positions = module.prompt_encoder.get_dense_pe()  # 1 C G G
        shape = positions.shape
        features, dense = torch.zeros(1, channels, *shape[2:]), torch.zeros(shape)
        sparse = torch.zeros(3, 3, shape[1])  # sizes of 0 and 1 would be taken for constants
        exported = export(
            _MaskDecoder(module.mask_decoder),
            (features, positions, sparse, dense),
            dynamic_shapes=({}, {}, {0: Dim("prompts"), 1: Dim("tokens")}, {}),
            strict=False,
        )
        decoder = openvino.convert_model(exported)
        fixed = dict(zip(decoder.inputs, (features.shape, shape, (-1, -1, shape[1]), shape), strict=True))
        decoder.reshape({place: list(sizes) for place, sizes in fixed.items()})
        bar.update()
    return encoder, decoder


def _openvino() -> Any:
    """OpenVINO without its telemetry, which would tell Intel of every import and conversion without being asked to."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it then uses a stub of its own
    import openvino

    return openvino


@cache
def _core() -> Any:
    return _openvino().Core()


def _compile(graph: Any, dtype: torch.dtype) -> Any:
    return _core().compile_model(
        graph,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
        },
    )


def _run(graph: Any, *inputs: Tensor) -> list[Tensor]:
    """Compute a graph, in a request of its own so that threads do not meet."""
    arrays = [np.ascontiguousarray(tensor.float().numpy()) for tensor in inputs]
    found = graph.create_infer_request().infer(arrays)
    return [torch.from_numpy(found[index]) for index in range(len(graph.outputs))]
