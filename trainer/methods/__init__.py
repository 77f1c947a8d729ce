"""The methods by the name the command line and the presets use. A class is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from SSLSegmentationLib.errors import InputError

if TYPE_CHECKING:
    from trainer.methods.base import Method

METHODS: dict[str, str] = {
    "supervised": "trainer.methods.supervised:Supervised",
    "mean_teacher": "trainer.methods.mean_teacher:MeanTeacher",
    "ua_mt": "trainer.methods.ua_mt:UncertaintyAwareMeanTeacher",
    "cross_pseudo": "trainer.methods.cross_pseudo:CrossPseudo",
    "ssl_contrastive": "trainer.methods.ssl_contrastive:SSLContrastive",
    "dual_networks": "trainer.methods.dual_networks:DualNetworks",
    "dual_ssl": "trainer.methods.dual_ssl:DualSSL",
    "pixel_global": "trainer.methods.pixel_global:PixelGlobal",
    "polycl": "trainer.methods.polycl:PolyCL",
    "simclr": "trainer.methods.simclr:SimCLR",
    "models_genesis": "trainer.methods.models_genesis:ModelsGenesis",
    "clicks": "trainer.methods.clicks:Clicks",
}
"""`name: "module:Class"`, one line a method."""


def method_class(name: str) -> type[Method]:
    if name not in METHODS:
        raise InputError(f'There is no method "{name}": choose one of {", ".join(METHODS)}.')
    module, _, kind = METHODS[name].partition(":")
    return getattr(import_module(module), kind)
