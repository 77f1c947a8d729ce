"""An engine with one model that takes prompts and whose answers can be foretold: what is bright."""

from __future__ import annotations

from typing import Any

from SSLSegmentationLib.engine.keeper import Keeper
from SSLSegmentationLib.engine.serve import with_parent
from SSLSegmentationLib.engine.session import Models
from Testing.prompting.fake import Bright


class Faked(Models):
    """Has one model, which is called "bright"."""

    def __init__(self) -> None:
        super().__init__(lambda: [])
        self.model = Bright()

    def promptable(self, model: str) -> Bright:
        assert model == "bright"
        return self.model


def make_keeper(said: dict[str, Any]) -> Keeper:
    return Keeper(models=Faked(), max_bytes=said["max_bytes"])


if __name__ == "__main__":
    with_parent(make_keeper)
