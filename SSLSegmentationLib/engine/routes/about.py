"""What the engine is, and how it does.

Without `from __future__ import annotations`: FastAPI has to see the types of functions that are made inside a function,
since it may only be imported there.
"""

from types import SimpleNamespace
from typing import Any

from SSLSegmentationLib import __version__
from SSLSegmentationLib.engine.keeper import Keeper
from SSLSegmentationLib.engine.metrics import CONTENT_TYPE, metrics


def about_routes(keeper: Keeper, s: SimpleNamespace) -> Any:
    from fastapi import APIRouter
    from fastapi.responses import Response

    router = APIRouter()

    @router.get("/health", response_model=s.Health)
    async def health() -> Any:
        return {"version": __version__, "sessions": len(keeper.opened), "waiting": keeper.worker.waiting}

    text = {200: {"description": "One number a line.", "content": {"text/plain": {"schema": {"type": "string"}}}}}

    @router.get("/metrics", response_class=Response, responses=text)
    async def prometheus() -> Response:
        """For Prometheus."""
        return Response(metrics(keeper), media_type=CONTENT_TYPE)

    return router
