"""Build and load any CLIP of open_clip, with its own preprocessing and tokenizer."""

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

from segzs.checkpoints.folding import fold_norms
from segzs.checkpoints.locate import ClipFiles, file_sha256, remedy
from segzs.checkpoints.read import WithoutRandomWeights, load_strictly, read_weights
from segzs.checkpoints.registry import ClipCheckpoint
from segzs.clip.networks.compact import expanded
from segzs.clip.networks.tiny import TinyClip
from segzs.errors import ModelError, WeightsError

TABLE = "text.token_embedding.weight"
ROWS, VALUES = "text.token_embedding.rows", "text.token_embedding.values"
CONTRASTIVE_THRESHOLD = 0.2
"""The threshold of "unknown" for contrastive CLIPs whose row states none; suits those of OpenAI and LAION."""


@dataclass(frozen=True, eq=False)
class ClipModel:
    """A loaded CLIP with its registry row.

    ``digest`` is the SHA-256 of the weights, and ``config`` that of the configuration, because the same weights with
    another activation give other features. ``preprocessing.size`` is (height, width). ``known_tokens`` are the tokens
    that the text tower was trained on, or None for all.
    """

    spec: ClipCheckpoint
    digest: str
    module: Any = field(repr=False)
    preprocessing: PreprocessCfg
    tokenizer: Callable[..., Tensor] = field(repr=False)
    known_tokens: frozenset[int] | None = field(default=None, repr=False)
    config: str = ""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.module.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the image tower."""
        return next(self.module.visual.parameters()).dtype

    @cached_property
    def logit_scale(self) -> float:
        """The factor from cosine similarities to logits."""
        return float(self.module.logit_scale.exp())

    @cached_property
    def unknown_threshold(self) -> float:
        """The cosine similarity that a label must exceed not to be "unknown".

        It is that of the registry row, or else the similarity at which SigLIP's sigmoid is one half, or else 0.2.
        """
        if self.spec.unknown_threshold is not None:
            return self.spec.unknown_threshold
        bias = getattr(self.module, "logit_bias", None)
        return CONTRASTIVE_THRESHOLD if bias is None else -float(bias) / self.logit_scale


def load_clip(files: ClipFiles, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> ClipModel:
    """Build the model of a configuration and load its weights strictly.

    ``dtype`` is that of the image tower; the text tower, which runs once for a vocabulary, uses float32. Raises
    `WeightsError` for the file of another model, and `ModelError` if a tokenizer or a text model is missing.
    """
    with WithoutRandomWeights():
        module = build_module(files)
    known_tokens = _load_weights(module, files)
    module.to(device).eval().requires_grad_(False)
    if isinstance(module, TinyClip):
        fold_norms(module.visual).to(memory_format=torch.channels_last)
    module.visual.to(dtype)
    preprocessing = merge_preprocess_dict(asdict(PreprocessCfg()), files.config.get("preprocess_cfg", {}))
    preprocessing["size"] = to_2tuple(module.visual.image_size)
    return ClipModel(
        spec=files.spec,
        digest=file_sha256(files.weights),
        module=module,
        preprocessing=PreprocessCfg(**preprocessing),
        tokenizer=_tokenizer(files),
        known_tokens=known_tokens,
        config=hashlib.sha256(json.dumps(files.config, sort_keys=True).encode()).hexdigest(),
    )


def build_module(files: ClipFiles) -> Any:
    """Build the untrained model of a configuration."""
    config = copy.deepcopy(files.config["model_cfg"])
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    custom = config.pop("custom_text", False) or "hf_model_name" in text
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    if "hf_model_name" in text:
        if not (files.folder / "config.json").is_file():
            raise ModelError(f"the text model of {files.spec.name} is not in {files.folder}; {remedy(files.spec)}")
        text |= {"hf_model_name": str(files.folder), "hf_model_pretrained": False}
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    kind = TinyClip if "drawing_trunk" in vision else kind
    try:
        return kind(**config)
    except Exception as error:  # open_clip and timm raise errors of many kinds on odd configurations
        raise WeightsError(f"open_clip cannot build {files.spec.name} from its configuration: {error}") from error


def _load_weights(module: nn.Module, files: ClipFiles) -> frozenset[int] | None:
    """Load the weights and return the tokens that they know; a token table may be stored as its trained rows only."""
    weights, source = expanded(read_weights(files.weights)), f"{files.weights} as {files.spec.name}"
    try:
        if ROWS in weights:
            rows, values = weights.pop(ROWS).long(), weights.pop(VALUES)
            weights[TABLE] = torch.zeros(module.state_dict()[TABLE].shape)
            weights[TABLE][rows] = values.float()
            load_strictly(module, weights, source)
            return frozenset(rows.tolist())
        open_clip.load_checkpoint(module, str(files.weights), strict=True, weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # open_clip's conversions raise errors of many kinds on foreign files
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{source}: the weights do not fit: {reason}") from error
    return None


def _tokenizer(files: ClipFiles) -> Callable[..., Tensor]:
    text = files.config["model_cfg"].get("text_cfg", {})
    length = text.get("context_length", 77)
    options = dict(text.get("tokenizer_kwargs") or {})
    if "hf_tokenizer_name" not in text:
        return open_clip.tokenizer.SimpleTokenizer(context_length=length, **options)
    missing = f"the tokenizer of {files.spec.name} is not in {files.folder}; {remedy(files.spec)}"
    if not (files.folder / "tokenizer_config.json").is_file():
        raise ModelError(missing)
    options |= {"context_length": length, "tokenizer_mode": text.get("tokenizer_mode")}
    try:
        return open_clip.tokenizer.HFTokenizer(str(files.folder), **options)
    except ImportError as error:
        raise ModelError(
            f"the tokenizer of {files.spec.name} needs transformers; run: pip install 'segzs[siglip]'"
        ) from error
    except OSError as error:
        raise ModelError(missing) from error
