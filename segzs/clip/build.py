"""Load any CLIP that open_clip builds, with that model's own preprocessing and tokenizer."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from open_clip.utils import to_2tuple
from torch import Tensor, nn

from segzs.clip.networks.compact import expanded
from segzs.clip.networks.tiny import TinyClip
from segzs.errors import ModelError, WeightsError
from segzs.models.registry import ClipCheckpoint
from segzs.models.store import ClipFiles, cure, file_sha256
from segzs.sam.build import WithoutRandomWeights, load_strictly, read_weights

TABLE = "text.token_embedding.weight"
ROWS, VALUES = "text.token_embedding.rows", "text.token_embedding.values"
CONTRASTIVE_UNKNOWN = 0.2


@dataclass(frozen=True, eq=False)
class ClipModel:
    """A loaded CLIP: its row, the SHA-256 of its weights, the module, and its own preprocessing and tokenizer.

    ``preprocessing.size`` is (height, width). ``known_tokens`` is the set of tokens that the text tower was trained on,
    or None when it knows all of them. ``config`` is the SHA-256 of its configuration: the same weights with another
    activation answer differently.
    """

    row: ClipCheckpoint
    digest: str
    module: Any = field(repr=False)
    preprocessing: PreprocessCfg
    tokenizer: Callable[..., Tensor] = field(repr=False)
    known_tokens: frozenset[int] | None = field(default=None, repr=False)
    config: str = ""

    @property
    def device(self) -> torch.device:
        return self.module.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """What its image tower computes with."""
        return next(self.module.visual.parameters()).dtype

    @cached_property
    def logit_scale(self) -> float:
        return float(self.module.logit_scale.exp())

    @cached_property
    def unknown(self) -> float:
        """The similarity from which on a label beats "unknown": the row's, else where SigLIP's sigmoid says one half.

        Contrastive models without either get what suits those of OpenAI and LAION.
        """
        if self.row.unknown is not None:
            return self.row.unknown
        bias = getattr(self.module, "logit_bias", None)
        return CONTRASTIVE_UNKNOWN if bias is None else -float(bias) / self.logit_scale


def load_clip(files: ClipFiles, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> ClipModel:
    """Build the model that a configuration describes and load its weights strictly.

    The image tower computes in ``dtype``, the text tower, which runs once a vocabulary, in float32.

    Raises:
        WeightsError: the file is no checkpoint, or not this model's.
    """
    with WithoutRandomWeights():
        module = build_module(files)
    known = _load(module, files)
    module.to(device).eval().requires_grad_(False)
    module.visual.to(dtype)
    preprocessing = merge_preprocess_dict(asdict(PreprocessCfg()), files.config.get("preprocess_cfg", {}))
    preprocessing["size"] = to_2tuple(module.visual.image_size)
    return ClipModel(
        row=files.row,
        digest=file_sha256(files.weights),
        module=module,
        preprocessing=PreprocessCfg(**preprocessing),
        tokenizer=_tokenizer(files),
        known_tokens=known,
        config=hashlib.sha256(json.dumps(files.config, sort_keys=True).encode()).hexdigest(),
    )


def build_module(files: ClipFiles) -> Any:
    """The untrained model of a configuration.

    Raises:
        WeightsError: open_clip cannot build it.
    """
    config = copy.deepcopy(files.config["model_cfg"])
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        if not (files.folder / "config.json").is_file():
            raise ModelError(f"the text model of {files.row.name} is not here; {cure(files.row)}")
        text |= {"hf_model_name": str(files.folder), "hf_model_pretrained": False}
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    kind = TinyClip if "drawing_trunk" in vision else kind
    try:
        return kind(**config)
    except Exception as error:  # open_clip and timm raise errors of many kinds on odd configurations
        raise WeightsError(f"open_clip cannot build {files.row.name} from its configuration: {error}") from error


def _load(module: nn.Module, files: ClipFiles) -> frozenset[int] | None:
    """Load the weights and say which tokens they know; a token table stored by its used rows is spread out."""
    weights = expanded(read_weights(files.weights))
    try:
        if ROWS in weights:
            rows, values = weights.pop(ROWS).long(), weights.pop(VALUES)
            weights[TABLE] = torch.zeros(module.state_dict()[TABLE].shape)
            weights[TABLE][rows] = values.float()
            load_strictly(module, weights, f"{files.weights} as {files.row.name}")
            return frozenset(rows.tolist())
        open_clip.load_checkpoint(module, str(files.weights), strict=True, weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # whatever open_clip's conversions meet in a foreign file
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{files.weights} as {files.row.name}: the weights do not fit: {reason}") from error
    return None


def _tokenizer(files: ClipFiles) -> Callable[..., Tensor]:
    text = files.config["model_cfg"].get("text_cfg", {})
    length = text.get("context_length", 77)
    options = dict(text.get("tokenizer_kwargs") or {})
    if "hf_tokenizer_name" not in text:
        return open_clip.tokenizer.SimpleTokenizer(context_length=length, **options)
    absent = f"the tokenizer of {files.row.name} is not beside its weights; {cure(files.row)}"
    if not (files.folder / "tokenizer_config.json").is_file():
        raise ModelError(absent)
    options |= {"context_length": length, "tokenizer_mode": text.get("tokenizer_mode")}
    try:
        return open_clip.tokenizer.HFTokenizer(str(files.folder), **options)
    except ImportError as error:
        raise ModelError(
            f"{files.row.name} has a tokenizer of transformers; run: pip install 'segzs[siglip]'"
        ) from error
    except OSError as error:
        raise ModelError(absent) from error
