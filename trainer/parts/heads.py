"""Small networks on top of a backbone, used while pre-training and thrown away afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.parts.contrast import in_full, unit

# Heads normalise over the rows of the batch, in volumes as well, of which there are few. What an encoder with instance
# normalisation gives is nearly the same for every image, and where each row is normalised by itself it stays so: then
# methods without negatives have nothing to do. The mean of the batch, taken away, leaves what differs.


def global_vector(bottleneck: Tensor) -> Tensor:
    """The mean over space: one vector (batch, channel) an image."""
    return bottleneck.float().mean((2, 3, 4))


class MLPProjector(nn.Sequential):
    """Linear → norm → ReLU, `layers` − 1 times, and a last Linear: C → hidden → … → out. Rows in, rows out.

    BYOL's predictor has the same form. Computed in full precision: the rows may differ in their third digit only.
    """

    def __init__(self, channels: int, hidden: int, out: int, *, layers: int = 2, norm: bool = True) -> None:
        steps: list[nn.Module] = []
        for _ in range(layers - 1):
            steps += [nn.Linear(channels, hidden), *([nn.BatchNorm1d(hidden)] if norm else []), nn.ReLU()]
            channels = hidden
        super().__init__(*steps, nn.Linear(channels, out))

    def forward(self, rows: Tensor) -> Tensor:
        with in_full(rows):
            return super().forward(rows.float())


def at_every_pixel(head: nn.Module, features: Tensor) -> Tensor:
    """(batch, channel, i, j, k) of what a head for rows makes of each pixel of a map."""
    pixels = features.movedim(1, -1)
    return head(pixels.flatten(0, -2)).unflatten(0, pixels.shape[:-1]).movedim(-1, 1)


class Stabiliser(nn.Module):
    """Predicts from a pixel's features in one view what they are in the other, and how sure it is of that.

    Dropout → Linear → norm → ReLU → Dropout → Linear on rows of pixels, which is a 1×1 convolution of those pixels
    alone. It may learn how features change with the context, so that the backbone does not have to forget the context.
    """

    def __init__(self, channels: int, hidden: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, channels),
        )

    def forward(self, pixels: Tensor, passes: int) -> tuple[Tensor, Tensor]:
        """Mean q̄ of the normalised outputs of `passes` random passes, and their variance u.

        u is the mean over channels of the variance over passes. All passes are one call on a longer batch, so that
        normalisation sees them together.
        """
        outputs = unit(self.layers(pixels.repeat(passes, 1))).unflatten(0, (passes, len(pixels)))
        mean = outputs.mean(0)
        return mean, (outputs - mean).square().mean((0, -1))


class Propagation(nn.Module):
    """PixPro's pixel propagation: y_i = Σ_j max(cos(x_i, x_j), 0)² · g(x_j) over the pixels of the same view.

    The baseline that the stabiliser is compared with; g is a 1×1 convolution.
    """

    def __init__(self, channels: int, *, sharpness: float = 2.0) -> None:
        super().__init__()
        self.transform = nn.Conv3d(channels, channels, 1)
        self.sharpness = sharpness

    def forward(self, features: Tensor) -> Tensor:
        rows = unit(features.flatten(2), dim=1)
        values = self.transform(features).float().flatten(2)
        with in_full(rows):
            attention = torch.einsum("bcm,bcn->bmn", rows, rows).clamp(min=0) ** self.sharpness
            return torch.einsum("bmn,bcn->bcm", attention, values).unflatten(2, features.shape[2:])


class RestorationHead(nn.Sequential):
    """Predicts the clean image from the last decoder features: 3³ conv → ReLU → 1×1 conv (3² where k is one slice)."""

    def __init__(self, channels: int, hidden: int = 16, *, dims: int = 3) -> None:
        kernel = (3, 3, 3 if dims == 3 else 1)
        around = nn.Conv3d(channels, hidden, kernel, padding=tuple(side // 2 for side in kernel))
        super().__init__(around, nn.ReLU(), nn.Conv3d(hidden, 1, 1))
