"""What the user has chosen for a scene, saved and loaded with it. Where the engine runs is not in it: see Place."""

from typing import Annotated

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

BOTH_WAYS, UP, DOWN = "both ways", "up", "down"


@parameterNodeWrapper
class Parameters:
    scan: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    model: str = ""
    clickModel: str = ""
    showDoubt: bool = False
    doubtOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.6
    doubtThreshold: Annotated[float, WithinRange(0.0, 1.0)] = 0.2
    acceptAtOnce: bool = False
    keepPrompts: bool = False
    spreadView: Annotated[str, Choice(["Red", "Yellow", "Green"])] = "Red"
    spreadDirection: Annotated[str, Choice(["both ways", "up", "down"])] = "both ways"
    spreadSlices: Annotated[int, WithinRange(0, 2000)] = 0
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    doubtSource: Annotated[str, Choice(["auto", "none", "entropy", "flips", "dropout", "members"])] = "auto"
