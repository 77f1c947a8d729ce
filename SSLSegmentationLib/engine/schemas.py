"""The JSON of the service: what may be asked, and how it answers.

Without `from __future__ import annotations`: pydantic has to see the types of classes that are made inside a function,
since it may only be imported there.
"""

from types import SimpleNamespace
from typing import Annotated, Any, Literal

DIGEST = "^[0-9a-f]{64}$"
ID = "^[0-9a-f]{16}$"

_FAR = 1e6  # millimetres; nobody is a kilometre tall


def schemas() -> SimpleNamespace:
    from pydantic import BaseModel, ConfigDict, Field

    number = Annotated[float, Field(ge=-_FAR, le=_FAR, allow_inf_nan=False)]
    # Lists of a fixed length, not tuples: tools for OpenAPI differ in what they make of "prefixItems".
    place = Annotated[
        list[number], Field(min_length=3, max_length=3, description="Right, anterior, superior in millimetres.")
    ]
    row = Annotated[list[number], Field(min_length=4, max_length=4)]
    matrix = Annotated[
        list[row], Field(min_length=4, max_length=4, description="4×4, from pixels or voxels to RAS, row by row.")
    ]
    side = Annotated[int, Field(ge=1, le=65536)]
    name = Annotated[str, Field(max_length=200)]

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=False)

    class Plane(Strict):
        pixel_to_ras: matrix
        shape: Annotated[list[side], Field(min_length=2, max_length=2, description="Rows and columns.")]

    class Point(Strict):
        kind: Literal["point"]
        ras: place
        positive: bool = True
        plane: Plane | None = None

    class Box(Strict):
        kind: Literal["box"]
        corner: place
        edges: Annotated[list[place], Field(min_length=2, max_length=3, description="Vectors from the corner.")]
        plane: Plane | None = None

    class Mask(Strict):
        kind: Literal["mask"]
        shape: Annotated[list[side], Field(min_length=2, max_length=3, description="Rows and columns, or k, j, i.")]
        bits: Annotated[str, Field(description="Packed bits, the first pixel highest; zlib, then base64.")]
        to_ras: matrix
        positive: bool = True

    prompt = Annotated[Point | Box | Mask, Field(discriminator="kind")]

    class Segment(Strict):
        operation: Literal["segment"]
        model: Annotated[name, Field(description="The id of an installed model.")]
        settings: Annotated[
            dict[str, str | bool | int | float | None],
            Field(default_factory=dict, max_length=20, description="Device, precision, doubt and the like."),
        ]

    class Prompts(Strict):
        operation: Literal["prompt"]
        prompts: Annotated[list[prompt], Field(min_length=1, max_length=1000)]
        segment: Annotated[name, Field(default="", description="The segment to correct.")]

    class Other(Strict):
        operation: Literal["refine", "propagate"]
        request: Annotated[dict[str, Any], Field(default_factory=dict)]

    class Scan(BaseModel):
        digest: Annotated[str, Field(pattern=DIGEST, description="Its address by content.")]
        name: str
        modality: str
        size: Annotated[list[int], Field(min_length=3, max_length=3, description="Voxels along i, j, k.")]
        spacing: Annotated[list[float], Field(min_length=3, max_length=3, description="Millimetres along i, j, k.")]
        orientation: str

    class Open(Strict):
        volume: Annotated[str, Field(pattern=DIGEST, description="The digest of a scan that was sent.")]
        keep_alive: Annotated[
            float | None,
            Field(ge=1, le=86400, description="Free the session after so many seconds without a sign of its client."),
        ] = None

    class Session(BaseModel):
        id: Annotated[str, Field(pattern=ID)]
        volume: Scan
        segments: list[str]
        jobs: list[str]
        keep_alive: float | None

    class Job(BaseModel):
        id: Annotated[str, Field(pattern=ID)]
        session: str
        operation: str
        state: Literal["queued", "running", "done", "failed", "cancelled"]
        stage: str
        part: Annotated[float, Field(ge=0, le=1, description="Part of the stage that is done.")]
        partial_results: Annotated[int, Field(description="How many have come so far.")]
        error: Annotated[str, Field(description="One sentence if it failed.")]
        blame: Annotated[Literal["", "input", "engine"], Field(description="Who can mend it.")]
        seconds: float

    class Label(BaseModel):
        value: int
        name: str
        color: Annotated[list[float], Field(min_length=3, max_length=3, description="Red, green, blue, 0 to 1.")]
        terminology: str

    class Model(BaseModel):
        id: str
        title: str
        version: str
        modality: str
        licence: str
        description: str
        labels: list[Label]

    class Health(BaseModel):
        version: str
        sessions: int
        waiting: Annotated[int, Field(description="Jobs in the queue.")]

    class Problem(BaseModel):
        detail: Annotated[str, Field(description="One sentence: the fact and the remedy.")]

    request = Annotated[Segment | Prompts | Other, Field(discriminator="operation")]
    return SimpleNamespace(
        Health=Health,
        Job=Job,
        Model=Model,
        Open=Open,
        Problem=Problem,
        Request=request,
        Scan=Scan,
        Session=Session,
    )
