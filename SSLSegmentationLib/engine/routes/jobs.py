"""Jobs: start, watch, cancel, fetch what they gave.

Without `from __future__ import annotations`: FastAPI has to see the types of functions that are made inside a function,
since it may only be imported there.
"""

from types import SimpleNamespace
from typing import Annotated, Any, Literal

from SSLSegmentationLib.engine.answers import ANY_BYTES, as_file, frame_response, job_json
from SSLSegmentationLib.engine.jobs import Job
from SSLSegmentationLib.engine.keeper import Keeper, Refusal
from SSLSegmentationLib.engine.requests import read_request
from SSLSegmentationLib.engine.results import Labelling, Result
from SSLSegmentationLib.engine.schemas import ID
from SSLSegmentationLib.engine.watching import events, until_ended
from SSLSegmentationLib.engine.wire import FRAME, result_frame

_LONGEST_WAIT = 60.0


def job_routes(keeper: Keeper, s: SimpleNamespace) -> Any:
    from fastapi import APIRouter, Body, Path, Query
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import Response, StreamingResponse

    router = APIRouter()
    session_id = Annotated[str, Path(pattern=ID)]
    job_id = Annotated[str, Path(pattern=ID)]
    compressed = Annotated[bool, Query(description="Better over slow networks, slower on one machine.")]
    seconds = Annotated[float, Query(ge=0, le=_LONGEST_WAIT, description="How long to wait for the result.")]
    form_of_result = Annotated[
        Literal["frame", "segmentation", "nifti"],
        Query(description="A frame, or the labels as a file: .seg.nrrd for Slicer, or .nii.gz."),
    ]
    frame = {200: {"description": "The result.", "content": {FRAME: {"schema": ANY_BYTES}}}}
    event = {
        "type": "object",
        "properties": {
            "event": {"enum": ["progress", "partial", "done", "failed", "cancelled"]},
            "data": {"type": "string", "description": "JSON: a job, or the number of a partial result."},
        },
        "required": ["event", "data"],
    }
    stream = {200: {"description": "Events.", "content": {"text/event-stream": {"schema": event}}}}

    @router.post("/sessions/{session}/jobs", status_code=202, response_model=s.Job, responses=frame)
    async def start_job(
        session: session_id,
        wanted: Annotated[s.Request, Body()],
        wait: seconds = 0.0,
        packed: compressed = False,
    ) -> Any:
        """Start a job. If it is done within `wait` the answer is its result, else the job."""
        opened = keeper.session(session)
        job = keeper.start(session, wanted.operation, read_request(wanted.model_dump()))
        if wait > 0:
            with keeper.attached(opened):
                await until_ended(job, wait)
            if job.state == "done" and job.result is not None:
                buffers = await run_in_threadpool(result_frame, job.result, packed)
                return frame_response(buffers, {"x-job": job.id})
        return job_json(job)

    @router.get("/jobs/{job}", response_model=s.Job)
    async def see_job(job: job_id) -> Any:
        return job_json(keeper.job(job)[1])

    @router.post("/jobs/{job}/cancel", response_model=s.Job)
    async def cancel_job(job: job_id) -> Any:
        """End it at once; a job that has ended stays as it is."""
        return job_json(keeper.cancel(job))

    @router.get("/jobs/{job}/events", response_class=StreamingResponse, responses=stream)
    async def watch_job(job: job_id) -> Response:
        """Server-sent events: "progress" and "partial" while it runs, then "done", "failed" or "cancelled"."""
        opened, found = keeper.job(job)
        return StreamingResponse(
            events(keeper, opened, found), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    @router.get("/jobs/{job}/result", response_class=StreamingResponse, responses=frame)
    async def fetch_result(job: job_id, packed: compressed = False, form: form_of_result = "frame") -> Response:
        opened, found = keeper.job(job)
        result = _result_of(found)
        with keeper.attached(opened):
            if form == "frame":
                return frame_response(await run_in_threadpool(result_frame, result, packed))
            return frame_response([await run_in_threadpool(as_file, result, opened.session.volume, form)])

    @router.get("/jobs/{job}/partial/{number}", response_class=StreamingResponse, responses=frame)
    async def fetch_partial(job: job_id, number: Annotated[int, Path(ge=0)], packed: compressed = False) -> Response:
        """A partial result, while the job runs."""
        part = keeper.job(job)[1].parts.get(number)
        if part is None:
            raise Refusal(404, "This partial result is not here, or no longer: fetch the whole result.")
        return frame_response(await run_in_threadpool(result_frame, part, packed))

    @router.post("/jobs/{job}/accept", status_code=204)
    async def accept_result(job: job_id) -> None:
        """Make a proposal a part of its segment, or several of theirs, without sending them back."""
        opened, found = keeper.job(job)
        result = _result_of(found)
        if isinstance(result, Labelling):
            raise Refusal(409, "This result labels the whole scan: put the segments one by one.")
        await run_in_threadpool(opened.session.accept, result)

    return router


def _result_of(job: Job) -> Result:
    if job.state == "done" and job.result is not None:
        return job.result
    if job.state == "done":
        raise Refusal(409, "Installing a model gives no result: look at /models.")
    if job.state == "failed":
        raise Refusal(422 if job.blame == "input" else 409, job.error)
    if job.state == "cancelled":
        raise Refusal(409, "The job was cancelled: start it again.")
    raise Refusal(409, "The job is not done yet: wait for it.")
