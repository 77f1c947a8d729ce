"""What surrounds the organs: skin, fat, muscle, skeleton, diaphragm, lungs, heart, bowel, and the table below."""

from __future__ import annotations

import numpy as np

from SSLSegmentationLib.phantom.canvas import Canvas, Tissue

_VERTEBRA_MM = 34.0  # from one vertebra to the next
_RIB_MM = 30.0


def draw_body(canvas: Canvas, random: np.random.Generator) -> np.ndarray:
    """Returns the signed distance to what holds the abdominal organs: the wall around and the diaphragm above."""
    x, y, z = canvas.x, canvas.y, canvas.z
    everywhere = canvas.everywhere()
    fat = random.gamma(3.0, 5.0) + 6.0
    # The distance outwards from the outer surface of the muscles; the belly's fat is thickest in front and at the side.
    wall = _wall(canvas)
    front = np.clip((y + 60) / 160, 0, 1)
    skin = wall - np.float32(fat) * (0.55 + 0.75 * front) + canvas.rough(everywhere, (1.2, 0, 0.4, 0))
    back = -random.uniform(104, 110) - 0.45 * fat
    skin = np.maximum(skin, back + canvas.rough(everywhere, (0.8, 0, 0, 0)) - y)  # lying flattens the back
    _draw_table(canvas, back, random)
    canvas.paint(everywhere, skin < 0, Tissue.SKIN)
    canvas.paint(everywhere, skin < -2.2, Tissue.FAT)
    muscle = wall + canvas.rough(everywhere, (0, 1.0, 0, 0.8))
    canvas.paint(everywhere, (muscle < 0) & (skin < -4), Tissue.MUSCLE)
    # Thin fat between the layers of the flank's muscles and the rectus.
    layers = (np.abs(muscle + 4.0) < 0.6) & (np.abs(x) > 75) & (y > -45) & (y < 55) & (z < 20)
    canvas.paint(everywhere, layers, Tissue.FAT)

    cavity = _cavity(canvas, wall)
    above = _above_diaphragm(canvas)
    canvas.paint(everywhere, cavity < 0, Tissue.FAT)
    _draw_back_muscles(canvas, random)
    _draw_lungs_and_heart(canvas, cavity, above, random)
    _draw_spine(canvas, random)
    _draw_ribs(canvas, wall, random)
    _draw_pelvis(canvas)
    _draw_bowel(canvas, cavity, random)
    _draw_twigs(canvas, cavity)
    return np.maximum(cavity + 3, above + 3)


def _above_diaphragm(canvas: Canvas) -> np.ndarray:
    """Millimetres above the diaphragm's two domes: negative below it, where the abdomen is."""
    x, y = canvas.x, canvas.y
    right = 100 - 58 * (((x - 60) / 78) ** 2 + ((y - 8) / 98) ** 2)
    left = 90 - 58 * (((x + 62) / 76) ** 2 + ((y - 2) / 92) ** 2)
    middle = 84 - 60 * ((x / 60) ** 2 + ((y - 40) / 80) ** 2)
    return canvas.z - np.maximum(np.maximum(right, left), middle)


def _wall(canvas: Canvas) -> np.ndarray:
    """Signed distance to the outer surface of the muscles: a superellipse across, a little narrower at the waist."""
    waist = 1 - 0.05 * np.exp(-(((canvas.z + 60) / 60) ** 2))
    deep = canvas.y + 6
    deep = np.where(deep > 0, deep / np.float32(90), deep / np.float32(-96))
    across = np.abs(canvas.x) / (139 * waist)
    # The exponent is 2.5; squares and roots are several times as fast as powers.
    return ((across**2 * np.sqrt(across) + deep**2 * np.sqrt(deep)) ** np.float32(0.4) - 1) * 105


def _cavity(canvas: Canvas, wall: np.ndarray) -> np.ndarray:
    """Signed distance to the inner surface of the wall of chest and belly, in front of the spine and its muscles."""
    vertebra = 27 - np.hypot(canvas.x, canvas.y + 38)
    back = 32 * (1 - np.hypot(canvas.x / 66, (canvas.y + 94) / 34))
    return np.maximum(wall + 10 + 1.5 * np.sin(canvas.z / 30), np.maximum(vertebra, back))


def _draw_table(canvas: Canvas, back: float, random: np.random.Generator) -> None:
    """A curved carbon shell with a foam core, a few millimetres behind the back."""
    x = np.float32(canvas.size) * canvas.x
    top = back - 6 + (x / 210) ** 2 * random.uniform(20, 40)
    depth = top - canvas.y
    on = np.abs(x) < 208
    canvas.paint(canvas.everywhere(), (depth > 0) & (depth < 22) & on, Tissue.FOAM)
    shell = (((depth > 0) & (depth < 2.8)) | ((depth > 20) & (depth < 22.8)) | (np.abs(np.abs(x) - 206) < 2)) & on
    canvas.paint(canvas.everywhere(), shell & (depth > 0) & (depth < 22.8), Tissue.TABLE)


def _draw_back_muscles(canvas: Canvas, random: np.random.Generator) -> None:
    bulk = random.uniform(0.85, 1.1)
    for side in (1, -1):
        for centre, radii in (((33, -72), (25, 19)), ((58, -66), (20, 12))):
            distance = np.hypot((canvas.x - side * centre[0]) / radii[0], (canvas.y - centre[1]) / radii[1])
            canvas.paint(canvas.everywhere(), distance < bulk, Tissue.MUSCLE)
        path = [(side * 24, -38, 20), (side * 27, -38, -10), (side * 34, -36, -90), (side * 36, -30, -200)]
        box, psoas = canvas.tube(path, [r * bulk for r in (1, 7, 19, 23)])
        canvas.paint(box, psoas < 0, Tissue.MUSCLE)
        path = [(side * 9, -12, 90), (side * 12, -16, 40), (side * 12, -18, -20)]
        box, crus = canvas.tube(path, [4.5, 6, 3])
        canvas.paint(box, crus < 0, Tissue.MUSCLE)


def _draw_lungs_and_heart(canvas: Canvas, cavity: np.ndarray, above: np.ndarray, random: np.random.Generator) -> None:
    everywhere = canvas.everywhere()
    canvas.paint(everywhere, (cavity < 0) & (np.abs(above) < 2.2), Tissue.MUSCLE)  # the diaphragm itself
    middle = np.hypot((canvas.x + 4) / 34, (canvas.y - 18) / 78)
    lung = (cavity < -2) & (above > 2) & (middle > 1)
    canvas.paint(everywhere, lung, Tissue.LUNG)
    vessels = np.abs(canvas.rough(everywhere, (0.3, -0.3, 1, 0))) + np.abs(canvas.rough(everywhere, (0, 0.3, 0, 1)))
    canvas.paint(everywhere, lung & (vessels < 0.16), Tissue.VEIN)
    centre = (-18 + random.normal(0, 4), 38 + random.normal(0, 3), 134)
    box, heart = canvas.ellipsoid(centre, (60, 44, 46), (0, 20, 0))
    above = above[box] > 0
    canvas.paint(box, (heart < 5) & above, Tissue.FAT)
    canvas.paint(box, (heart < 0) & above, Tissue.MUSCLE)
    for dx, dy, r in ((-26, -4, 22), (16, 14, 20), (20, -16, 18)):
        box, chamber = canvas.ellipsoid((centre[0] + dx, centre[1] + dy, centre[2] + 4), (r, r * 0.9, r * 1.2))
        canvas.paint(box, (chamber < 0) & (canvas.tissue[box] == Tissue.MUSCLE), Tissue.HEART)


def _draw_spine(canvas: Canvas, random: np.random.Generator) -> None:
    box = canvas.box((-60, -110, -400), (60, 0, 400))
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    phase = ((z + random.uniform(0, _VERTEBRA_MM)) / _VERTEBRA_MM) % 1.0
    waist = 1 - 0.10 * np.sin(np.pi * np.clip(phase, 0, 0.76) / 0.76)
    body = (np.sqrt((x / 24) ** 2 + ((y + 34) / 18) ** 2) / waist - 1) * 20
    body = np.maximum(body, np.minimum(phase, 0.76 - phase) * -_VERTEBRA_MM)
    disc = (np.sqrt((x / 23) ** 2 + ((y + 34) / 17) ** 2) - 1) * 20
    arch = np.maximum(np.abs(np.hypot(x / 1.15, y + 62) - 12.5) - 3.2, np.where(phase < 0.55, -60.0, 1.0))
    spinous = np.maximum(np.abs(x) - 3.2, np.abs(y + 84) - 13 - 4 * np.sin(6 * phase))
    spinous = np.maximum(spinous, (np.abs(phase - 0.35) - 0.3) * _VERTEBRA_MM)
    transverse = np.hypot((y + 60 + 0.12 * np.abs(x)) / 1.2, (phase - 0.4) * _VERTEBRA_MM) - 5
    transverse = np.maximum(transverse, np.maximum(np.abs(x) - 40, 14 - np.abs(x)))
    bone = np.minimum(np.minimum(body, arch), np.minimum(spinous, transverse))
    canvas.paint(box, disc < 0, Tissue.DISC)
    canvas.paint(box, np.hypot(x / 1.15, y + 62) < 10.5, Tissue.FAT)
    canvas.paint(box, np.hypot(x / 1.1, y + 62) < 7.5, Tissue.SPINAL_CORD)
    canvas.paint(box, bone < 0, Tissue.CORTICAL_BONE)
    canvas.paint(box, bone < -2.0, Tissue.MARROW)


def _draw_ribs(canvas: Canvas, wall: np.ndarray, random: np.random.Generator) -> None:
    """Ribs run down and forward in the wall; in front, above the costal margin, they end in cartilage."""
    from_back = np.arctan2(np.abs(canvas.x), -(canvas.y + 20)) / np.float32(np.pi)  # 0 behind, 1 in front
    along = canvas.z + 135 * from_back + random.uniform(0, _RIB_MM)
    height = (along / _RIB_MM) % 1.0 - 0.5
    rib = np.hypot((wall + 6) / 4.4, height * _RIB_MM / 7) - 1
    margin = np.interp(from_back, (0, 0.35, 0.6, 0.85, 1), (-25, -22, 0, 55, 85)).astype(np.float32)
    shown = (canvas.z > margin) & (from_back > 0.14)
    everywhere = canvas.everywhere()
    in_front = from_back > 0.80
    canvas.paint(everywhere, (rib < 0) & shown & in_front, Tissue.CARTILAGE)
    canvas.paint(everywhere, (rib < 0) & shown & ~in_front, Tissue.CORTICAL_BONE)
    canvas.paint(everywhere, (rib < -0.42) & shown & ~in_front, Tissue.MARROW)
    sternum = np.maximum(np.abs(canvas.x) - 15, np.abs(wall + 6) - 5)
    sternum = np.maximum(sternum, 92 - canvas.z)
    canvas.paint(everywhere, sternum < 0, Tissue.CORTICAL_BONE)
    canvas.paint(everywhere, sternum < -2, Tissue.MARROW)


def _draw_pelvis(canvas: Canvas) -> None:
    """The upper parts of the iliac wings: two plates that lean outwards and end in a curved crest."""
    box = canvas.box((-130, -100, -400), (130, 60, -70))
    x, y, z = np.abs(canvas.x[box]), canvas.y[box], canvas.z[box]
    lean = 0.86 * (x - 80) - 0.5 * (z + 140) + 16 * ((y + 20) / 60) ** 2
    crest = (np.hypot((y + 18) / 72, (z + 190) / 98) - 1) * 80
    wing = np.maximum(np.abs(lean) - 5.5, crest)
    canvas.paint(box, wing < 0, Tissue.CORTICAL_BONE)
    canvas.paint(box, wing < -2.2, Tissue.MARROW)


def _draw_bowel(canvas: Canvas, cavity: np.ndarray, random: np.random.Generator) -> None:
    """Winding loops of small bowel, and the colon as a frame around them."""
    box = canvas.box((-110, -20, -200), (100, 90, 40))
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    room = (cavity[box] < -7) & (y > -18) & (z < np.where(x < -20, 30, -8))
    room &= np.hypot(np.abs(x) - 38, y + 38) > 30  # not in the psoas
    loops = canvas.rough(box, (0.30, 0, 1, -0.30))
    other = canvas.rough(box, (0, 0.30, -0.30, 1))
    wall = room & ((loops > 0.05) | (other > 0.45))
    lumen = room & ((loops > 0.32) | (other > 0.72))
    canvas.paint(box, wall, Tissue.WALL)
    canvas.paint(box, lumen, Tissue.FLUID)
    canvas.paint(box, lumen & (loops > 1.3) & (y > 25), Tissue.GAS)
    vessels = room & (np.hypot(loops + 0.6, other + 0.3) < 0.14)
    canvas.paint(box, vessels, Tissue.VEIN)

    wide = random.uniform(15, 24)
    frame = [
        (92, -8, -190), (98, -2, -120), (94, 8, -70), (80, 34, -50), (40, 62, -62), (0, 68, -72), (-45, 62, -58),
        (-82, 32, -20), (-98, -14, 2), (-100, -24, -50), (-98, -20, -120), (-90, -8, -190),
    ]  # fmt: skip
    radii = [wide * f for f in (1.15, 1.2, 1.1, 1, 0.9, 0.85, 0.8, 0.8, 0.75, 0.7, 0.65, 0.65)]
    box, colon = canvas.tube(frame, radii)
    colon = colon + 2.4 * np.sin(canvas.x[box] / 6 + canvas.z[box] / 6) + canvas.rough(box, (0, 0, 1.5, 1.0))
    colon = np.maximum(colon, cavity[box] + 2)
    canvas.paint(box, colon < 0, Tissue.WALL)
    inside = colon < -2.6
    canvas.paint(box, inside, Tissue.FAECES)
    gas = inside & ((canvas.rough(box, (1, 0, 0.6, 0)) > 0.35) | (canvas.y[box] > 52))
    canvas.paint(box, gas, Tissue.GAS)


def _draw_twigs(canvas: Canvas, cavity: np.ndarray) -> None:
    """Small vessels in the fat between the organs: where two random fields are both near a value, a thread runs."""
    everywhere = canvas.everywhere()
    first, second = (canvas.rough(everywhere, w) for w in ((0, 0.5, 0, -1), (-0.5, 0, 1, 0)))
    threads = np.minimum(np.hypot(first - 0.2, second + 0.3), np.hypot(first + 0.9, second - 0.6)) < 0.2
    canvas.paint(everywhere, threads & (cavity < -5) & (canvas.tissue == Tissue.FAT), Tissue.VEIN)
