"""What is suggested on one side of a slice only, when the user wants to spread it one way."""

from __future__ import annotations

import numpy as np
from SSLSegmentationLib.plane import Plane
from SSLSegmentationLib.proposal import Proposal, propose
from SSLSegmentationLib.volume import Volume


def onSide(proposal: Proposal, volume: Volume, plane: Plane, towards: np.ndarray) -> Proposal:
    """The proposal where it lies beyond the plane in a direction; elsewhere the segment stays as it is."""
    up = np.sign(plane.normal @ towards) * plane.normal
    steps, origin = up @ volume.ijk_to_ras[:3, :3], up @ (volume.ijk_to_ras[:3, 3] - plane.pixel_to_ras[:3, 3])
    along = [np.arange(side.start, side.stop) * step for side, step in zip(proposal.box, steps[::-1], strict=True)]
    heights = along[0][:, None, None] + along[1][None, :, None] + along[2][None, None, :] + origin
    onThePlane = 1e-3 * abs(plane.normal @ plane.pixel_to_ras[:3, 2])  # of a slice: rounding leaves less
    after = np.where(heights > onThePlane, proposal.mask, proposal.before)
    return propose(
        proposal.box,
        proposal.before,
        after,
        score=proposal.score,
        uncertainty=proposal.uncertainty,
        segment=proposal.segment,
    )
