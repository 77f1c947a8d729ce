"""Which device and which program to use when the user does not say."""

from __future__ import annotations

from SSLSegmentationLib.errors import InputError


def choose_device(wanted: str = "auto") -> str:
    """A device that is there: the one the user named, or the fastest kind of this machine."""
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(kind for kind, there in has.items() if there)
    kind, colon, number = wanted.partition(":")
    numbered = number.isdecimal() and kind == "cuda" and int(number) < torch.cuda.device_count()
    if not has.get(kind, False) or (colon and not numbered):
        there = ", ".join(kind for kind, there in has.items() if there)
        raise InputError(f'The device "{wanted}" is not available: choose one of {there}.')
    return wanted


def describe_device(device: str) -> str:
    """The device in words, for reports."""
    import platform

    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device == "mps":
        return "Apple GPU"
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
