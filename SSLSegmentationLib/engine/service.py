"""The service: sessions and jobs over HTTP. What each address does is in `routes`, and in words in docs/engine.md.

Without `from __future__ import annotations`: FastAPI has to see the types of functions that are made inside a function,
since it may only be imported there.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any

from SSLSegmentationLib import __version__
from SSLSegmentationLib.engine.guard import App, Guard
from SSLSegmentationLib.engine.keeper import Keeper, Refusal
from SSLSegmentationLib.engine.routes.about import about_routes
from SSLSegmentationLib.engine.routes.jobs import job_routes
from SSLSegmentationLib.engine.routes.models import model_routes
from SSLSegmentationLib.engine.routes.sessions import session_routes
from SSLSegmentationLib.engine.schemas import schemas
from SSLSegmentationLib.errors import InputError

LARGEST_REQUEST = 16 * 2**20
"""Bytes of anything but a scan."""

_SWEEP_SECONDS = 2.0
_PROBLEMS = {
    400: "Not a request of HTTP or JSON.",
    401: "The token is missing or wrong.",
    403: "The name or the origin is not allowed.",
    404: "It is not here.",
    409: "Not in this state.",
    413: "Too long.",
    422: "What was given cannot be used.",
    429: "Too many.",
    507: "No room.",
}


def make_app(
    keeper: Keeper,
    token: str,
    *,
    hosts: Collection[str] | None = None,
    largest_upload: int | None = None,
) -> App:
    """The whole service behind its guard. `hosts` are the names it answers to; None answers to any."""
    upload = keeper.max_bytes if largest_upload is None else largest_upload
    return Guard(_service(keeper), token, lambda path: upload if path == "/volumes" else LARGEST_REQUEST, hosts)


def _service(keeper: Keeper) -> Any:
    from fastapi import FastAPI
    from fastapi.concurrency import run_in_threadpool

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(keeper))
        yield
        sweeping.cancel()
        await run_in_threadpool(keeper.close_all)

    s = schemas()
    app = FastAPI(
        title="SSLSegmentation engine",
        version=__version__,
        description="Sessions on scans, and jobs that segment them. For research use, not a medical device.",
        lifespan=lifespan,
        docs_url=None,  # the pages would load scripts from elsewhere
        redoc_url=None,
        responses={status: {"model": s.Problem, "description": text} for status, text in _PROBLEMS.items()},
    )
    app.openapi = lambda: _described(FastAPI.openapi(app))
    _handle_errors(app)
    for routes in (session_routes, job_routes, model_routes, about_routes):
        app.include_router(routes(keeper, s))
    return app


def _handle_errors(app: Any) -> None:
    """Whatever is wrong, the answer is one sentence."""
    from fastapi import Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, Response
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        return JSONResponse({"detail": str(error)}, error.status)

    @app.exception_handler(InputError)
    async def unusable(request: Request, error: InputError) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        said = "The body is not JSON that can be read: correct it." if error.status_code == 400 else f"{error.detail}."
        return JSONResponse({"detail": said}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return JSONResponse({"detail": f"{place[:200]}: {first['msg']}."}, 422)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return JSONResponse({"detail": "The request ended before its body did: send it again."}, 400)


async def _sweep(keeper: Keeper) -> None:
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        keeper.sweep()


def _described(description: dict[str, Any]) -> dict[str, Any]:
    """The description with what the guard asks for."""
    description.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    description["security"] = [{"token": []}]
    return description
