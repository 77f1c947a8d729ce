"""Following segments through a stack of pictures with SAM 2's memory, from arrays and in bounded space.

The same computation as `SAM2VideoPredictor`'s. What is done otherwise: pictures come from memory one by one and are
encoded once for both directions and several calls, and only the memory that later pictures can look at is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from SSLSegmentationLib.inference.predictors import best_precision, in_precision
from SSLSegmentationLib.progress import Tick, silent
from SSLSegmentationLib.prompting.embeddings import Bounded
from SSLSegmentationLib.prompting.protocol import Answer
from SSLSegmentationLib.prompting.quick_attention import quick_attention

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base
    from torch import Tensor

_ENDLESS = 2**31  # pictures: the network asks how many there are only to tell very short stacks apart

Picture = Callable[[int], np.ndarray]
Known = Mapping[int, Mapping[str, np.ndarray]]


class Frames:
    """The feature maps of pictures, by their pixels; those used last are kept."""

    def __init__(self, encode: Callable[[np.ndarray, Tick], tuple[Tensor, ...]], most_bytes: int) -> None:
        self._encode = encode
        self._kept: Bounded[str, tuple[Tensor, ...]] = Bounded(most_bytes)
        self.encoded = 0

    @property
    def bytes(self) -> int:
        return self._kept.bytes

    def features(self, picture: np.ndarray, tick: Tick = silent) -> tuple[Tensor, ...]:
        pixels = np.ascontiguousarray(picture)
        key = hashlib.blake2b(pixels.data, digest_size=20).hexdigest() + str(pixels.shape)
        features = self._kept.get(key)
        if features is None:
            features = self._encode(pixels, tick)
            self.encoded += 1
            self._kept.put(key, features, sum(f.numel() * f.element_size() for f in features))
        return features

    def forget(self) -> None:
        self._kept.drop()


def spread(
    network: SAM2Base,
    frames: Frames,
    picture: Picture,
    order: Sequence[int],
    known: Known,
    tick: Tick,
    *,
    pictures: int | None,
    exact: bool,
) -> Iterator[tuple[int, dict[str, Answer]]]:
    """The answers for each picture of `order`, for every segment that is known somewhere."""
    if not order or not any(known.values()):
        return
    at = _times(order, known)
    step = _Step(network, frames, pictures or _ENDLESS, exact)
    tracks = [_Track(names, slices) for names, slices in _together(known, apart=exact)]
    for track in tracks:
        for number in track.slices:
            step.learn(track, at[number], picture(number), [known[number][name] for name in track.names], tick)
    for number in order:
        seen = picture(number)
        answers: dict[str, Answer] = {}
        for track in tracks:
            answers.update(zip(track.names, step.answer(track, at[number], seen, tick), strict=True))
        yield number, {name: answers[name] for name in sorted(answers)}


class _Track:
    """Segments that are known on the same slices: their memories have one shape, so one pass follows them all."""

    def __init__(self, names: list[str], slices: list[int]) -> None:
        self.names = names
        self.slices = slices
        self.memory: dict[str, dict[float, dict[str, Any]]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
        self.told: dict[float, Tensor] = {}
        """The masks that were given, as low-resolution logits, by time."""


class _Step:
    """One picture at a time. No mode of torch is left switched on between two of them."""

    def __init__(self, network: SAM2Base, frames: Frames, pictures: int, exact: bool) -> None:
        self._network = network
        self._frames = frames
        self._pictures = pictures
        self._precision = "f32" if exact else best_precision(str(network.device))
        # Memories reach back so many pictures, pointers to the object further.
        stride = network.memory_temporal_stride_for_eval
        self._window = max(network.max_obj_ptrs_in_encoder, (network.num_maskmem + 1) * stride)

    def learn(self, track: _Track, time: float, picture: np.ndarray, masks: list[np.ndarray], tick: Tick) -> None:
        """Remember masks that are known on a picture."""
        import torch

        features = self._frames.features(picture, tick)
        with torch.inference_mode(), self._half(), self._ticking(tick):
            given = torch.from_numpy(np.stack(masks).astype(np.float32))[:, None].to(self._network.device)
            side = self._network.image_size
            if given.shape[-2:] != (side, side):
                scaled = _resized(given, (side, side), antialias=True)
                given = (scaled >= 0.5).float()
            out = self._track(track, time, features, masks=given, first=True)
            # Those are remembered in the resolution of the answers, like what the network finds by itself.
            del out["pred_masks_high_res"]
            full = _resized(out["pred_masks"], (side, side))
            self._remember(out, features, full, told=True)
        track.told[time] = out.pop("pred_masks")
        track.memory["cond_frame_outputs"][time] = out

    def answer(self, track: _Track, time: float, picture: np.ndarray, tick: Tick) -> list[Answer]:
        """The segments of a track on a picture, which is remembered for the next ones."""
        import torch

        if time in track.told:
            with torch.inference_mode():
                logits = _resized(track.told[time], picture.shape)
            return [Answer(one[0], 1.0) for one in logits.cpu().numpy()]
        features = self._frames.features(picture, tick)
        with torch.inference_mode(), self._half(), self._ticking(tick):
            out = self._track(track, time, features, masks=None, first=False)
            self._remember(out, features, out.pop("pred_masks_high_res"), told=False)
            logits = _resized(out.pop("pred_masks").float(), picture.shape).cpu().numpy()
            # What the network takes for absent has no overlap with anything.
            there = (out["object_score_logits"][:, 0] > 0).float()
            scores = (out.pop("ious").amax(dim=1).float() * there).clamp(0, 1).tolist()
        found = track.memory["non_cond_frame_outputs"]
        found[time] = out
        for old in [other for other in found if other < time - self._window]:
            del found[old]
        return [Answer(one[0], score) for one, score in zip(logits, scores, strict=True)]

    def _track(
        self, track: _Track, time: float, features: tuple[Tensor, ...], *, masks: Tensor | None, first: bool
    ) -> dict[str, Any]:
        network, count = self._network, len(track.names)
        maps = [_as_tokens(feature, count) for feature in features]
        positions = _as_tokens(network.image_encoder.neck.position_encoding(features[-1]), count)
        out, heads, _, _ = network._track_step(
            frame_idx=time,
            is_init_cond_frame=first,
            current_vision_feats=maps,
            current_vision_pos_embeds=[positions],
            feat_sizes=[tuple(feature.shape[-2:]) for feature in features],
            point_inputs=None,
            mask_inputs=masks,
            output_dict=track.memory,
            num_frames=self._pictures,
            track_in_reverse=False,  # going back is going forward through a stack that was turned round
            prev_sam_mask_logits=None,
        )
        _, _, ious, low, high, pointer, score = heads
        out.update(ious=ious, pred_masks=low, pred_masks_high_res=high, obj_ptr=pointer, object_score_logits=score)
        del out["point_inputs"], out["mask_inputs"]
        return out

    def _remember(self, out: dict[str, Any], features: tuple[Tensor, ...], masks: Tensor, *, told: bool) -> None:
        import torch

        memory, positions = self._network._encode_new_memory(
            current_vision_feats=[_as_tokens(features[-1], len(masks))],
            feat_sizes=[tuple(features[-1].shape[-2:])],
            pred_masks_high_res=masks.float(),
            object_score_logits=out["object_score_logits"],
            is_mask_from_pts=told,
        )
        # Rounded as the video predictor rounds it. Kept in float32: without a pointer beside it, in the network's own
        # arithmetic nothing would bring it back to that.
        out["maskmem_features"] = memory.to(torch.bfloat16).float()
        out["maskmem_pos_enc"] = [position[:1].expand(len(masks), -1, -1, -1) for position in positions]

    @contextmanager
    def _ticking(self, tick: Tick) -> Iterator[None]:
        """The Tick is called before each larger part of a step, which may take seconds on a CPU."""
        network = self._network
        parts = (*network.memory_attention.layers, network.sam_mask_decoder, network.memory_encoder)
        hooks = [part.register_forward_pre_hook(lambda *_: tick("Following", 0.5)) for part in parts]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def _half(self) -> Iterator[None]:
        device = self._network.device.type
        with in_precision(device, self._precision), quick_attention(device, self._precision):
            yield


def _together(known: Known, *, apart: bool) -> list[tuple[list[str], list[int]]]:
    """Segments grouped by the slices that they are known on.

    Apart, each is a group of its own: sums over a batch end in other last bits, which the rounding of memories makes
    visible in the fourth digit.
    """
    slices: dict[str, list[int]] = {}
    for number in sorted(known):
        for name in known[number]:
            slices.setdefault(name, []).append(number)
    groups: dict[tuple[int | str, ...], list[str]] = {}
    for name in sorted(slices):
        groups.setdefault((*slices[name], name) if apart else tuple(slices[name]), []).append(name)
    return [(names, slices[names[0]]) for names in groups.values()]


def _times(order: Sequence[int], known: Known) -> dict[int, float]:
    """When each slice comes: 0, 1, 2 … along the order; known ones beside it in proportion to their distance.

    So skipped slices do not stretch the time that the network was trained for, and going down is like going up.
    """
    if len(set(order)) != len(order):
        raise ValueError("a slice stands twice in the order")
    numbers = np.array(order, dtype=float)
    steps = np.diff(numbers)
    if len(steps) and not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError("the order has to go up or down, not to and fro")
    # A single slice lies behind the nearest known one.
    nearest = min(known, key=lambda number: abs(number - order[0]))
    step = float(steps[0]) if len(steps) else float(np.sign(order[0] - nearest) or 1)
    last = float(steps[-1]) if len(steps) else step
    times: dict[int, float] = {number: time for time, number in enumerate(order)}
    for number in known:
        if number in times:
            continue
        before, behind = (number - order[0]) / step, (number - order[-1]) / last
        if before < 0:
            times[number] = _whole(before)
        elif behind > 0:
            times[number] = _whole(len(order) - 1 + behind)
        else:
            rising = numbers * np.sign(step)
            times[number] = float(np.interp(number * np.sign(step), rising, np.arange(len(order))))
    return times


def _whole(time: float) -> float:
    return int(time) if time == int(time) else time


def _as_tokens(feature: Tensor, count: int) -> Tensor:
    """(1, channels, rows, columns) as (rows · columns, count, channels)."""
    return feature.expand(count, -1, -1, -1).flatten(2).permute(2, 0, 1)


def _resized(masks: Tensor, size: tuple[int, int], *, antialias: bool = False) -> Tensor:
    import torch

    if tuple(masks.shape[-2:]) == tuple(size):
        return masks
    return torch.nn.functional.interpolate(masks, size, mode="bilinear", align_corners=False, antialias=antialias)
