"""Muon: gradient descent whose steps treat all directions of a weight matrix alike.

The momentum of every matrix is replaced by the orthogonal matrix nearest to it (Jordan et al. 2024), scaled so that its
entries are as large as those of Adam's steps are (Liu et al. 2025, arXiv 2502.16982): learning rates of AdamW serve for
both. Kernels of convolutions are matrices of output channels by all that each sees. Biases, norms and the like are no
matrices, and get AdamW's step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: quick, though singular values end between 0.7 and 1.2
_ROUNDS = 5
_LIKE_ADAM = 0.2
_BETAS, _EPSILON = (0.9, 0.95), 1e-8


class Muon(torch.optim.Optimizer):
    """`half`: matrices are made orthogonal in bf16, as Jordan's are: a third of the work, and precise enough."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        half: bool = False,
    ) -> None:
        self._format = torch.bfloat16 if half else torch.float32
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix = weight.dim() > 1 and weight.shape[0] > 1
                    change = self._turned(weight, group["momentum"]) if matrix else self._adam(weight)
                    weight.sub_(group["lr"] * change)
        return loss

    def _turned(self, weight: Tensor, momentum: float) -> Tensor:
        state = self.state[weight]
        mean = state.setdefault("mean", torch.zeros_like(weight))
        mean.lerp_(weight.grad, 1 - momentum)
        ahead = weight.grad.lerp(mean, momentum).flatten(1)  # Nesterov's
        return (_LIKE_ADAM * max(ahead.shape) ** 0.5 * orthogonal(ahead.to(self._format))).view_as(weight)

    def _adam(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state |= {"count": 0, "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        state["count"] += 1
        first, second = _BETAS
        state["mean"].lerp_(weight.grad, 1 - first)
        state["square"].lerp_(weight.grad.square(), 1 - second)
        mean = state["mean"] / (1 - first ** state["count"])
        return mean / ((state["square"] / (1 - second ** state["count"])).sqrt() + _EPSILON)


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the orthogonal matrix that is nearest to this one, by a few rounds of Newton and Schulz."""
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ROUNDS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide else x.T
