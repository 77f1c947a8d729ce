"""What a bundle of the MONAI Model Zoo says about its model, in our words.

Only what can be reproduced is accepted. A transform or an argument that would make the result differ from what the
authors measured is refused by its name.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.models.configs import Config, inside
from SSLSegmentationLib.models.networks import check_network, network_name
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing, Sliding

_WAY_OUT = (
    'choose another model, or say what it does in our own words under "sslsegmentation" in its configs/metadata.json'
)
_UPRIGHT = re.compile(r"(?=.*[LR])(?=.*[PA])(?=.*[IS])[LRPAIS]{3}")


def network(config: Config) -> dict[str, Any]:
    """The definition of the network; its class is looked at first, being the most telling reason for a refusal."""
    target = config.shallow("network_def")
    if not isinstance(target, dict):
        raise config.refuse("network_def", "defines no network: get the package again.")
    network_name(target.get("_target_"), config.where)
    return check_network(config.get("network_def"), config.where)


def preprocessing(config: Config) -> Preprocessing:
    """What the transforms before the network do, if ours can do the same."""
    done = _Done()
    for step in _steps(config, "preprocessing"):
        if step.name in _WITHOUT_EFFECT or step.only_for({"label", "mask", "seg"}):
            continue
        if step.name not in _BEFORE:
            raise step.refuse("cannot be reproduced here")
        _BEFORE[step.name](step, done)
    if not done.orientation:
        raise config.refuse(
            "preprocessing", f"does not turn the scan to a fixed orientation (no Orientationd): {_WAY_OUT}."
        )
    return Preprocessing(done.orientation, done.spacing, _chain(done.rules), antialias=False, crop_to_body=done.cropped)


def sliding(config: Config) -> Sliding:
    """The windows of the bundle's inferer."""
    name = _short_name(config.get("inferer#_target_"))
    if name not in {"SlidingWindowInferer", "SlidingWindowInfererAdapt"}:
        raise config.refuse("inferer", f"is {name}, but only sliding windows are known here: {_WAY_OUT}.")
    step = _Step(config, "inferer", name)
    sides = step.take("roi_size", None)
    sides = [sides] * 3 if isinstance(sides, int) else sides
    if not isinstance(sides, list) or len(sides) != 3 or not all(isinstance(n, int) and n > 0 for n in sides):
        raise step.refuse(f"has the roi_size {sides}, but three numbers of voxels are needed")
    overlap = step.take("overlap", 0.25)
    if isinstance(overlap, list):
        if any(part != overlap[0] for part in overlap) or not overlap:
            raise step.refuse(f"has a different overlap for each axis ({overlap})")
        overlap = overlap[0]
    step.expect("sigma_scale", {0.125})
    step.expect("cval", {0})
    return Sliding(
        patch=tuple(sides),
        overlap=_number(step, "overlap", overlap),
        weighting=step.choose("mode", "constant", {"constant": "constant", "gaussian": "gaussian"}),
        padding=step.choose("padding_mode", "constant", {"constant": "zero", "replicate": "edge"}),
    )


def finishing(config: Config, channels: int) -> tuple[Literal["softmax", "sigmoid"], tuple[int, ...]]:
    """How the outputs become labels, and the labels of which only the largest component is kept."""
    activation: Literal["softmax", "sigmoid"] = "softmax" if channels > 1 else "sigmoid"
    largest: tuple[int, ...] = ()
    for step in _steps(config, "postprocessing") if config.has("postprocessing") else ():
        if step.name in _WITHOUT_EFFECT_AFTER or step.only_for({"label", "image"}):
            continue
        if step.name == "Activations":
            step.expect("other", {None})
            if step.flag("sigmoid") and channels > 1:
                raise step.refuse(f"makes {channels} labels that may overlap, where one label a voxel is known here")
        elif step.name == "AsDiscrete":
            step.expect("rounding", {None})
            if step.take("threshold", None) is not None and channels > 1:
                raise step.refuse(f"makes {channels} labels that may overlap, where one label a voxel is known here")
            step.expect("threshold", {None, 0.5})
        elif step.name == "KeepLargestConnectedComponent":
            largest = _largest(step, channels)
        else:
            raise step.refuse("cannot be reproduced here")
    return activation, largest


def labels(metadata: dict[str, Any], channels: int, where: str) -> tuple[Label, ...]:
    """A label for each output channel but the background, with the names of the metadata."""
    names = _data_format(metadata, "outputs", "pred", where)
    names = names.get("channel_def", names.get("label_def", {}))
    if not isinstance(names, dict):
        raise InputError(f'{where}: "channel_def" of the output is no table of names: correct it.')
    if channels == 1:  # the only channel is the object itself
        return (Label(1, str(names.get("1", names.get("0", "object"))), color(1)),)
    return tuple(Label(v, str(names.get(str(v), f"label {v}")), color(v)) for v in range(1, channels))


def modality(metadata: dict[str, Any], where: str) -> str:
    """DICOM's code of the scans the network was trained on; refuses networks that want several scans at once."""
    image = _data_format(metadata, "inputs", "image", where)
    count = image.get("num_channels", 1)
    if count != 1:
        names = image.get("channel_def")
        names = f" ({', '.join(map(str, names.values()))})" if isinstance(names, dict) and len(names) == count else ""
        raise InputError(f"{where}: the network takes {count} scans at once{names}, but one is given: choose another.")
    code = str(image.get("modality", "")).upper()
    return {"MRI": "MR", "NONE": "", "N/A": "", "ANY": ""}.get(code, code)


def weights(folder: Path) -> tuple[Path, ...]:
    """The weights file of a bundle, by the name they all use or as the only one of its kind."""
    where = folder.name
    for name in ("models/model.safetensors", "models/model.pt"):
        if (folder / name).exists():
            return (inside(folder, name, where),)
    found = sorted(p for p in (folder / "models").glob("*") if p.suffix in {".safetensors", ".pt", ".pth", ".ts"})
    usable = [p for p in found if p.suffix != ".ts"]
    if len(usable) == 1:
        return (inside(folder, f"models/{usable[0].name}", where),)
    if usable:
        listed = ", ".join(p.name for p in usable)
        raise InputError(
            f'{where} has several weights files ({listed}): name those to use in "sslsegmentation.members" '
            "of its configs/metadata.json."
        )
    if found:
        raise InputError(
            f"{where} has its weights only as TorchScript ({found[0].name}), which can run code when it is opened: "
            "get the package with its model.pt, or save the weights as models/model.safetensors."
        )
    return (folder / "models" / "model.pt",)  # read without its large files; loading says what is missing


def color(value: int) -> tuple[float, float, float]:
    """A colour for a label that has none, far from those of its neighbours."""
    hue = (value * 0.618034) % 1.0  # steps of the golden ratio never come close to an earlier hue
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.6)[value // 5 % 2], (0.95, 0.75)[value // 10 % 2])
    return round(red, 3), round(green, 3), round(blue, 3)


@dataclass
class _Done:
    """What the transforms up to here have done to the scan."""

    orientation: str = ""
    spacing: tuple[float, float, float] | None = None
    rules: list[IntensityRule] = field(default_factory=list)
    cropped: bool = False


@dataclass(frozen=True)
class _Step:
    """One transform in a configuration; its arguments are looked up only when asked for."""

    config: Config
    key: str
    name: str

    def take(self, argument: str, default: Any) -> Any:
        """The value of an argument; one given as a list of one (one for each key of the data) is that one."""
        if argument not in self.config.shallow(self.key):
            return default
        value = self.config.get(f"{self.key}#{argument}")
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    def number(self, argument: str, default: float | None = None) -> float:
        return _number(self, argument, self.take(argument, default))

    def flag(self, argument: str, default: bool = False) -> bool:
        value = self.take(argument, default)
        if not isinstance(value, bool):
            raise self.refuse(f"has {argument} {value!r} where true or false is needed")
        return value

    def choose(self, argument: str, default: str, known: dict[str, Any]) -> Any:
        value = self.take(argument, default)
        if not isinstance(value, str) or value not in known:
            raise self.refuse(f"has the {argument} {value!r}, which cannot be reproduced here")
        return known[value]

    def expect(self, argument: str, accepted: set[Any]) -> None:
        """Refuse a value other than these for an argument that changes the result."""
        value = self.take(argument, next(iter(accepted)))
        if isinstance(value, (list, dict)) or value not in accepted:
            raise self.refuse(f"has {argument} {value!r}, which cannot be reproduced here")

    def only_for(self, others: set[str]) -> bool:
        keys = self.take("keys", [])
        keys = [keys] if isinstance(keys, str) else keys
        return isinstance(keys, list) and bool(keys) and all(isinstance(key, str) and key in others for key in keys)

    def refuse(self, fact: str) -> InputError:
        return self.config.refuse(self.key, f"({self.name}) {fact}: {_WAY_OUT}.")


def _steps(config: Config, section: str) -> list[_Step]:
    """The transforms of a section in their order, without those that are switched off."""
    key = section
    content = config.shallow(key)
    if isinstance(content, dict) and _short_name(content.get("_target_")) == "Compose":
        key = f"{section}#transforms"
        content = config.shallow(key)
    if isinstance(content, dict):
        return [_Step(config, key, _transform_name(config, key))]
    if not isinstance(content, list):
        raise config.refuse(key, f"is no list of transforms: {_WAY_OUT}.")
    keys = [f"{key}#{index}" for index in range(len(content))]
    return [_Step(config, at, _transform_name(config, at)) for at in keys if not _switched_off(config, at)]


def _switched_off(config: Config, key: str) -> bool:
    step = config.shallow(key)
    return isinstance(step, dict) and "_disabled_" in step and config.get(f"{key}#_disabled_") in (True, "true", "True")


def _transform_name(config: Config, key: str) -> str:
    """The name without the ending that marks the variant for dictionaries: LoadImaged is LoadImage."""
    step = config.shallow(key)
    if not isinstance(step, dict) or "_target_" not in step:
        raise config.refuse(key, f"is no transform: {_WAY_OUT}.")
    name = _short_name(config.get(f"{key}#_target_"))
    plain = re.sub(r"(d|D|Dict)$", "", name)
    return plain if plain in _BEFORE or plain in _AFTER or plain in _WITHOUT_EFFECT_AFTER else name


def _short_name(target: Any) -> str:
    """The class of a `_target_` of MONAI; the whole of it for anybody else's, so that it is taken for no other."""
    text = str(target)
    return text.rpartition(".")[2] if re.fullmatch(r"(monai\.(\w+\.)*)?\w+", text) else text


def _number(step: _Step, argument: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise step.refuse(f"has {argument} {value!r} where a number is needed")
    return float(value)


def _load(step: _Step, _done: _Done) -> None:
    keys = step.take("keys", "image")
    wanted = [key for key in keys if key not in ("label", "mask", "seg")] if isinstance(keys, list) else [keys]
    if len(wanted) != 1:
        raise step.refuse(f"reads several scans at once ({', '.join(map(str, wanted))})")


def _channel_first(step: _Step, _done: _Done) -> None:
    step.expect("channel_dim", {"no_channel", None})


def _cast(step: _Step, _done: _Done) -> None:
    step.expect("dtype", {"float32", "float", None})


def _orient(step: _Step, done: _Done) -> None:
    if done.spacing and len(set(done.spacing)) > 1:
        raise step.refuse("turns the scan after it was resampled to a spacing that differs between its axes")
    if step.flag("as_closest_canonical"):
        done.orientation = "RAS"
        return
    axcodes = step.take("axcodes", "")
    if not isinstance(axcodes, str) or not _UPRIGHT.fullmatch(axcodes):
        raise step.refuse(f"has the axcodes {axcodes!r}, which are not three letters such as RAS")
    done.orientation = axcodes


def _space(step: _Step, done: _Done) -> None:
    if any(not _commutes(rule) for rule in done.rules):
        raise step.refuse("resamples after the intensities were clipped or normalised, which gives other values")
    pixdim = step.take("pixdim", None)
    sizes = pixdim if isinstance(pixdim, list) else [pixdim] * 3
    spacing = tuple(_number(step, "pixdim", size) for size in sizes)
    if len(spacing) != 3 or min(spacing) <= 0:
        raise step.refuse(f"has the pixdim {pixdim}, but three sizes above zero are needed")
    if not done.orientation and len(set(spacing)) > 1:
        raise step.refuse("resamples before it turns the scan, so its spacing depends on how the file was stored")
    step.choose("mode", "bilinear", {"bilinear": True})
    step.expect("diagonal", {False})
    step.expect("min_pixdim", {None})
    step.expect("max_pixdim", {None})
    done.spacing = spacing


def _crop(step: _Step, done: _Done) -> None:
    step.expect("select_fn", {None})
    step.expect("channel_indices", {None})
    done.cropped = True


def _scale_range(step: _Step, done: _Done) -> None:
    low, high = step.number("a_min"), step.number("a_max")
    if low >= high:
        raise step.refuse(f"scales the empty range from {low:g} to {high:g}")
    done.rules.append(_to_output_range(step, IntensityRule("window", low, high)))


def _scale_percentiles(step: _Step, done: _Done) -> None:
    _statistics(step, done)
    step.expect("relative", {False})
    low, high = step.number("lower"), step.number("upper")
    if not 0 <= low < high <= 100:
        raise step.refuse(f"scales the percentiles from {low:g} to {high:g}")
    done.rules.append(_to_output_range(step, IntensityRule("percentile", low, high)))


def _to_output_range(step: _Step, rule: IntensityRule) -> IntensityRule:
    """MONAI scales to 0..1 without clipping where b_min or b_max are not given."""
    low, high = step.take("b_min", None), step.take("b_max", None)
    if low is None and high is None:
        if step.flag("clip"):
            raise step.refuse("clips to a range that is not given")
        return replace(rule, clip=False)
    low, high = _number(step, "b_min", low), _number(step, "b_max", high)
    if low >= high:
        raise step.refuse(f"scales to the empty range from {low:g} to {high:g}")
    return replace(rule, out_low=low, out_high=high, clip=step.flag("clip"))


def _scale(step: _Step, done: _Done) -> None:
    _statistics(step, done)
    step.expect("factor", {None})
    low, high = step.number("minv", 0.0), step.number("maxv", 1.0)
    if low >= high:
        raise step.refuse(f"scales to the empty range from {low:g} to {high:g}")
    done.rules.append(IntensityRule("percentile", 0.0, 100.0, low, high, clip=False))


def _normalize(step: _Step, done: _Done) -> None:
    nonzero = step.flag("nonzero")
    middle, width = step.take("subtrahend", None), step.take("divisor", None)
    if middle is None and width is None:
        _statistics(step, done)
        done.rules.append(IntensityRule("zscore", nonzero=nonzero))
        return
    if nonzero or middle is None or width is None:
        raise step.refuse("mixes given numbers with those of the scan")
    middle, width = _number(step, "subtrahend", middle), _number(step, "divisor", width)
    if width <= 0:
        raise step.refuse(f"has the divisor {width:g}")
    done.rules.append(IntensityRule("window", middle, middle + width, clip=False))


def _statistics(step: _Step, done: _Done) -> None:
    """Numbers of the scan are those of the whole of it here."""
    if done.cropped:
        raise step.refuse("measures the scan after it was cropped")


def _commutes(rule: IntensityRule) -> bool:
    """Whether scaling first and resampling afterwards gives the same as the other way round."""
    return rule.kind == "window" and not rule.clip


def _chain(rules: list[IntensityRule]) -> IntensityRule:
    """The rules as one, each followed by the next; without those that a later one makes meaningless."""
    needed: list[IntensityRule] = []
    for rule in rules:
        measures = rule.kind in {"percentile", "zscore"} and not rule.nonzero
        while measures and needed and _only_stretches(needed[-1]):
            needed.pop()
        needed.append(rule)
    chain: IntensityRule | None = None
    for rule in reversed(needed):
        chain = replace(rule, then=chain)
    return chain or IntensityRule("none")


def _only_stretches(rule: IntensityRule) -> bool:
    """Whether a rule is v × a + b with a above zero, which what is measured from the scan afterwards undoes."""
    return not rule.nonzero and not rule.clip and rule.kind != "none"


def _largest(step: _Step, channels: int) -> tuple[int, ...]:
    every = list(range(1, max(2, channels)))
    values = step.take("applied_labels", every)
    values = every if values is None else values if isinstance(values, list) else [values]
    if not all(isinstance(value, int) and value in every for value in values):
        raise step.refuse(f"has the applied_labels {values}, which the network does not give")
    if len(values) > 1:
        step.expect("independent", {True})
    step.expect("num_components", {1})
    return tuple(values)


def _data_format(metadata: dict[str, Any], side: str, name: str, where: str) -> dict[str, Any]:
    """The description of one input or output of the network in the metadata."""
    found: Any = metadata
    for key in ("network_data_format", side, name):
        found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise InputError(f'{where} has no "network_data_format.{side}.{name}": get the package again.')
    return found


_WITHOUT_EFFECT = {"ToDevice", "ToTensor", "Identity", "DeleteItems", "SelectItems", "AddChannel", "FromMetaTensor"}
_WITHOUT_EFFECT_AFTER = _WITHOUT_EFFECT | {"EnsureType", "Invert", "SaveImage", "CastToType"}

_AFTER = {"Activations", "AsDiscrete", "KeepLargestConnectedComponent"}

_BEFORE: dict[str, Callable[[_Step, _Done], None]] = {
    "LoadImage": _load,
    "EnsureChannelFirst": _channel_first,
    "EnsureType": _cast,
    "CastToType": _cast,
    "Orientation": _orient,
    "Spacing": _space,
    "CropForeground": _crop,
    "ScaleIntensityRange": _scale_range,
    "ScaleIntensityRangePercentiles": _scale_percentiles,
    "ScaleIntensity": _scale,
    "NormalizeIntensity": _normalize,
}
