"""The wire: how volumes, prompts, masks and results look between an engine and its clients.

Every transport shares this module, httpx here and Qt in Slicer, so it needs no more than numpy. Large things are frames
(see `frames`), small ones JSON. Masks and label maps are cut to the box around what is in them.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from SSLSegmentationLib.engine.frames import Buffer, FrameError, pack, packing, unpack
from SSLSegmentationLib.engine.results import Labelling, Proposals, Result
from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.plane import Box, Plane
from SSLSegmentationLib.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from SSLSegmentationLib.proposal import Cropped, End, PartReport, Proposal, box_of
from SSLSegmentationLib.steps import Steps, finish
from SSLSegmentationLib.volume import Volume

FRAME = "application/octet-stream"
"""The content type of frames."""

_SCANS = frozenset("iuf")
_LARGEST_PAINTED = 2**26  # voxels of a painted mask: 64 million, in eight megabytes of bits
_LONGEST_NAME = 200
_PIECE = 2**19  # voxels of a labelling that are put in their place in one go
_MOST_WHOLE = 64  # proposals as large as their scan that are read from one frame; most are much smaller
_LONGEST_REPORT = 2**26  # bytes


# Volumes


def volume_frame(volume: Volume, compress: bool) -> list[Buffer]:
    return pack("volume", _volume_fields(volume), {"voxels": volume.voxels}, compress)


def volume_frame_in_pieces(volume: Volume, compress: bool) -> Steps[list[Buffer]]:
    """The same for a window that must not stand still."""
    return packing("volume", _volume_fields(volume), {"voxels": volume.voxels}, compress)


def _volume_fields(volume: Volume) -> dict[str, Any]:
    return {
        "name": volume.name[:_LONGEST_NAME],
        "modality": volume.modality[:16],
        "ijk_to_ras": volume.ijk_to_ras.tolist(),
    }


def read_volume_frame(data: Buffer, limit: int) -> Volume:
    fields, arrays = unpack(data, "volume", limit)
    voxels = _array(arrays, "voxels", 3)
    name = _text(fields, "name", _LONGEST_NAME) or "scan"
    if voxels.dtype.kind not in _SCANS:
        raise InputError(f"{name} has voxels of type {voxels.dtype}, but a scan has numbers: convert it.")
    volume = Volume(voxels, _matrix(fields.get("ijk_to_ras")), name, _text(fields, "modality", 16))
    if voxels.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in voxels):
        raise InputError(f"{name} has voxels that are not finite numbers: replace them before sending it.")
    return volume


# Masks and results


def mask_frame(mask: Cropped) -> list[Buffer]:
    return pack("mask", {"box": _starts(mask.box)}, {"bits": mask.bits}, compress=True)


def read_mask_frame(data: Buffer, shape: tuple[int, ...]) -> Cropped:
    """A mask that must lie on a grid of this shape."""
    fields, arrays = unpack(data, "mask", int(np.prod(shape)))
    bits = _array(arrays, "bits", 3, bool)
    return Cropped(_box(fields, bits, shape), bits)


def result_frame(result: Result, compress: bool) -> list[Buffer]:
    if isinstance(result, Labelling):
        return labelling_frame(result, compress)
    return proposals_frame(result, compress) if isinstance(result, Proposals) else proposal_frame(result, compress)


def read_result_frame(data: Buffer, volume: Volume) -> Result:
    """A result for this volume, whatever the operation."""
    start = bytes(memoryview(data)[:64])
    if b'"kind":"labelling"' in start:
        return read_labelling_frame(data, volume)
    return (read_proposals_frame if b'"kind":"proposals"' in start else read_proposal_frame)(data, volume.shape)


def proposal_frame(proposal: Proposal, compress: bool) -> list[Buffer]:
    fields, arrays = _proposal_parts(proposal)
    return pack("proposal", fields, arrays, compress)


def read_proposal_frame(data: Buffer, shape: tuple[int, ...]) -> Proposal:
    fields, arrays = unpack(data, "proposal", 4 * int(np.prod(shape)))
    return _read_proposal_parts(fields, arrays, shape)


def proposals_frame(proposals: Proposals, compress: bool) -> list[Buffer]:
    """Several proposals, and what is told of them as JSON in an array of its own, since it may be long."""
    told = {"parts": [asdict(part) for part in proposals.parts], "ends": [asdict(end) for end in proposals.ends]}
    arrays = {"report": np.frombuffer(json.dumps(told, allow_nan=False).encode(), np.uint8)}
    several = []
    for number, proposal in enumerate(proposals.segments.values()):
        fields, its = _proposal_parts(proposal)
        several.append(fields)
        arrays |= {f"{number} {name}": array for name, array in its.items()}
    return pack("proposals", {"proposals": several}, arrays, compress)


def read_proposals_frame(data: Buffer, shape: tuple[int, ...]) -> Proposals:
    fields, arrays = unpack(data, "proposals", _MOST_WHOLE * 4 * int(np.prod(shape)) + _LONGEST_REPORT)
    segments = {}
    try:
        for number, one in enumerate(fields["proposals"]):
            start = f"{number} "
            its = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
            proposal = _read_proposal_parts(one, its, shape)
            segments[proposal.segment] = proposal
        told = json.loads(bytes(_array(arrays, "report", 1, np.uint8)))
        parts, ends = (PartReport(**part) for part in told["parts"]), (End(**end) for end in told["ends"])
        return Proposals(segments, tuple(parts), tuple(ends))
    except FrameError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise FrameError("The data arrived damaged (a report that cannot be read): send them again.") from error


def _proposal_parts(proposal: Proposal) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays = {"mask": proposal.mask, "changed": proposal.mask ^ proposal.before}
    if proposal.uncertainty is not None:
        arrays["uncertainty"] = _short(proposal.uncertainty)
    return {"box": _starts(proposal.box), "score": proposal.score, "segment": proposal.segment}, arrays


def _read_proposal_parts(
    fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> Proposal:
    mask, changed = _array(arrays, "mask", 3, bool), _array(arrays, "changed", 3, bool)
    uncertainty = _array(arrays, "uncertainty", 3, np.float16) if "uncertainty" in arrays else None
    if changed.shape != mask.shape or (uncertainty is not None and uncertainty.shape != mask.shape):
        raise FrameError("The data arrived damaged (parts of different size): send them again.")
    return Proposal(
        box=_box(fields, mask, shape),
        mask=mask,
        before=mask ^ changed,
        score=_number(fields, "score"),
        uncertainty=None if uncertainty is None else uncertainty.astype(np.float32),
        segment=_text(fields, "segment", _LONGEST_NAME),
    )


def labelling_frame(labelling: Labelling, compress: bool) -> list[Buffer]:
    """Label values and doubt, each cut to the box in which it is not zero."""
    fields: dict[str, Any] = {
        "names": [asdict(label) for label in labelling.names],
        "model": labelling.model,
        "version": labelling.version,
        "weights_sha256": labelling.weights_sha256,
        "device": labelling.device,
        "ladder": list(labelling.ladder),
        "seconds": labelling.seconds,
    }
    arrays = {}
    for name in ("labels", "uncertainty", "disagreement"):
        volume: Volume | None = getattr(labelling, name)
        if volume is not None:
            box = box_of(volume.voxels != 0)
            fields[f"{name}_box"] = _starts(box)
            arrays[name] = volume.voxels[box] if name == "labels" else _short(volume.voxels[box])
    return pack("labelling", fields, arrays, compress)


def read_labelling_frame(data: Buffer, volume: Volume) -> Labelling:
    return finish(labelling_in_pieces(data, volume))


def labelling_in_pieces(data: Buffer, volume: Volume) -> Steps[Labelling]:
    """The same slab by slab, for a window that must not stand still."""
    fields, arrays = unpack(data, "labelling", 8 * volume.voxels.size)
    yield
    volumes: dict[str, Volume | None] = {}
    for name, kind in (("labels", None), ("uncertainty", np.float16), ("disagreement", np.float16)):
        if name not in arrays and name != "labels":
            volumes[name] = None
            continue
        part = _array(arrays, name, 3, kind)
        box = _box({"box": fields.get(f"{name}_box")}, part, volume.shape)
        whole = np.zeros(volume.shape, part.dtype if kind is None else np.float32)
        inside = whole[box]
        thick = max(1, _PIECE // max(1, part[:1].size))
        for first in range(0, len(part), thick):
            inside[first : first + thick] = part[first : first + thick]
            yield
        volumes[name] = volume.with_voxels(whole, name=f"{volume.name} {'segmentation' if kind is None else name}")
    try:
        names = tuple(Label(**{**one, "color": tuple(one["color"])}) for one in fields["names"])
        seconds = {str(key): float(value) for key, value in fields["seconds"].items()}
        ladder = tuple(str(step) for step in fields["ladder"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise FrameError("The data arrived damaged (labels that cannot be read): send them again.") from error
    about = {key: _text(fields, key, _LONGEST_NAME) for key in ("model", "version", "weights_sha256", "device")}
    return Labelling(**volumes, names=names, ladder=ladder, seconds=seconds, **about)


# Prompts, in JSON


def prompt_json(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, PointPrompt):
        return {"kind": "point", "ras": prompt.ras, "positive": prompt.positive, "plane": plane_json(prompt.plane)}
    if isinstance(prompt, BoxPrompt):
        return {"kind": "box", "corner": prompt.corner, "edges": prompt.edges, "plane": plane_json(prompt.plane)}
    bits = base64.b64encode(zlib.compress(np.packbits(prompt.pixels), 1)).decode()
    return {
        "kind": "mask",
        "shape": prompt.pixels.shape,
        "bits": bits,
        "to_ras": prompt.to_ras.tolist(),
        "positive": prompt.positive,
    }


def read_prompt_json(said: Mapping[str, Any]) -> Prompt:
    """A prompt from what `prompt_json` made; the service has checked the types of its parts."""
    if said["kind"] == "point":
        return PointPrompt(said["ras"], said["positive"], read_plane_json(said["plane"]))
    if said["kind"] == "box":
        return BoxPrompt(said["corner"], tuple(said["edges"]), read_plane_json(said["plane"]))
    shape = tuple(said["shape"])
    count = int(np.prod(shape, dtype=object))
    if count > _LARGEST_PAINTED:
        raise InputError(f"The painted mask has {count} voxels, but at most {_LARGEST_PAINTED} are allowed: crop it.")
    try:
        stream = zlib.decompressobj()
        bits = stream.decompress(base64.b64decode(said["bits"], validate=True), -(-count // 8) + 1)
    except (zlib.error, binascii.Error, ValueError) as error:
        raise InputError("The bits of the painted mask cannot be read: send zlib data in base64.") from error
    if len(bits) != -(-count // 8) or not stream.eof:
        raise InputError("The bits of the painted mask do not fit its shape: send one bit for each pixel.")
    pixels = np.unpackbits(np.frombuffer(bits, np.uint8), count=count).view(bool).reshape(shape)
    return MaskPrompt(pixels, _matrix(said["to_ras"]), said["positive"])


def plane_json(plane: Plane | None) -> dict[str, Any] | None:
    return None if plane is None else {"pixel_to_ras": plane.pixel_to_ras.tolist(), "shape": plane.shape}


def read_plane_json(said: Mapping[str, Any] | None) -> Plane | None:
    return None if said is None else Plane(_matrix(said["pixel_to_ras"]), tuple(said["shape"]))


# Server-sent events


def events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Names and data of the events in a stream of lines; comments, which keep the connection alive, are passed over."""
    name, data = "", []
    for line in lines:
        field, _, value = line.partition(":")
        if not line:
            if name or data:
                yield name, "\n".join(data)
            name, data = "", []
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))


def _short(uncertainty: np.ndarray) -> np.ndarray:
    """Doubt between 0 and 1 to three digits, in half the bytes."""
    return uncertainty.astype(np.float16)


def _starts(box: Box) -> list[int]:
    return [int(side.start) for side in box]


def _box(fields: Mapping[str, Any], array: np.ndarray, shape: Sequence[int]) -> Box:
    starts = fields.get("box")
    if not (isinstance(starts, list) and len(starts) == 3 and all(type(start) is int for start in starts)):
        raise FrameError("The data arrived damaged (no place): send them again.")
    ends = [start + n for start, n in zip(starts, array.shape, strict=True)]
    if min(starts) < 0 or any(end > n for end, n in zip(ends, shape, strict=True)):
        raise FrameError("The data reach over the edge of the scan: send those that belong to this scan.")
    return tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))


def _array(arrays: Mapping[str, np.ndarray], name: str, dimensions: int, dtype: Any = None) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.ndim != dimensions or (dtype is not None and array.dtype != dtype):
        raise FrameError(f'The data arrived damaged ("{name}" is missing or of another kind): send them again.')
    return array


def _text(fields: Mapping[str, Any], name: str, longest: int) -> str:
    text = fields.get(name, "")
    if not isinstance(text, str) or len(text) > longest:
        raise FrameError(f'The data arrived damaged ("{name}" is no short text): send them again.')
    return text


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FrameError(f'The data arrived damaged ("{name}" is no number): send them again.')
    return float(value)


def _matrix(rows: Any) -> np.ndarray:
    try:
        return np.array(rows, dtype=np.float64).reshape(4, 4)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("A matrix has four rows of four numbers: send it so.") from error
