"""The module SampleData, as far as other modules register their samples in it.

Follows Slicer/Modules/Scripted/SampleData/SampleData.py: the arguments are checked as there, and a sample with its own
`customDownloader` can be loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass
class SampleDataSource:
    sampleName: str | None = None
    sampleDescription: str | None = None
    uris: Any = None
    fileNames: Any = None
    nodeNames: Any = None
    checksums: Any = None
    loadFiles: Any = None
    customDownloader: Any = None
    thumbnailFileName: str | None = None
    loadFileTypes: Any = None
    loadFileProperties: dict[str, Any] = field(default_factory=dict)
    lists: ClassVar = ("uris", "fileNames", "nodeNames", "checksums", "loadFileTypes")

    def __post_init__(self) -> None:
        for name in self.lists:
            value = getattr(self, name)
            setattr(self, name, value if isinstance(value, list) else [value])
        if len({len(getattr(self, name)) for name in ("uris", "fileNames", "nodeNames")}) > 1:
            raise ValueError("All fields of sample data source must have the same length")


class SampleDataLogic:
    sources: ClassVar[dict[str, list[SampleDataSource]]] = {}
    titles: ClassVar[dict[str, str]] = {}

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        SampleDataLogic.titles[category] = title

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **properties: Any) -> None:
        registered = SampleDataLogic.sources.setdefault(category, [])
        if all(source.sampleName != properties.get("sampleName") for source in registered):
            registered.append(SampleDataSource(**properties))

    @staticmethod
    def sourceForSampleName(sampleName: str) -> SampleDataSource | None:
        sources = (source for listed in SampleDataLogic.sources.values() for source in listed)
        return next((source for source in sources if source.sampleName == sampleName), None)

    def downloadFromSource(self, source: SampleDataSource) -> list[Any]:
        if source.customDownloader is None:
            raise NotImplementedError("the stand-in downloads nothing")
        return [source.customDownloader(source)]

    def downloadSample(self, sampleName: str) -> Any:
        source = self.sourceForSampleName(sampleName)
        if source is None:
            raise LookupError(f"there is no sample {sampleName!r}")
        return self.downloadFromSource(source)[0]


def downloadSample(sampleName: str) -> Any:
    return SampleDataLogic().downloadSample(sampleName)
