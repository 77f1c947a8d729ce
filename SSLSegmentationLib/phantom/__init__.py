"""A synthetic abdomen: a contrast CT nobody had to undergo, with the truth of thirteen organs beside it.

It is there for the demo, for tests and for the demonstration network. It looks like a CT at first sight and every
organ lies where it belongs, but it is made of a few hundred ellipsoids and tubes: nothing learnt or measured on it
says anything about patients.
"""

from __future__ import annotations

import numpy as np

from SSLSegmentationLib.phantom.body import draw_body
from SSLSegmentationLib.phantom.canvas import Canvas
from SSLSegmentationLib.phantom.organs import draw_organs
from SSLSegmentationLib.phantom.scanner import Protocol, scan
from SSLSegmentationLib.volume import Volume

_CENTRE_MM = np.array([0.0, -15.0, 5.0])  # of the picture, in the body's own millimetres (see canvas.py)


def abdomen_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] = (120, 192, 192),
    spacing: tuple[float, float, float] = (1.9, 1.9, 2.4),
    with_contrast: bool = True,
) -> tuple[Volume, Volume]:
    """The scan (int16 Hounsfield units) and the labels (uint8, as in Resources/Organs.json) of one invented patient.

    `shape` is (k, j, i) and `spacing` (i, j, k) millimetres, as in Volume; i, j, k grow towards left, posterior and
    superior, as scanners store slices. The same seed gives the same patient on every grid and the same voxels on the
    same grid. The picture is centred near the first lumbar vertebra, so a grid of at least 250 mm from top to bottom
    shows all organs.
    """
    patient, noise = (np.random.default_rng([seed, part]) for part in (0, 1))
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(np.array(spacing) * (-1, -1, 1))
    # Table height and centring differ from scan to scan by a few millimetres.
    centre = _CENTRE_MM + patient.normal(0, (4, 5, 8))
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)

    canvas = Canvas(shape, matrix, patient)
    room = draw_body(canvas, patient)
    draw_organs(canvas, room, patient)
    protocol = Protocol.drawn(patient, with_contrast)
    voxels = scan(canvas, protocol, np.array(spacing), noise)
    volume = Volume(voxels, matrix, name=f"phantom {seed}", modality="CT")
    return volume, volume.with_voxels(canvas.labels, name=f"phantom {seed} labels")
