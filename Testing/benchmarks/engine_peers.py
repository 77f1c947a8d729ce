"""How other programs move a scan to a process with a network in it, and a mask back: written anew, from what they do.

Each way has two ends. `send` returns when the other end has the scan as an array; `fetch` puts a mask into the target.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Box = tuple[slice, ...]


class Way(Protocol):
    def send(self, scan: np.ndarray) -> int:
        """The sum of a slice as the other end sees it, as a proof."""

    def fetch(self, name: str, target: np.ndarray) -> None: ...


def masks_in(folder: Path) -> dict[str, tuple[np.ndarray, Box]]:
    """The masks that are moved: whole, and the box around what changes."""
    boxes = json.loads((folder / "boxes.json").read_text())
    return {
        name: (np.load(folder / f"{name}.npy"), tuple(slice(*side) for side in sides)) for name, sides in boxes.items()
    }


def proof(scan: np.ndarray) -> int:
    return int(scan[len(scan) // 2].sum(dtype=np.int64))


@contextmanager
def other_process(folder: Path) -> Iterator[Connection]:
    """A process that does what `_obey` says, on the other end of a pipe."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_obey, args=(there, str(folder)))
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.send(("end",))
        process.join()


def _obey(pipe: Connection, folder: str) -> None:
    masks = masks_in(Path(folder))
    while True:
        order, *given = pipe.recv()
        if order == "end":
            return
        if order == "read":
            pipe.send(proof(_read(given[0])))
        elif order == "write":
            _write(masks[given[1]][0], given[0])
            pipe.send(0)
        elif order == "take":
            pipe.send(proof(given[0]))
        elif order == "give":
            pipe.send(masks[given[0]][0])
        elif order == "serve":
            _serve_blosc(pipe, masks)


class Files:
    """Files in the temporary folder, written and read with SimpleITK, as servers that take uploads of files do."""

    def __init__(self, pipe: Connection, folder: Path, suffix: str) -> None:
        # Another stem for each suffix: asked for x.nii.gz, ITK reads x.nii if that is there.
        self._pipe, self._folder, self._suffix = pipe, folder, f"{len(suffix)}{suffix}"

    def send(self, scan: np.ndarray) -> int:
        path = str(self._folder / f"scan{self._suffix}")
        _write(scan, path)
        self._pipe.send(("read", path))
        return self._pipe.recv()

    def fetch(self, name: str, target: np.ndarray) -> None:
        path = str(self._folder / f"mask{self._suffix}")
        self._pipe.send(("write", path, name))
        self._pipe.recv()
        target[:] = _read(path)


def _write(array: np.ndarray, path: str) -> None:
    import SimpleITK

    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), path, useCompression=path.endswith(".gz"))


def _read(path: str) -> np.ndarray:
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))


class Pickles:
    """Arrays through multiprocessing's pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def send(self, scan: np.ndarray) -> int:
        self._pipe.send(("take", scan))
        return self._pipe.recv()

    def fetch(self, name: str, target: np.ndarray) -> None:
        self._pipe.send(("give", name))
        target[:] = self._pipe.recv()


class BloscHttp:
    """What nnInteractive 2.5 does: blosc2 with Zstandard at level 3 and as many threads as there are cores, the better
    of shuffling or not for scans, found out on the middle of the scan, and the box of what changed for masks."""

    def __init__(self, pipe: Connection) -> None:
        import httpx

        pipe.send(("serve",))
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{pipe.recv()}", timeout=60.0, trust_env=False)

    def send(self, scan: np.ndarray) -> int:
        answer = self._http.post(
            "/image", content=_blosc(scan, _better_filter(scan)), headers={"x-shape": json.dumps(scan.shape)}
        )
        return answer.json()

    def fetch(self, name: str, target: np.ndarray) -> None:
        answer = self._http.get(f"/mask/{name}")
        box = tuple(slice(*side) for side in json.loads(answer.headers["x-box"]))
        target[box] = _unblosc(answer.content, np.uint8, tuple(side.stop - side.start for side in box))

    def close(self) -> None:
        """The serving end takes orders again."""
        self._http.post("/end")
        self._http.close()


def _serve_blosc(pipe: Connection, masks: dict[str, tuple[np.ndarray, Box]]) -> None:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import Response

    app = FastAPI()

    async def image(request: Request) -> int:
        content = await request.body()
        return proof(_unblosc(content, np.int16, tuple(json.loads(request.headers["x-shape"]))))

    async def mask(name: str) -> Response:
        whole, box = masks[name]
        content = _blosc(np.ascontiguousarray(whole[box]), None)
        return Response(content, headers={"x-box": json.dumps([(side.start, side.stop) for side in box])})

    async def end() -> None:
        server.should_exit = True

    # Their types are given here, because annotations of this file are text.
    image.__annotations__, mask.__annotations__ = {"request": Request, "return": int}, {"name": str}
    app.post("/image")(image)
    app.get("/mask/{name}", response_model=None)(mask)
    app.post("/end", response_model=None)(end)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            pipe.send(self.servers[0].sockets[0].getsockname()[1])

    server = Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    server.run()


def _better_filter(scan: np.ndarray) -> Any:
    import blosc2

    middle = np.ascontiguousarray(scan[tuple(slice(n * 3 // 8, n * 5 // 8) for n in scan.shape)])
    return min((blosc2.Filter.NOFILTER, blosc2.Filter.SHUFFLE), key=lambda one: len(_blosc(middle, one)))


def _blosc(array: np.ndarray, how: Any) -> bytes:
    import blosc2

    return blosc2.compress2(
        memoryview(array).cast("B"),
        typesize=array.dtype.itemsize,
        codec=blosc2.Codec.ZSTD,
        clevel=3,
        filters=[blosc2.Filter.NOFILTER if how is None else how],
        nthreads=os.cpu_count() or 1,
    )


def _unblosc(content: bytes, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    import blosc2

    whole = np.empty(shape, dtype)
    memoryview(whole).cast("B")[:] = blosc2.decompress2(content)
    return whole
