"""Networks as methods see them: scores of the classes, and the features they are made from."""

from __future__ import annotations

from typing import Any

from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.nets.slices import SliceBasicUNet, features_of_volume, from_slices, into_slices
from SSLSegmentationLib.models.networks import check_network, construct, single_output

Features = dict[str, Tensor | list[Tensor]]

_BASIC_WIDTHS = (32, 32, 64, 128, 256, 32)  # of MONAI's BasicUNet: five levels, and the last features


class Backbone(nn.Module):
    """A network and the definition that a model package builds it from.

    `definition` and the state of `network` are what the package holds. All tensors are (batch, channel, i, j, k).
    """

    def __init__(self, definition: dict[str, Any], network: nn.Module) -> None:
        super().__init__()
        self.definition = definition
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return single_output(self.network, self.definition["_target_"])(image)

    def features(self, image: Tensor) -> Features:
        """`logits`, `feat` (what the classifier sees, before its drop-out), `bottleneck`, and `skips` from fine on."""
        if hasattr(self.network, "features"):
            return self.network.features(image)
        if isinstance(self.network, SliceBasicUNet):
            return features_of_volume(_features_of_basic(self.network, into_slices(image)), image.shape[-1])
        if isinstance(self.network, BasicUNet):
            return _features_of_basic(self.network, image)
        raise self._unknown()

    def bottleneck(self, image: Tensor) -> Tensor:
        """The `bottleneck` of the features alone, for methods that train the encoder: the decoder does no work."""
        if hasattr(self.network, "bottleneck"):
            return self.network.bottleneck(image)
        if isinstance(self.network, SliceBasicUNet):
            return from_slices(_levels_of_basic(self.network, into_slices(image))[-1], image.shape[-1])
        if isinstance(self.network, BasicUNet):
            return _levels_of_basic(self.network, image)[-1]
        raise self._unknown()

    def _unknown(self) -> InputError:
        return InputError(
            f"The features of {self.definition['_target_']} are not known, which this method looks at: "
            "choose BasicUNet, SliceBasicUNet, SliceUNet, VNet3D, FoldedVNet3D, ResVNet3D or WSResUNet3D."
        )

    def channels(self) -> dict[str, int]:
        """Number of channels of `feat` and `bottleneck`, which heads are built for."""
        if isinstance(self.network, BasicUNet):
            *_, bottleneck, feat = self.definition.get("features", _BASIC_WIDTHS)
            return {"feat": feat, "bottleneck": bottleneck}
        return self.network.channels


class Peers(Backbone):
    """Two networks of different making, or of different beginnings, that segment together with their mean softmax."""

    @property
    def first(self) -> Backbone:
        return self._peer("first")

    @property
    def second(self) -> Backbone:
        return self._peer("second")

    def _peer(self, which: str) -> Backbone:
        told = dict(self.definition[which])
        definition = {"_target_": told.pop("network"), **told, "out_channels": self.definition["out_channels"]}
        return Backbone(definition, getattr(self.network, which))


def build(definition: dict[str, Any], where: str = "The plan") -> Backbone:
    """The network of a definition (`_target_` and arguments), with weights from torch's random numbers."""
    definition = check_network(definition, where)
    kind = Peers if definition["_target_"] == "Peers" else Backbone
    return kind(definition, construct(definition, where))


def build_peers(first: dict[str, Any], second: dict[str, Any]) -> Peers:
    """Two networks side by side, for definitions of the same number of classes."""
    told = [
        {"network": peer["_target_"], **{key: value for key, value in peer.items() if key != "_target_"}}
        for peer in (first, second)
    ]
    definition = {"_target_": "Peers", "out_channels": first["out_channels"], "first": told[0], "second": told[1]}
    return Peers(definition, construct(check_network(definition, "The plan"), "The plan"))


def divisors(definition: dict[str, Any]) -> tuple[int, int, int]:
    """What the sides of a patch have to be multiples of, for this network: powers of 2."""
    name = definition["_target_"]
    if name == "Peers":
        peers = [{"_target_": definition[which]["network"], **definition[which]} for which in ("first", "second")]
        return tuple(max(sides) for sides in zip(*map(divisors, peers), strict=True))
    levels = len(definition.get("widths", range(4 if name in {"WSResUNet3D", "FoldedVNet3D"} else 5)))
    levels += name == "FoldedVNet3D"  # folding halves the grid once more
    return (2 ** (levels - 1), 2 ** (levels - 1), 1 if name.startswith("Slice") else 2 ** (levels - 1))


def _features_of_basic(network: BasicUNet, image: Tensor) -> Features:
    skips = _levels_of_basic(network, image)
    x = bottleneck = skips.pop()
    for up, skip in zip(
        (network.upcat_4, network.upcat_3, network.upcat_2, network.upcat_1), reversed(skips), strict=True
    ):
        x = up(x, skip)
    return {"logits": network.final_conv(x), "feat": x, "bottleneck": bottleneck, "skips": skips}


def _levels_of_basic(network: BasicUNet, image: Tensor) -> list[Tensor]:
    """The levels of its encoder, from fine on."""
    levels = [network.conv_0(image)]
    for down in (network.down_1, network.down_2, network.down_3, network.down_4):
        levels.append(down(levels[-1]))
    return levels
