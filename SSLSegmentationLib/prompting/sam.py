"""SAM and MedSAM (`segment-anything`) behind the protocol of promptable models."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.batches import Batch, as_logits, best_of
from SSLSegmentationLib.prompting.decoding import Decoding
from SSLSegmentationLib.prompting.encoders import Embedded, fast_encoder

if TYPE_CHECKING:
    from segment_anything.modeling import Sam as SamNetwork
    from torch import Tensor

WIDTHS = {"vit_b": 768, "vit_l": 1024, "vit_h": 1280}
"""Of the encoder's tokens, by which a checkpoint is recognised."""

_WIDTH = "image_encoder.patch_embed.proj.weight"


class Sam(Decoding):
    """A SAM network. Pictures are scaled to its side by their longer one and padded, as in its training."""

    def __init__(self, network: SamNetwork, key: str, device: str = "cpu", *, exact: bool = False) -> None:
        import torch

        super().__init__(device)
        self.key = key
        self._network = network.to(device).eval().requires_grad_(False)
        self._side = network.image_encoder.img_size
        features = _as_tuple(network.image_encoder)
        self._encoder = fast_encoder(features, self._side, device, list(network.image_encoder.blocks), exact=exact)
        with torch.inference_mode():
            self._positions = network.prompt_encoder.get_dense_pe()

    def encode(self, picture: np.ndarray, tick: Tick = silent) -> Embedded:
        return Embedded(self._encoder(self._image(picture), tick), picture.shape)

    def _answers(self, embedding: Embedded, batch: Batch) -> tuple[Tensor, Tensor]:
        scale = self._scale(embedding.shape).to(self._device)
        sparse, dense = self._network.prompt_encoder(
            points=None if batch.points is None else (batch.points * scale, batch.labels),
            boxes=None if batch.boxes is None else (batch.boxes * scale).flatten(1),
            masks=None if batch.masks is None else self._mask_logits(batch.masks),
        )
        logits, scores = self._network.mask_decoder(
            image_embeddings=embedding.features[0].to(self._device),
            image_pe=self._positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=self._asks_for_several(batch),
        )
        logits, scores = best_of(logits, scores)
        return self._restored(logits, embedding.shape)[:, 0], scores

    def _image(self, picture: np.ndarray) -> Tensor:
        """The picture as the encoder wants it, in three equal channels."""
        import torch
        from PIL import Image

        rows, columns = self._inner(picture.shape)
        scaled = np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.BILINEAR))
        mean, deviation = self._network.pixel_mean.cpu(), self._network.pixel_std.cpu()
        image = (torch.from_numpy(scaled.astype(np.float32)) - mean) / deviation
        return torch.nn.functional.pad(image, (0, self._side - columns, 0, self._side - rows))[None]

    def _mask_logits(self, masks: Tensor) -> Tensor:
        """Painted masks as the network's own low-resolution logits would show them, padding included."""
        import torch

        rows, columns = self._inner(masks.shape[-2:])
        scaled = torch.nn.functional.interpolate(masks, (rows, columns), mode="bilinear", antialias=True)
        padded = torch.nn.functional.pad(scaled, (0, self._side - columns, 0, self._side - rows))
        return as_logits(padded, self._network.prompt_encoder.mask_input_size)

    def _restored(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        return self._network.postprocess_masks(logits, self._inner(shape), shape)

    def _inner(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the picture inside the padded square."""
        scale = self._side / max(shape)
        return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)

    def _scale(self, shape: tuple[int, int]) -> Tensor:
        """From columns and rows of the picture to those of the square."""
        import torch

        rows, columns = self._inner(shape)
        return torch.tensor([columns / shape[1], rows / shape[0]])

    def _asks_for_several(self, batch: Batch) -> bool:
        return batch.ambiguous


class MedSam(Sam):
    """MedSAM: SAM's network, trained for boxes on pictures stretched to the square with greys from 0 to 1.

    What it does to its input is in MedSAM_Inference.py of github.com/bowang-lab/MedSAM.
    """

    def _image(self, picture: np.ndarray) -> Tensor:
        import torch
        from scipy.ndimage import gaussian_filter, zoom

        image = picture.astype(np.float64)
        factors = np.array(picture.shape) / self._side
        if (factors > 1).any():
            image = gaussian_filter(image, np.maximum(0, (factors - 1) / 2), mode="mirror")
        image = zoom(image, 1 / factors, order=3, mode="mirror", grid_mode=True)
        image = np.floor(np.clip(image, picture.min(), picture.max()))
        image = (image - image.min()) / max(float(np.ptp(image)), 1e-8)
        return torch.from_numpy(image.astype(np.float32)).expand(1, 3, -1, -1).contiguous()

    def _mask_logits(self, masks: Tensor) -> Tensor:
        return as_logits(masks, self._network.prompt_encoder.mask_input_size)

    def _restored(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        import torch

        inside = torch.nn.functional.interpolate(logits.sigmoid(), shape, mode="bilinear", align_corners=False)
        return torch.logit(inside, eps=1e-6)

    def _scale(self, shape: tuple[int, int]) -> Tensor:
        import torch

        return torch.tensor([self._side / shape[1], self._side / shape[0]])

    def _asks_for_several(self, batch: Batch) -> bool:
        return False


def load_sam(path: Path, name: str, config: str = "", *, device: str = "cpu", exact: bool = False) -> Sam:
    """SAM or MedSAM with the weights of a file; `config` is vit_b, vit_l or vit_h, and found out if not given."""
    from segment_anything import sam_model_registry

    from SSLSegmentationLib.models.weights import read_state

    state = read_state(path, path.name)
    found = next((c for c, width in WIDTHS.items() if _WIDTH in state and state[_WIDTH].shape[0] == width), None)
    if found is None or config not in ("", found):
        wanted = {"vit_b": "ViT-B", "vit_l": "ViT-L", "vit_h": "ViT-H"}.get(config, "any size")
        raise InputError(f"{path.name} does not hold the weights of SAM {wanted}: get the file of {name} again.")
    network = sam_model_registry[found]()
    fill(network, state, path.name, name)
    kind = MedSam if "medsam" in f"{name} {path.name}".lower() else Sam
    return kind(network, key_of(path), device, exact=exact)


def fill(network, state: dict[str, Tensor], file: str, name: str) -> None:
    """Weights into a network that they have to fit exactly."""
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        fact = next((line.strip() for line in str(error).splitlines()[1:]), "they are of another network")
        raise InputError(f"{file} does not fit {name} ({fact[:120]}): get the file of {name} again.") from error


def key_of(path: Path) -> str:
    """What tells the weights of one file from those of another, without reading gigabytes for it."""
    about = path.stat()
    with path.open("rb") as file:
        head = file.read(2**16)
        file.seek(max(0, about.st_size - 2**16))
        tail = file.read()
    digest = hashlib.blake2b(head + tail + str(about.st_size).encode(), digest_size=12)
    return f"{path.stem}-{digest.hexdigest()}"


def _as_tuple(network):
    """A network that gives one tensor, as one that gives a tuple of it."""
    import torch

    class AsTuple(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return (self.network(image),)

    return AsTuple()
