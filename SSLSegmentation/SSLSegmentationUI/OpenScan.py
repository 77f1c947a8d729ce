"""A scan of the scene, opened in an engine, and the segments the engine has been told of.

Whatever happens to the engine, `reach` leads to a session that knows the scan as it is now: it sends only what the
engine does not have.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any
from urllib.parse import quote

from SSLSegmentationLib.engine import calls
from SSLSegmentationLib.engine.calls import Call, NotThereError
from SSLSegmentationLib.engine.pieces import digest_in_pieces
from SSLSegmentationLib.engine.wire import volume_frame_in_pieces
from SSLSegmentationLib.proposal import Cropped
from SSLSegmentationLib.scene.volumes import stamp_of, volume_of

from SSLSegmentationUI.Engine import KEEP_ALIVE, Engine

Stamp = tuple[Any, ...]


class OpenScan:
    def __init__(self, engine: Engine, node: Any) -> None:
        self.node = node
        self.volume = volume_of(node)
        self._engine = engine
        self._stamp = stamp_of(node)
        self._digest = ""
        self._session = ""
        self._generation = 0
        self._sent: dict[str, Stamp] = {}

    @property
    def isCurrent(self) -> bool:
        """Whether the node still shows what was opened."""
        return self.node.GetScene() is not None and stamp_of(self.node) == self._stamp

    def reach(self, tell: Any = None) -> Generator[Any, Any, str]:
        """In an Errand: the id of the session in the engine. `tell(sentence)` hears of what takes long."""
        tell = tell or (lambda sentence: None)
        engine = self._engine
        if not engine.isReady:
            tell("Starting the engine")
        generation = yield engine.reached()
        if self._session and self._generation == generation:
            try:
                yield engine.asking(calls.see_session(self._session))
                return self._session
            except NotThereError:  # freed, as after a long pause
                self._session = ""
        if not self._digest:
            self._digest = yield from digest_in_pieces(self.volume)
        if not (yield engine.asking(calls.has_volume(self._digest))):
            tell("Sending the scan")
            frame = yield from volume_frame_in_pieces(self.volume, compress=engine.isFar)
            yield engine.asking(calls.send_frame(frame))
        keepAlive = KEEP_ALIVE if engine.place.isRemote else None
        self._session = yield engine.asking(calls.open_session(self._digest, keepAlive))
        self._generation = generation
        self._sent.clear()
        return self._session

    def knows(self, segment: str, stamp: Stamp) -> bool:
        """Whether the engine has this segment as it is now; asked after `reach`."""
        return self._sent.get(segment) == stamp

    @property
    def known(self) -> list[str]:
        return list(self._sent)

    def put(self, segment: str, stamp: Stamp, mask: Cropped) -> Generator[Any, Any, None]:
        """In an Errand, after `reach`: say how a segment looks now."""
        yield self._engine.asking(calls.put_segment(self._session, segment, mask))
        self._sent[segment] = stamp

    def drop(self, segment: str) -> Generator[Any, Any, None]:
        """In an Errand, after `reach`: the segment is no more."""
        path = f"/sessions/{self._session}/segments/{quote(segment, safe='')}"
        yield self._engine.asking(Call("DELETE", path, _gone))
        self._sent.pop(segment, None)

    def beat(self) -> None:
        """A sign of life, so that a server keeps the session."""
        if self._session and self._generation == self._engine.generation:
            self._engine.tell(calls.see_session(self._session))

    def close(self) -> None:
        if self._session and self._generation == self._engine.generation:
            self._engine.tell(calls.close_session(self._session))
        self._session = ""


def _gone(answer: calls.Answer) -> None:
    if answer.status != 404:
        calls.check(answer)
