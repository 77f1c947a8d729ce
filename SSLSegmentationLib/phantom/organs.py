"""The thirteen organs with a label, each where it lies in the standard body (see canvas.py for the coordinates).

Places and sizes follow textbook anatomy and what contrast CTs of adults commonly show. Whoever is painted later wins
where two shapes meet, so the order below is part of the anatomy.
"""

from __future__ import annotations

import numpy as np

from SSLSegmentationLib.phantom.canvas import Canvas, Point, Tissue

SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, GALLBLADDER, OESOPHAGUS, LIVER, STOMACH = range(1, 8)
AORTA, VENA_CAVA, PORTAL_VEIN, PANCREAS, RIGHT_ADRENAL, LEFT_ADRENAL = range(8, 14)


def draw_organs(canvas: Canvas, room: np.ndarray, random: np.random.Generator) -> None:
    """`room` is the signed distance to what holds the organs, as `draw_body` gives it."""
    _draw_liver(canvas, room, random)
    _draw_spleen(canvas, room, random)
    _draw_duodenum(canvas, room)
    _draw_stomach(canvas, room, random)
    _draw_kidney(canvas, RIGHT_KIDNEY, _moved((64, -24, -20), random, 5), random)
    _draw_kidney(canvas, LEFT_KIDNEY, _moved((-62, -28, 0), random, 5), random)
    _draw_great_vessels(canvas, random)
    _draw_pancreas_and_portal_vein(canvas, random)
    _draw_gallbladder(canvas, random)
    _draw_adrenals(canvas, random)


def _draw_liver(canvas: Canvas, room: np.ndarray, random: np.random.Generator) -> None:
    grown = random.normal(1.0, 0.06)
    low = random.uniform(-8, 6)
    box = canvas.box((-95, -100, -120), (140, 110, 130))
    right_lobe = ((66, 8, 28 + low), (74 * grown, 82 * grown, 86 * grown), (0, -14, 10))
    left_lobe = ((-4, 52, 54), (random.uniform(50, 84), 42 * grown, 42 * grown), (0, 14, 0))
    (_, right), (_, left) = (canvas.ellipsoid(*lobe, box=box) for lobe in (right_lobe, left_lobe))
    # A smooth union, so that the lobes flow into each other.
    blend = np.clip(0.5 + (left - right) / 50, 0, 1)
    liver = left + (right - left) * blend - 25 * blend * (1 - blend)
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    # The visceral surface: hollowed from below on the inner side, for stomach, duodenum and kidney.
    inner = -0.85 * (x - 18) - 0.5 * (z - 30) - 0.3 * (y - 30)
    below = 26 - 0.7 * (y - 40) - z
    liver = np.maximum(liver, np.minimum(inner, below))
    liver = np.maximum(liver, 30 - np.hypot(x - 61, y + 30) - 1.0 * np.clip(z - 4, 0, 99))
    liver = np.maximum(liver + canvas.rough(box, (2.5, 1.5, 0.8, 0)), room[box])
    inside = liver < 0
    canvas.paint(box, inside, Tissue.LIVER, LIVER)
    for path, radii in (
        ([(22, 14, 92), (52, 12, 74), (86, 0, 44)], (5, 4, 2)),
        ([(22, 16, 92), (42, 44, 66), (58, 62, 30)], (5, 4, 2)),
        ([(20, 18, 92), (2, 42, 76), (-20, 54, 62)], (5, 3.5, 1.5)),
        ([(48, 26, 36), (72, 8, 26), (98, -10, 8)], (5, 4, 2)),
        ([(48, 26, 36), (76, 34, 34), (98, 40, 26)], (5, 3.5, 1.5)),
        ([(48, 26, 36), (18, 46, 50), (-14, 52, 52)], (5, 4, 2)),
        ([(72, 8, 26), (84, 2, 54), (92, 4, 72)], (3, 2.5, 1.5)),
        ([(72, 8, 26), (84, 6, -4), (90, 6, -30)], (3, 2.5, 1.5)),
    ):
        part, vessel = canvas.tube([_moved(p, random, 3) for p in path], radii)
        canvas.paint(part, (vessel < 0) & (canvas.tissue[part] == Tissue.LIVER), Tissue.LIVER_VESSEL)
    twigs = np.hypot(canvas.rough(box, (0.4, 0, 1, 0)), canvas.rough(box, (0, 0.4, 0, 1))) < 0.2
    canvas.paint(box, inside & twigs, Tissue.LIVER_VESSEL)
    if random.random() < 0.25:
        for _ in range(random.integers(1, 4)):
            centre = (random.uniform(40, 105), random.uniform(-30, 50), random.uniform(-15, 75))
            radius = random.uniform(5, 16)
            part, lesion = canvas.ellipsoid(centre, (radius, radius * 0.9, radius * 0.95))
            lesion = lesion + canvas.rough(part, (0, 0, 0.8, 0.8))
            canvas.paint(part, (lesion < 0) & (canvas.labels[part] == LIVER), Tissue.LESION)


def _draw_spleen(canvas: Canvas, room: np.ndarray, random: np.random.Generator) -> None:
    grown = np.exp(random.normal(0, 0.12))
    centre = _moved((-86, -26, 52), random, 4)
    box, spleen = canvas.ellipsoid(centre, (34 * grown, 50 * grown, 52 * grown), (18, 12, -14))
    _, hilum = canvas.ellipsoid((centre[0] + 36, centre[1] + 30, centre[2] - 6), (34, 34, 50), box=box)
    spleen = np.maximum(np.maximum(spleen, -hilum), room[box] - 1) + canvas.rough(box, (0, 1.5, 0.7, 0))
    canvas.paint(box, (spleen < 0) & (room[box] < 0), Tissue.SPLEEN, SPLEEN)


def _draw_stomach(canvas: Canvas, room: np.ndarray, random: np.random.Generator) -> None:
    full = np.exp(random.normal(0, 0.14))
    path = [(-50, -14, 72), (-56, 16, 62), (-54, 42, 36), (-38, 56, 8), (-8, 58, -8), (22, 50, -4)]
    path = [_moved(p, random, 3) for p in path]
    box, stomach = canvas.tube(path, [24 * full, 29 * full, 26 * full, 21 * full, 16 * full, 9])
    stomach = np.maximum(stomach + canvas.rough(box, (1.5, 0, 1.0, 0.6)), room[box] - 1)
    stomach = np.where(canvas.labels[box] == LIVER, stomach + 7, stomach)  # the liver's left lobe lies over it
    canvas.paint(box, stomach < 0, Tissue.WALL, STOMACH)
    inside = stomach < -random.uniform(3.0, 5.0)
    canvas.paint(box, inside, Tissue.FLUID, STOMACH)
    # Gas rises to the front of a patient who lies on the back; the level is flat.
    level = random.uniform(28, 62)
    canvas.paint(box, inside & (canvas.y[box] > level), Tissue.GAS, STOMACH)


def _draw_duodenum(canvas: Canvas, room: np.ndarray) -> None:
    path = [(22, 50, -4), (44, 42, -8), (48, 30, -34), (40, 22, -62), (8, 14, -66), (-28, 22, -52)]
    box, duodenum = canvas.tube(path, [10, 12, 13, 12, 10, 10])
    duodenum = np.maximum(duodenum + canvas.rough(box, (0, 0, 1, 1)), room[box])
    free = canvas.labels[box] == 0
    canvas.paint(box, (duodenum < 0) & free, Tissue.WALL, 0)
    canvas.paint(box, (duodenum < -3) & free, Tissue.FLUID, 0)


def _draw_kidney(canvas: Canvas, label: int, centre: Point, random: np.random.Generator) -> None:
    """A bean with a brighter cortex; fat and the renal pelvis in its hilum, which looks inwards and to the front."""
    side = 1 if label == RIGHT_KIDNEY else -1
    grown = random.normal(1.0, 0.06)
    radii = (27 * grown, 25 * grown, 54 * grown)
    tilt = (10, side * 14, side * -25)
    box, kidney = canvas.ellipsoid(centre, radii, tilt)
    bed = kidney < 6  # a layer of fat around it, which keeps liver, spleen and bowel off
    canvas.paint(box, bed & ~np.isin(canvas.tissue[box], (Tissue.MUSCLE, Tissue.CORTICAL_BONE)), Tissue.FAT, 0)
    kidney = kidney + canvas.rough(box, (0.9, 0, 0.8, 0.4))
    sinus_at = (centre[0] - side * 15 * grown, centre[1] + 8 * grown, centre[2])
    _, sinus = canvas.ellipsoid(sinus_at, (15 * grown, 10 * grown, 20 * grown), box=box)
    sinus = sinus + canvas.rough(box, (0, 0, 1.5, -1.5))
    parenchyma = (kidney < 0) & (sinus > 0)
    canvas.paint(box, parenchyma, Tissue.CORTEX, label)
    pyramids = parenchyma & (kidney < -8) & (canvas.rough(box, (0, 0, 1, -0.6)) > -0.35)
    canvas.paint(box, pyramids, Tissue.MEDULLA, label)
    pelvis = (sinus < -4) & (kidney < 4)
    canvas.paint(box, pelvis, Tissue.URINE, 0)
    # Its vein and artery, towards the great vessels.
    inner = (side * 14 + 2, 8, centre[2] + 8)
    hilum = (sinus_at[0] + side * 4, sinus_at[1] - 1, sinus_at[2] + 4)
    for tissue, dy, radius in ((Tissue.VEIN, 2, 4.5), (Tissue.ARTERY, -5, 2.6)):
        ends = [(p[0], p[1] + dy, p[2]) for p in (inner, hilum)]
        part, vessel = canvas.tube(ends, radius)
        canvas.paint(part, (vessel < 0) & (canvas.labels[part] == 0), tissue)


def _draw_great_vessels(canvas: Canvas, random: np.random.Generator) -> None:
    winding = _moved((0, 0, 0), random, 3)
    box, gullet = canvas.tube([(-2, 8, 230), (-4, 6, 150), (-9, 12, 100), (-22, 16, 84), (-36, 12, 74)], 7.5, 1.25)
    gullet = gullet + canvas.rough(box, (0, 0, 0.8, 0.5))
    free = canvas.labels[box] != STOMACH
    canvas.paint(box, (gullet < 3) & free & (canvas.z[box] > 80) & (canvas.labels[box] == 0), Tissue.FAT)
    canvas.paint(box, (gullet < 0) & free, Tissue.WALL, OESOPHAGUS)
    if random.random() < 0.5:
        canvas.paint(box, (gullet < -4.8) & free, Tissue.GAS, OESOPHAGUS)

    wide = random.normal(1.0, 0.10)
    course = [(-14, -8, 230), (-13, -8, 130), (-9, -4, 60), (-8, 0, 0), (-6 + winding[0], 1, -60), (-3, 2, -92)]
    box, aorta = canvas.tube(course, [12.5 * wide, 12 * wide, 11 * wide, 9.5 * wide, 9 * wide, 8.5 * wide])
    canvas.paint(box, aorta < 3, Tissue.FAT, 0)
    canvas.paint(box, aorta < 0, Tissue.ARTERY, AORTA)
    for path, radius in (
        ([(-3, 2, -92), (20, -2, -130), (42, -8, -190)], 6.0),
        ([(-3, 2, -92), (-26, -2, -130), (-46, -8, -190)], 6.0),
        ([(-8, 6, 26), (-6, 22, 28), (-22, 26, 24), (-50, 8, 36)], 3.2),  # coeliac trunk and splenic artery
        ([(-7, 6, 12), (-4, 20, -4), (0, 26, -40), (6, 30, -80)], 3.4),  # superior mesenteric artery
    ):
        part, artery = canvas.tube(path, radius)
        keep = canvas.labels[part] == 0
        canvas.paint(part, (artery < 2.5) & keep, Tissue.FAT)
        canvas.paint(part, (artery < 0) & keep, Tissue.ARTERY)
    if random.random() < 0.3:  # calcified plaques
        shell = (np.abs(aorta + 1) < 1) & (canvas.rough(box, (0, 0, 1, 1)) > 1.7)
        canvas.paint(box, shell, Tissue.CORTICAL_BONE, AORTA)

    wide = random.normal(1.0, 0.12)
    course = [(14, 2, -100), (18, 6, -60), (20, 10, 0), (24, 12, 50), (22, 16, 92), (16, 24, 112)]
    box, vein = canvas.tube(course, [9 * wide, 9.5 * wide, 10 * wide, 11.5 * wide, 12 * wide, 12], 1.2)
    free = canvas.labels[box] != AORTA
    canvas.paint(box, (vein < 2) & free & (canvas.labels[box] != LIVER), Tissue.FAT, 0)
    canvas.paint(box, (vein < 0) & free, Tissue.VEIN, VENA_CAVA)
    for side in (1, -1):
        part, iliac = canvas.tube([(14, 2, -100), (14 + side * 16, -8, -132), (10 + side * 38, -18, -190)], 7.0)
        canvas.paint(part, (iliac < 0) & (canvas.labels[part] == 0), Tissue.VEIN)


def _draw_pancreas_and_portal_vein(canvas: Canvas, random: np.random.Generator) -> None:
    drop = random.uniform(-8, 8)  # the tail lies high in one, low in another
    path = [(32, 27, -34), (30, 32, -16), (10, 38, -2), (-16, 31, 8), (-42, 16, 18 + drop), (-64, -2, 30 + drop)]
    path = [_moved(p, random, 2) for p in path]
    thick = random.normal(1.0, 0.12)
    box, pancreas = canvas.tube(path, [r * thick for r in (13, 15, 11, 11, 12, 10)])
    pancreas = pancreas + canvas.rough(box, (0.4, 0, 1.3, 1.0))
    keep = ~np.isin(canvas.labels[box], (AORTA, VENA_CAVA, SPLEEN, LEFT_KIDNEY))
    canvas.paint(box, (pancreas < 2) & keep & (canvas.labels[box] != LIVER), Tissue.FAT, 0)
    canvas.paint(box, (pancreas < 0) & keep, Tissue.PANCREAS, PANCREAS)

    keep_of = (AORTA, VENA_CAVA)
    trunk = [(8, 31, -44), (10, 29, -18), (14, 26, 0), (28, 25, 20), (46, 27, 34)]
    splenic = [(14, 26, 2), (-14, 21, 9), (-42, 8, 20 + drop), (-66, -8, 34 + drop)]
    inner = [(46, 27, 34), (58, 22, 34), (70, 14, 30)]
    for course, radii in ((trunk, (5.5, 7, 8, 8, 7.5)), (splenic, (5.5, 5, 4.6, 4)), (inner, (7, 6, 4))):
        box, vein = canvas.tube([_moved(p, random, 1) for p in course], radii)
        keep = ~np.isin(canvas.labels[box], keep_of)
        canvas.paint(box, (vein < 0) & keep, Tissue.PORTAL, PORTAL_VEIN)


def _draw_gallbladder(canvas: Canvas, random: np.random.Generator) -> None:
    if random.random() < 0.12:  # taken out
        return
    full = np.exp(random.normal(0, 0.2))
    centre = _moved((58, 46, -6), random, 4)
    box, gallbladder = canvas.ellipsoid(centre, (13 * full, 22 * full, 16 * full), (35, 0, 15))
    gallbladder = gallbladder + canvas.rough(box, (0.6, 0, 0.4, 0))
    keep = ~np.isin(canvas.labels[box], (STOMACH, PANCREAS, PORTAL_VEIN))
    canvas.paint(box, (gallbladder < 0) & keep, Tissue.WALL, GALLBLADDER)
    canvas.paint(box, (gallbladder < -1.5) & keep, Tissue.BILE, GALLBLADDER)


def _draw_adrenals(canvas: Canvas, random: np.random.Generator) -> None:
    """Two thin limbs each, in the fat above the kidneys: a comma behind the vena cava, a Y beside the aorta."""
    right, left = _moved((0, 0, 0), random, 2), _moved((0, 0, 0), random, 2)
    limbs = {
        RIGHT_ADRENAL: [
            [(30, -4, 46), (33, -11, 36), (36, -22, 24)],
            [(31, -6, 42), (40, -14, 32), (46, -22, 22)],
        ],
        LEFT_ADRENAL: [
            [(-28, 4, 40), (-29, -6, 30), (-26, -18, 18)],
            [(-28, 2, 38), (-34, -8, 28), (-42, -18, 20)],
        ],
    }
    for label, paths in limbs.items():
        by = right if label == RIGHT_ADRENAL else left
        for clear in (True, False):  # first the fat around both limbs, then the limbs
            for path in paths:
                box, limb = canvas.tube([tuple(np.add(p, by)) for p in path], (4.6, 4.2, 3.4))
                keep = ~np.isin(canvas.labels[box], (AORTA, VENA_CAVA, PORTAL_VEIN))
                if clear:
                    around = (limb < 5) & keep & ~np.isin(canvas.tissue[box], (Tissue.MUSCLE, Tissue.CORTICAL_BONE))
                    canvas.paint(box, around & (canvas.labels[box] != PANCREAS), Tissue.FAT, 0)
                else:
                    canvas.paint(box, (limb < 0) & keep, Tissue.ADRENAL, label)


def _moved(point: Point, random: np.random.Generator, by_mm: float) -> Point:
    return tuple(float(v) for v in np.add(point, random.normal(0, by_mm, 3)))
