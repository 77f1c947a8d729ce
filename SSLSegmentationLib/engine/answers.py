"""Answers: sessions, jobs and models as JSON, results as frames or files."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from SSLSegmentationLib.engine.frames import Buffer, in_pieces
from SSLSegmentationLib.engine.jobs import Job
from SSLSegmentationLib.engine.keeper import Opened
from SSLSegmentationLib.engine.results import Labelling, Proposals, Result
from SSLSegmentationLib.engine.uploads import disk_may_be_full
from SSLSegmentationLib.engine.wire import FRAME
from SSLSegmentationLib.io.segmentation import write_segmentation
from SSLSegmentationLib.io.write import write_volume
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume

ANY_BYTES = {"type": "string", "format": "binary"}
"""How OpenAPI describes a frame."""

_AT_ONCE = 2**18


def scan_json(address: str, volume: Volume) -> dict[str, Any]:
    return {
        "digest": address,
        "name": volume.name,
        "modality": volume.modality,
        "size": volume.shape[::-1],
        "spacing": tuple(float(step) for step in volume.spacing),
        "orientation": volume.orientation,
    }


def session_json(opened: Opened) -> dict[str, Any]:
    return {
        "id": opened.id,
        "volume": scan_json(opened.digest, opened.session.volume),
        "segments": list(opened.session.segments),
        "jobs": list(opened.jobs),
        "keep_alive": opened.keep_alive,
    }


def job_json(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "session": job.session,
        "operation": job.operation,
        "state": job.state,
        "stage": job.stage,
        "part": job.part,
        "partial_results": job.parts_so_far,
        "error": job.error,
        "blame": job.blame,
        "seconds": job.seconds,
    }


def frame_response(buffers: list[Buffer], headers: dict[str, str] | None = None) -> Any:
    """Small answers in one piece, large ones as a stream, so that others are answered in between."""
    from fastapi.responses import Response, StreamingResponse

    size = sum(memoryview(buffer).nbytes for buffer in buffers)
    if size <= _AT_ONCE:
        return Response(b"".join(buffers), media_type=FRAME, headers=headers)

    async def pieces() -> AsyncIterator[memoryview]:
        for piece in in_pieces(buffers):
            yield piece

    return StreamingResponse(pieces(), media_type=FRAME, headers={"content-length": str(size), **(headers or {})})


def as_file(result: Result, volume: Volume, form: str) -> bytes:
    """The labels, or the proposed masks, as .seg.nrrd or .nii.gz on the grid of the scan; later segments lie on top."""
    if isinstance(result, Labelling):
        labels, names = result.labels, result.names
    else:
        several = list(result.segments.values()) if isinstance(result, Proposals) else [result]
        voxels = np.zeros(volume.shape, np.min_scalar_type(len(several)))
        for value, proposal in enumerate(several, start=1):
            voxels[proposal.box][proposal.mask] = value
        names = tuple(Label(value, one.segment or "segment") for value, one in enumerate(several, start=1))
        labels = volume.with_voxels(voxels)
    with disk_may_be_full(), tempfile.TemporaryDirectory(prefix="sslseg-") as folder:
        path = Path(folder) / ("labels.nii.gz" if form == "nifti" else "labels.seg.nrrd")
        if form == "nifti":
            write_volume(labels, path)
        else:
            write_segmentation(path, labels, names)
        return path.read_bytes()
