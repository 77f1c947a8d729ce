"""The networks of SAM 2, built from the configurations of the `sam2` package and nothing else.

Hydra, which reads those, keeps a state for the whole process; it is left as it was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base
    from torch import Tensor

CONFIGS = {
    f"configs/sam{version}/sam{version}_hiera_{letter}.yaml": (version, letter)
    for version in ("2.1", "2")
    for letter in ("t", "s", "b+", "l")
}
"""The configurations that may be built, as the catalogue names them."""

_STRIDE = 16
"""Pixels of the image for each feature that memory is compared with."""

_TRUNKS = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}
"""Width and number of blocks of the encoder, by which weights are recognised."""


def build(config: str, image_size: int | None = None) -> SAM2Base:
    """A network with random weights; `image_size` is 1024 but for models that were trained for another."""
    with _hydra_as_it_was():
        from hydra.utils import instantiate

        return instantiate(settings_of(config, image_size), _recursive_=True).eval().requires_grad_(False)


def settings_of(config: str, image_size: int | None = None) -> Any:
    """What `sam2.build_sam` builds a network from, with the choices it makes for its predictors."""
    if config not in CONFIGS:
        raise ValueError(f"{config} is none of {', '.join(CONFIGS)}")
    with _hydra_as_it_was():
        import sam2
        from omegaconf import OmegaConf

    settings = OmegaConf.load(Path(sam2.__path__[0]) / config).model
    size = image_size or settings.image_size
    settings.image_size = size
    for attention in (settings.memory_attention.layer.self_attention, settings.memory_attention.layer.cross_attention):
        attention.feat_sizes = [size // _STRIDE] * 2
    for encoding in (settings.image_encoder.neck.position_encoding, settings.memory_encoder.position_encoding):
        encoding.warmup_cache = False  # it would take a graphics card that somebody else may be using
    settings.binarize_mask_from_pts_for_mem_enc = True
    settings.sam_mask_decoder_extra_args = {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    return settings


def recognise(state: dict[str, Tensor]) -> str | None:
    """The configuration that weights belong to."""
    width = state.get("image_encoder.trunk.patch_embed.proj.weight")
    prefix = "image_encoder.trunk.blocks."
    blocks = {name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)}
    letter = None if width is None else _TRUNKS.get((width.shape[0], len(blocks)))
    version = "2.1" if "no_obj_embed_spatial" in state else "2"
    return next((config for config, known in CONFIGS.items() if known == (version, letter)), None)


@contextmanager
def _hydra_as_it_was() -> Iterator[None]:
    """Importing `sam2` claims hydra for itself, after which no other program in the process could use it."""
    from hydra.core.global_hydra import GlobalHydra

    claimed = GlobalHydra.instance().is_initialized()
    try:
        yield
    finally:
        if not claimed:
            GlobalHydra.instance().clear()
