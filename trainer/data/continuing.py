"""The plan for training a model on: the data are new, and what the network sees and says stays as it was."""

from __future__ import annotations

from dataclasses import replace

from SSLSegmentationLib.models.package import ModelPackage
from trainer.data.plan import Plan


def continuing(proposal: Plan, package: ModelPackage) -> Plan:
    """The proposal for the data, with network, grid, intensities and order of classes of the package.

    Labels are matched by name, those that the package does not know come last. Where the data name the same labels as
    the package, as a dataset does that was begun with it, every weight of the package fits.
    """
    place = {label.name.lower(): number for number, label in enumerate(package.labels)}
    labels = tuple(sorted(proposal.labels, key=lambda label: place.get(label.name.lower(), len(place))))
    return replace(
        proposal,
        modality=package.modality or proposal.modality,
        labels=labels,
        preprocessing=package.preprocessing,
        patch=package.sliding.patch,
        dims=2 if package.sliding.patch[2] == 1 else 3,
        network=_with_classes(package.network, len(labels) + 1),
        overlap=package.sliding.overlap,
        padding=package.sliding.padding,
    )


def _with_classes(network: dict, classes: int) -> dict:
    return {**network, "out_channels": classes} if "out_channels" in network else network
