"""Scans from programs on the same machine, through a file that the engine names.

Without `from __future__ import annotations`: FastAPI has to see the types of functions that are made inside a function,
since it may only be imported there.
"""

from types import SimpleNamespace
from typing import Annotated, Any

from SSLSegmentationLib.engine.answers import scan_json
from SSLSegmentationLib.engine.handover import Handovers
from SSLSegmentationLib.engine.keeper import Keeper, Refusal
from SSLSegmentationLib.engine.schemas import ID
from SSLSegmentationLib.engine.serve import is_loopback
from SSLSegmentationLib.engine.wire import digest, read_volume_frame
from SSLSegmentationLib.volume import Volume


def handover_routes(keeper: Keeper, handovers: Handovers, s: SimpleNamespace) -> Any:
    from fastapi import APIRouter, Body, Path, Request
    from fastapi.concurrency import run_in_threadpool

    router = APIRouter()

    @router.post("/handovers", status_code=201, response_model=s.Handover)
    async def offer_file(request: Request) -> Any:
        """For programs on the engine's machine: a file to write a frame into, over the nonce that is in it."""
        if request.client is None or not is_loopback(request.client.host):
            raise Refusal(403, "Files can be handed over on the engine's own machine only: send the scan instead.")
        offer = await run_in_threadpool(handovers.offer)
        return {"id": offer.id, "path": str(offer.path)}

    @router.post("/handovers/{handover}", status_code=201, response_model=s.Scan)
    async def take_file(handover: Annotated[str, Path(pattern=ID)], written: Annotated[s.Written, Body()]) -> Any:
        """Take the scan that was written, if the nonce is the one that was in the file; the file is removed."""
        address, volume = await run_in_threadpool(_taken, handover, bytes.fromhex(written.nonce))
        keeper.hold(address, volume)
        return scan_json(address, volume)

    def _taken(handover: str, nonce: bytes) -> tuple[str, Volume]:
        room = keeper.max_bytes - keeper.bytes_held
        content = handovers.take(handover, nonce, room)
        with keeper.room(len(content)):
            volume = read_volume_frame(content, room)
            return digest(volume), volume

    return router
