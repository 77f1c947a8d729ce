"""The JSON of the service: what may be asked, and how it answers.

Without `from __future__ import annotations`: pydantic has to see the types of classes that are made inside a function,
since it may only be imported there.
"""

from types import SimpleNamespace
from typing import Annotated, Literal

DIGEST = "^[0-9a-f]{64}$"
ID = "^[0-9a-f]{16}$"

_FAR = 1e6  # millimetres; nobody is a kilometre tall
_MOST_SLICES = 65536


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
    grey = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
    look = Annotated[
        list[grey] | None,
        Field(default=None, min_length=2, max_length=2, description="Width and level through which the user looks."),
    ]
    at = Annotated[int, Field(ge=0, lt=_MOST_SLICES)]
    count = Annotated[int, Field(ge=1, le=_MOST_SLICES)]
    lock = Annotated[name, Field(default="", description="A segment that was put, whose voxels must not change.")]
    keep = Annotated[bool, Field(default=True, description="Whether the other segments keep their voxels.")]
    along = Annotated[
        Literal[0, 1, 2] | None,
        Field(default=None, description="Slices along k, j or i; by default along the largest spacing."),
    ]

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
        model: Annotated[name, Field(default="", description="Of a model that takes prompts; else a region is grown.")]
        window: look
        locked: lock
        keep_others: keep

    class Refine(Strict):
        operation: Literal["refine"]
        model: Annotated[name, Field(description="The id of a model that takes prompts.")]
        segments: Annotated[list[name], Field(min_length=1, max_length=1000, description="Segments that were put.")]
        axis: along
        plane: Annotated[Plane | None, Field(default=None, description="Slices parallel to this plane instead.")]
        window: look
        one_box: Annotated[bool, Field(default=False, description="One box around all parts on a slice.")]
        locked: lock
        keep_others: keep

    class Propagate(Strict):
        operation: Literal["propagate"]
        segments: Annotated[list[name], Field(min_length=1, max_length=1000, description="Segments that were put.")]
        slices: Annotated[list[at], Field(default=[], max_length=_MOST_SLICES, description="On which they are drawn.")]
        model: Annotated[name, Field(default="", description="Without one grey values are followed.")]
        axis: along
        plane: Annotated[Plane | None, Field(default=None, description="The drawn slice, as the view showed it.")]
        window: look
        max_frames: Annotated[count | None, Field(default=None, description="How far to go in each direction.")]
        direction: Annotated[
            Literal["both", "up", "down"],
            Field(default="both", description="Up: along the plane's normal, or else where slice numbers grow."),
        ]
        stride: Annotated[count | None, Field(default=None, description="Look at every n-th slice only.")]
        redo: Annotated[
            at | None, Field(default=None, description="A corrected slice: what lies beyond is done again.")
        ]
        locked: lock
        keep_others: keep

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
        kind: Annotated[
            Literal["segments", "promptable"],
            Field(description="Whether it segments whole scans, or answers prompts."),
        ]
        version: str
        sha256: Annotated[str, Field(description="Of the one file that was installed; empty for folders.")]
        modality: Annotated[str, Field(description="CT, MR …; empty if any.")]
        segments: Annotated[str, Field(description="What it segments, in a few words.")]
        licence: str
        licence_link: str
        licence_note: str
        commercial: Annotated[bool | None, Field(description="Whether the licence allows commercial use, if known.")]
        bytes: Annotated[int | None, Field(description="Its size here, or of the download.")]
        installed: bool
        bundled: Annotated[bool, Field(description="It comes with the program, and cannot be deleted.")]
        downloadable: Annotated[bool, Field(description="Whether /install can get it.")]
        page: Annotated[str, Field(description="Where a person can get it in a browser.")]
        damage: Annotated[str, Field(description="What is wrong with its files; empty if nothing is known to be.")]
        description: str
        labels: Annotated[list[Label], Field(description="Of an installed model that segments.")]

    class Install(Strict):
        licence: Annotated[name, Field(description="The licence that the user was shown and has accepted.")]

    class Health(BaseModel):
        version: str
        sessions: int
        waiting: Annotated[int, Field(description="Jobs in the queue.")]

    class Problem(BaseModel):
        detail: Annotated[str, Field(description="One sentence: the fact and the remedy.")]

    request = Annotated[Segment | Prompts | Refine | Propagate, Field(discriminator="operation")]
    return SimpleNamespace(
        Health=Health,
        Install=Install,
        Job=Job,
        Model=Model,
        Open=Open,
        Problem=Problem,
        Request=request,
        Scan=Scan,
        Session=Session,
    )
