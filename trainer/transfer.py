"""Starting from what was learnt before: from another run, from a pre-training, or from a model package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.read import METADATA, read_package
from SSLSegmentationLib.models.weights import check_weights
from trainer.methods import method_class
from trainer.methods.base import Method
from trainer.networks import Backbone, Peers
from trainer.run import SETTINGS, Run
from trainer.saving import trained, trained_result


@dataclass(frozen=True, eq=False)
class Source:
    """Weights by name, and where they come from in words."""

    words: str
    state: dict[str, Tensor]


def read_source(path: Path | str) -> Source:
    """What is in a run's folder, its checkpoint, or a model package."""
    path = Path(path).expanduser()
    if path.suffix == ".ckpt" and (path.parent.parent / SETTINGS).is_file():
        path = path.parent.parent
    if (path / SETTINGS).is_file():
        run = Run(path)
        if method_class(run.recipe.method).pretraining:
            return Source(f"the pre-training {path.name} ({run.recipe.method})", dict(trained(run).transferable()))
        state = trained_result(run).network.state_dict()
        return Source(f"the run {path.name} ({run.recipe.method})", dict(state))
    if (path / METADATA).is_file():
        package = read_package(path)
        return Source(f"the package {package.id} {package.version}".rstrip(), check_weights(package))
    raise InputError(f"{path} is neither a run, nor its checkpoint, nor a model package: correct --from.")


@torch.no_grad()
def load_into(network: nn.Module, state: dict[str, Tensor]) -> tuple[list[str], list[str]]:
    """Copy all tensors that have the same name and shape; the names that were loaded, and those that stay new."""
    own = network.state_dict()
    fitting = [name for name, tensor in own.items() if name in state and state[name].shape == tensor.shape]
    for name in fitting:
        own[name].copy_(state[name])
    return fitting, [name for name in own if name not in set(fitting)]


def start_from(method: Method, source: Source, share: float = 0.0) -> str:
    """Put the weights into the method's network and say in words what was loaded and what is new.

    Of peers each begins with what fits it where the source is a single network. Where the start shall have a `share`
    in the result, all weights have to come from it: a mean with random numbers would be worth nothing.
    """
    backbone = method.learner()
    if backbone is None:
        raise InputError("A pre-training begins from nothing: leave --from out, or choose a method that segments.")
    loaded, new, total = 0, [], 0
    parts = _parts(backbone, source.state)
    for prefix, part in parts.items():
        fitting, left = load_into(part, source.state)
        sizes = {name: tensor.numel() for name, tensor in part.state_dict().items()}
        loaded += sum(sizes[name] for name in fitting)
        total += sum(sizes.values())
        new += [prefix + name for name in left]
    if loaded < 0.1 * total:
        raise InputError(
            f"Of {source.words}, only {loaded / total:.0%} of the weights fit the network of the plan: "
            "give the plan the network that was trained before, or leave --from out."
        )
    if len(parts) > 1 and not new:
        raise InputError(
            f"Both networks would begin as {source.words}, and could learn nothing from each other: "
            "start from a pre-training, or from a run of the same method."
        )
    if new and share:
        raise InputError(
            f"{source.words} has no weights for {_named(new)}, so it cannot have a share in the result: "
            "leave start_share out, or start from a run of the same network."
        )
    copy_to_followers(method, backbone)
    kept = f"{loaded / total:.0%} of the network's {total:,} weights come from {source.words}"
    return kept + (f"; new are {_named(new)}." if new else "; nothing is new.")


def copy_to_followers(method: Method, backbone: Backbone) -> None:
    """Teachers that follow the network have to begin where it begins."""
    for module in method.modules():
        if module is not method and hasattr(module, "update") and hasattr(module, "network"):
            follower = module.network
            target = backbone if isinstance(follower, Backbone) else backbone.network
            if follower.state_dict().keys() == target.state_dict().keys():
                follower.load_state_dict(target.state_dict())


def _parts(backbone: Backbone, state: dict[str, Tensor]) -> dict[str, nn.Module]:
    """The networks that the weights are for, by what the names of their weights begin with."""
    if isinstance(backbone, Peers) and not any(name.startswith(("first.", "second.")) for name in state):
        return {"first.": backbone.network.first, "second.": backbone.network.second}
    return {"": backbone.network}


def _named(names: list[str]) -> str:
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    shown = ", ".join(layers[:4])
    return shown + (f" and {len(layers) - 4} more layers" if len(layers) > 4 else "")
