"""From tissues to Hounsfield units: enhancement, texture, the blur of kernel and slice thickness, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SSLSegmentationLib.phantom.canvas import Canvas, Tissue

# Hounsfield units without contrast, what a portal venous phase adds, and how much the tissue is mottled.
_TISSUES: dict[Tissue, tuple[float, float, float]] = {
    Tissue.AIR: (-1000, 0, 0),
    Tissue.FAT: (-106, 0, 7),
    Tissue.SKIN: (10, 10, 10),
    Tissue.MUSCLE: (52, 10, 14),
    Tissue.CORTICAL_BONE: (620, 0, 110),
    Tissue.MARROW: (170, 15, 45),
    Tissue.DISC: (85, 0, 8),
    Tissue.CARTILAGE: (120, 0, 25),
    Tissue.LUNG: (-855, 5, 22),
    Tissue.SPINAL_CORD: (30, 5, 4),
    Tissue.ARTERY: (42, 118, 3),
    Tissue.VEIN: (40, 95, 4),
    Tissue.PORTAL: (42, 130, 4),
    Tissue.LIVER: (56, 54, 6),
    Tissue.LIVER_VESSEL: (45, 95, 6),
    Tissue.LESION: (28, 24, 8),
    Tissue.SPLEEN: (48, 72, 5),
    Tissue.CORTEX: (34, 140, 8),
    Tissue.MEDULLA: (30, 105, 8),
    Tissue.URINE: (8, 8, 3),
    Tissue.BILE: (9, 2, 3),
    Tissue.WALL: (38, 42, 8),
    Tissue.FLUID: (22, 0, 10),
    Tissue.GAS: (-960, 0, 0),
    Tissue.FAECES: (-20, 0, 110),
    Tissue.PANCREAS: (40, 55, 16),
    Tissue.ADRENAL: (22, 42, 5),
    Tissue.HEART: (42, 95, 4),
    Tissue.TABLE: (260, 0, 20),
    Tissue.FOAM: (-940, 0, 5),
}


@dataclass(frozen=True)
class Protocol:
    """How this patient was scanned."""

    enhancement: float
    """Times what a usual portal venous phase adds; 0 without contrast."""
    arterial: float
    """What is added to arteries and renal cortex beyond that, in HU: an earlier phase."""
    oral_contrast: float
    """What is added to the fluid in stomach and bowel, in HU."""
    sharpness_mm: float
    """Standard deviation of the reconstruction's blur in the slice."""
    noise: float
    """Standard deviation in HU."""
    shifts: np.ndarray
    """What makes this patient's tissues differ from the table, in HU, by tissue."""

    @classmethod
    def drawn(cls, random: np.random.Generator, with_contrast: bool) -> Protocol:
        enhancement = random.uniform(0.75, 1.3)
        arterial = random.uniform(-10, 70)
        oral = random.choice((0.0, 0.0, 1.0)) * random.uniform(100, 230)
        return cls(
            enhancement=float(enhancement) if with_contrast else 0.0,
            arterial=float(arterial) if with_contrast else 0.0,
            oral_contrast=float(oral),
            sharpness_mm=float(random.uniform(0.7, 1.2)),
            noise=float(random.uniform(7, 15)),
            shifts=random.normal(0, 5, len(Tissue)),
        )


def scan(canvas: Canvas, protocol: Protocol, spacing: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The voxels of the CT, (k, j, i), int16."""
    from scipy.ndimage import gaussian_filter

    plain, added, mottle = (np.array([_TISSUES[t][n] for t in Tissue], np.float32) for n in range(3))
    units = plain + protocol.enhancement * added
    body = [t for t in Tissue if t not in (Tissue.AIR, Tissue.GAS, Tissue.FOAM, Tissue.TABLE)]
    units[body] += protocol.shifts[body].astype(np.float32)
    for tissue, share in ((Tissue.ARTERY, 1.0), (Tissue.CORTEX, 0.6), (Tissue.HEART, 0.6), (Tissue.SPLEEN, 0.2)):
        units[tissue] += protocol.arterial * share
    units[Tissue.FLUID] += protocol.oral_contrast

    grain = 2.2 / spacing[::-1]
    texture = gaussian_filter(random.standard_normal(canvas.shape, np.float32), grain, mode="nearest")
    texture /= texture.std()
    image = units[canvas.tissue] + mottle[canvas.tissue] * texture
    # Slices are as thick as they are apart; within a slice the kernel decides.
    blur_mm = np.array([max(0.42 * spacing[2], 0.5), protocol.sharpness_mm, protocol.sharpness_mm])
    image = gaussian_filter(image, blur_mm / spacing[::-1], mode="nearest")
    # Filtered backprojection leaves noise that is grainy, not smooth: a little blur, scaled back to its strength.
    noise = gaussian_filter(random.standard_normal(canvas.shape, np.float32), 0.55, mode="nearest")
    image += noise * (protocol.noise / noise.std())
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)
