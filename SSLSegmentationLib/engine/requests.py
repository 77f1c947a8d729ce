"""Requests: what a session can be asked to do, with plain values only, and how a request looks in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from SSLSegmentationLib.engine.wire import plane_json, prompt_json, read_plane_json, read_prompt_json
from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.prompts import Prompt


@dataclass(frozen=True)
class SegmentRequest:
    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of inference's Settings."""


@dataclass(frozen=True)
class PromptRequest:
    """The result is a Proposal."""

    prompts: tuple[Prompt, ...]
    segment: str = ""
    """The segment that the prompts correct; its voxels are known by `Session.put`."""
    model: str = ""
    """Id of a promptable model; without one a region is grown."""
    window: tuple[float, float] | None = None
    """Width and level through which the user looks."""
    locked: str = ""
    """A segment, put like any other, whose voxels must not change."""
    keep_others: bool = True
    """Whether the other segments keep their voxels."""


@dataclass(frozen=True)
class RefineRequest:
    """Parts of segments are refined slice by slice. Each slice comes as a partial result; the result are Proposals."""

    model: str
    segments: tuple[str, ...]
    axis: int | None = None
    """0, 1, 2 for slices along k, j, i; by default along the axis with the largest spacing."""
    plane: Plane | None = None
    """Slices parallel to this plane instead."""
    window: tuple[float, float] | None = None
    one_box: bool = False
    """One box around all parts of a segment on a slice."""
    locked: str = ""
    keep_others: bool = True


@dataclass(frozen=True)
class PropagateRequest:
    """Segments are followed from known slices. Each slice comes as a partial result; the result are Proposals."""

    segments: tuple[str, ...]
    slices: tuple[int, ...] = ()
    """Numbers of the known slices, counted along the axis or across the plane."""
    model: str = ""
    """Id of a model that takes prompts; without one grey values are followed."""
    axis: int | None = None
    plane: Plane | None = None
    """The known slice, as the view showed it; it counts as one of `slices`."""
    window: tuple[float, float] | None = None
    max_frames: int | None = None
    """How many slices are looked at in each direction."""
    direction: str = "both"
    """"up" or "down" for one way only: up is along the normal of `plane`, or else where the numbers of slices grow."""
    stride: int | None = None
    """Look at every second (third, …) slice and draw the others between."""
    redo: int | None = None
    """A slice that was corrected: only what lies beyond it is done again."""
    locked: str = ""
    keep_others: bool = True


Request = SegmentRequest | PromptRequest | RefineRequest | PropagateRequest

_KINDS: dict[str, type[Request]] = {
    "segment": SegmentRequest,
    "prompt": PromptRequest,
    "refine": RefineRequest,
    "propagate": PropagateRequest,
}


def operation_of(request: Request) -> str:
    return next(name for name, kind in _KINDS.items() if isinstance(request, kind))


def request_json(request: Request) -> dict[str, Any]:
    """A request as it is sent: its operation, and its fields by name."""
    said = {one.name: getattr(request, one.name) for one in fields(request)}
    if "prompts" in said:
        said["prompts"] = [prompt_json(prompt) for prompt in said["prompts"]]
    if "plane" in said:
        said["plane"] = plane_json(said["plane"])
    if "settings" in said:
        said["settings"] = dict(said["settings"])
    return {"operation": operation_of(request), **said}


def read_request(said: Mapping[str, Any]) -> Request:
    """A request from what `request_json` made; the service has checked the types of its parts."""
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
    kind = _KINDS[given.pop("operation")]
    if "prompts" in given:
        given["prompts"] = tuple(read_prompt_json(prompt) for prompt in given["prompts"])
    if "plane" in given:
        given["plane"] = read_plane_json(given["plane"])
    return kind(**given)
