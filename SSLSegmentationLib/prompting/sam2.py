"""SAM 2 and MedSAM2 (`sam2`) behind the protocols: prompts on one picture, and spreading over many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting import sam2_network, sam2_spread
from SSLSegmentationLib.prompting.batches import Batch, as_logits, best_of
from SSLSegmentationLib.prompting.decoding import Decoding
from SSLSegmentationLib.prompting.encoders import Embedded, fast_encoder
from SSLSegmentationLib.prompting.protocol import Answer
from SSLSegmentationLib.prompting.sam import fill, key_of

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base
    from torch import Tensor

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MEDSAM2_SIZE = 512
_FRAME_BYTES = 2**28  # the slices around a correction; of a long stack not all of them


class Sam2(Decoding):
    """A SAM 2 network. Pictures are stretched to its square, as in its training.

    Exact means float32 all through; else half precision where the hardware has it. `frame_bytes` bounds what is kept of
    the pictures that were spread over, so that the way back, or a correction, does not encode them again.
    """

    def __init__(
        self,
        network: SAM2Base,
        key: str,
        device: str = "cpu",
        *,
        exact: bool = False,
        frame_bytes: int = _FRAME_BYTES,
    ) -> None:
        import torch

        super().__init__(device)
        self.key = key
        self._network = network.to(device).eval().requires_grad_(False)
        self._side = network.image_size
        features = _features_of(network)
        self._encoder = fast_encoder(
            features, self._side, device, list(network.image_encoder.trunk.blocks), exact=exact
        )
        self._frames = sam2_spread.Frames(self._encode_frame, frame_bytes)
        self._exact = exact
        with torch.inference_mode():
            self._positions = network.sam_prompt_encoder.get_dense_pe()

    def encode(self, picture: np.ndarray, tick: Tick = silent) -> Embedded:
        import torch

        greys = torch.from_numpy(picture.astype(np.float32))[None, None] / 255
        side = (self._side, self._side)
        scaled = torch.nn.functional.interpolate(greys, side, mode="bilinear", align_corners=False, antialias=True)
        return Embedded(self._encoder(_normalised(scaled[0]), tick), picture.shape)

    def spread(
        self,
        picture: Callable[[int], np.ndarray],
        order: Sequence[int],
        known: Mapping[int, Mapping[str, np.ndarray]],
        tick: Tick = silent,
        *,
        pictures: int | None = None,
    ) -> Iterator[tuple[int, dict[str, Answer]]]:
        """Answers for the pictures of `order`, as the Spreader protocol has it.

        `pictures` is how many there are in all. SAM 2 reckons time otherwise in stacks of fewer than 16; nobody who
        does not want exactly that needs to say it.
        """
        return sam2_spread.spread(
            self._network, self._frames, picture, order, known, tick, pictures=pictures, exact=self._exact
        )

    def forget(self) -> None:
        """Drop what is kept of the pictures that were spread over."""
        self._frames.forget()

    def _encode_frame(self, picture: np.ndarray, tick: Tick) -> tuple[Tensor, ...]:
        """Scaled as the video predictor scales its frames, which is not as the image predictor scales its image."""
        import torch
        from PIL import Image

        side = (self._side, self._side)
        scaled = np.asarray(Image.fromarray(picture).resize(side, Image.Resampling.BICUBIC)) / 255.0
        return self._encoder(_normalised(torch.from_numpy(scaled.astype(np.float32))[None]), tick)

    def _answers(self, embedding: Embedded, batch: Batch) -> tuple[Tensor, Tensor]:
        import torch

        rows, columns = embedding.shape
        features = [feature.to(self._device) for feature in embedding.features]
        sparse, dense = self._network.sam_prompt_encoder(
            points=self._points(batch, torch.tensor([columns, rows], device=self._device)),
            boxes=None,
            masks=None if batch.masks is None else self._mask_logits(batch.masks),
        )
        several = len(batch.places) > 1
        logits, scores, _, _ = self._network.sam_mask_decoder(
            image_embeddings=self._without_memory(features[-1]),
            image_pe=self._positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=batch.ambiguous,
            repeat_image=several,
            high_res_features=features[:-1],
        )
        logits, scores = best_of(logits, scores)
        full = torch.nn.functional.interpolate(logits.float(), (rows, columns), mode="bilinear", align_corners=False)
        return full[:, 0], scores

    def _points(self, batch: Batch, size: Tensor) -> tuple[Tensor, Tensor] | None:
        """Points in pixels of the square; a box counts as two, of kinds of their own, that come first."""
        import torch

        places, labels = [], []
        if batch.boxes is not None:
            places.append(batch.boxes)
            labels.append(torch.tensor([[2, 3]], dtype=torch.int32, device=self._device).expand(len(batch.boxes), 2))
        if batch.points is not None:
            places.append(batch.points)
            labels.append(batch.labels)
        if not places:
            return None
        return torch.cat(places, dim=1) / size * self._side, torch.cat(labels, dim=1)

    def _mask_logits(self, masks: Tensor) -> Tensor:
        return as_logits(masks, self._network.sam_prompt_encoder.mask_input_size)

    def _without_memory(self, feature: Tensor) -> Tensor:
        """The lowest features of a picture that stands alone, as the decoder knows them."""
        if not self._network.directly_add_no_mem_embed:
            return feature
        return feature + self._network.no_mem_embed.reshape(1, -1, 1, 1)


def load_sam2(
    path: Path,
    name: str,
    config: str = "",
    image_size: int | None = None,
    *,
    device: str = "cpu",
    exact: bool = False,
) -> Sam2:
    """SAM 2 with the weights of a file; what is not said of configuration and image size is found out."""
    from SSLSegmentationLib.models.weights import read_state

    state = read_state(path, path.name)
    found = sam2_network.recognise(state)
    if found is None or config not in ("", found):
        wanted = "SAM 2" if not config else f"SAM {' '.join(sam2_network.CONFIGS.get(config, (config,)))}"
        raise InputError(f"{path.name} does not hold the weights of {wanted}: get the file of {name} again.")
    if image_size is None and "medsam2" in f"{name} {path.name}".lower():
        image_size = _MEDSAM2_SIZE
    network = sam2_network.build(found, image_size)
    fill(network, state, path.name, name)
    return Sam2(network, key_of(path), device, exact=exact)


def _normalised(grey: Tensor) -> Tensor:
    """Greys from 0 to 1 (1, rows, columns) as a batch of one image with three channels."""
    import torch

    mean, deviation = (torch.tensor(values)[:, None, None] for values in (_MEAN, _DEVIATION))
    return ((grey - mean) / deviation)[None]


def _features_of(network: SAM2Base):
    """The image encoder with what the mask decoder does to its finer maps once for each picture."""
    import torch

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return tuple(self.network.forward_image(image)["backbone_fpn"][-self.network.num_feature_levels :])

    # The positions are remembered at the first call; that must not happen while the network is being converted.
    encoding = network.image_encoder.neck.position_encoding
    device = network.device
    for stride in (4, 8, 16, 32):
        side = network.image_size // stride
        encoding(torch.zeros((1, 1, side, side), device=device))
    return Features()
