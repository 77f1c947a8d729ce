"""Scans, sessions on them, and the segments that prompts correct.

Without `from __future__ import annotations`: FastAPI has to see the types of functions that are made inside a function,
since it may only be imported there.
"""

from types import SimpleNamespace
from typing import Annotated, Any

from SSLSegmentationLib.engine.answers import ANY_BYTES, scan_json, session_json
from SSLSegmentationLib.engine.keeper import Keeper, Refusal
from SSLSegmentationLib.engine.schemas import DIGEST, ID
from SSLSegmentationLib.engine.uploads import read_body, read_scan
from SSLSegmentationLib.engine.wire import FRAME, read_mask_frame
from SSLSegmentationLib.identity import digest

_FRAME_BODY = {"requestBody": {"required": True, "content": {FRAME: {"schema": ANY_BYTES}}}}


def session_routes(keeper: Keeper, s: SimpleNamespace) -> Any:
    from fastapi import APIRouter, Path, Query, Request
    from fastapi.concurrency import run_in_threadpool

    router = APIRouter()
    session_id = Annotated[str, Path(pattern=ID)]
    segment_name = Annotated[str, Path(min_length=1, max_length=200)]

    @router.post("/volumes", status_code=201, response_model=s.Scan, openapi_extra=_FRAME_BODY)
    async def send_volume(
        request: Request,
        name: Annotated[str, Query(max_length=200, description="Of a file; a frame has its own.")] = "scan",
    ) -> Any:
        """Send a scan, as a frame or as a NIfTI file (.nii or .nii.gz)."""
        with keeper.room(int(request.headers.get("content-length", 0))):
            content = await read_body(request)
            # What was compressed must have room once it is not; the compressed bytes make way for it.
            room = keeper.max_bytes - keeper.bytes_held + len(content)
            volume = await run_in_threadpool(read_scan, content, name, room)
            del content
            address = await run_in_threadpool(digest, volume)
        keeper.hold(address, volume)
        return scan_json(address, volume)

    @router.get("/volumes/{address}", response_model=s.Scan)
    async def find_volume(address: Annotated[str, Path(pattern=DIGEST)]) -> Any:
        """Whether a scan is here already, so that it need not be sent."""
        return scan_json(address, keeper.volume(address))

    @router.post("/sessions", status_code=201, response_model=s.Session)
    async def open_session(wanted: s.Open) -> Any:
        """Open a session on a scan that was sent."""
        return session_json(keeper.open(wanted.volume, wanted.keep_alive))

    @router.get("/sessions", response_model=list[s.Session])
    async def list_sessions() -> Any:
        return [session_json(opened) for opened in list(keeper.opened.values())]

    @router.get("/sessions/{session}", response_model=s.Session)
    async def see_session(session: session_id) -> Any:
        """Also a sign that its client is there."""
        return session_json(keeper.session(session))

    @router.delete("/sessions/{session}", status_code=204)
    async def close_session(session: session_id) -> None:
        """Cancel its jobs and free it."""
        keeper.close(session)

    @router.put("/sessions/{session}/segments/{segment}", status_code=204, openapi_extra=_FRAME_BODY)
    async def put_segment(session: session_id, segment: segment_name, request: Request) -> None:
        """Say how a segment looks now, as a frame of kind "mask"; prompts correct it."""
        opened = keeper.session(session)
        mask = read_mask_frame(await read_body(request), opened.session.volume.shape)
        with keeper.room(mask.bits.nbytes):
            opened.session.put(segment, mask)

    @router.delete("/sessions/{session}/segments/{segment}", status_code=204)
    async def forget_segment(session: session_id, segment: segment_name) -> None:
        if keeper.session(session).session.segments.pop(segment, None) is None:
            raise Refusal(404, "This segment is not known here: put it first.")

    return router
