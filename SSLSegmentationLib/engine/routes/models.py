"""Models: which there are, get one, delete one.

Without `from __future__ import annotations`: FastAPI has to see the types of functions that are made inside a function,
since it may only be imported there.
"""

from types import SimpleNamespace
from typing import Annotated, Any

from SSLSegmentationLib.engine.answers import job_json
from SSLSegmentationLib.engine.keeper import Keeper


def model_routes(keeper: Keeper, s: SimpleNamespace) -> Any:
    from fastapi import APIRouter, Body, Path
    from fastapi.concurrency import run_in_threadpool

    router = APIRouter()
    model_id = Annotated[str, Path(min_length=1, max_length=100)]

    @router.get("/models", response_model=list[s.Model])
    async def list_models() -> Any:
        """The installed models, and those that can be installed."""
        return await run_in_threadpool(keeper.models.listed)

    @router.post("/models/{model}/install", status_code=202, response_model=s.Job)
    async def install_model(model: model_id, wanted: Annotated[s.Install, Body()]) -> Any:
        """Download a model, as a job. Its licence must have been shown to the user, and accepted."""
        return job_json(await run_in_threadpool(keeper.install, model, wanted.licence))

    @router.delete("/models/{model}", status_code=204)
    async def remove_model(model: model_id) -> None:
        """Delete an installed model that no job uses."""
        await run_in_threadpool(keeper.remove, model)

    return router
