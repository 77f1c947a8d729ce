"""Bundles of the MONAI Model Zoo: what their transforms become, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.package import IntensityRule, Preprocessing, Sliding
from SSLSegmentationLib.models.read import read_package
from Testing.models.packages import HU_WINDOW, SMALL_UNET, image_transforms, write_bundle

SPACING = {"_target_": "Spacingd", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"}


def intensity(folder, *steps):
    return read_package(write_bundle(folder, transforms=image_transforms(*steps))).preprocessing.intensity


def refusal(folder, **changes):
    with pytest.raises(InputError) as caught:
        read_package(write_bundle(folder, **changes))
    return str(caught.value)


@pytest.mark.parametrize("as_yaml", [False, True])
def test_a_ct_bundle_says_all_that_inference_needs(tmp_path, as_yaml):
    folder = write_bundle(tmp_path / "zoo organs", transforms=image_transforms(SPACING, HU_WINDOW), as_yaml=as_yaml)
    package = read_package(folder)
    assert (package.id, package.title, package.version) == ("zoo-organs", "Two organs of the zoo", "0.3.1")
    assert (package.modality, package.licence, package.activation) == ("CT", "Apache-2.0", "softmax")
    assert [(label.value, label.name) for label in package.labels] == [(1, "Liver"), (2, "Spleen")]
    assert package.labels[0].color != package.labels[1].color
    assert package.network == SMALL_UNET
    assert package.preprocessing == Preprocessing(
        "RAS", (1.5, 1.5, 2.0), IntensityRule("window", -50.0, 150.0), antialias=False, crop_to_body=False
    )
    assert package.sliding == Sliding((32, 32, 16), 0.5, "constant", "zero")
    assert package.keep_largest == ()


@pytest.mark.parametrize(
    ("step", "rule"),
    [
        (HU_WINDOW | {"clip": False}, IntensityRule("window", -50.0, 150.0, clip=False)),
        (HU_WINDOW | {"b_min": None, "b_max": None, "clip": False}, IntensityRule("window", -50.0, 150.0, clip=False)),
        (HU_WINDOW | {"b_min": -1, "b_max": 3}, IntensityRule("window", -50.0, 150.0, -1.0, 3.0)),
        ({"_target_": "ScaleIntensityd"}, IntensityRule("percentile", 0.0, 100.0, clip=False)),
        (
            {"_target_": "ScaleIntensityd", "minv": -1, "maxv": 1},
            IntensityRule("percentile", 0.0, 100.0, -1.0, 1.0, clip=False),
        ),
        (
            {"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 99, "b_min": 0, "b_max": 1},
            IntensityRule("percentile", 1.0, 99.0, clip=False),
        ),
        ({"_target_": "NormalizeIntensityd", "channel_wise": True}, IntensityRule("zscore")),
        ({"_target_": "monai.transforms.NormalizeIntensityd", "nonzero": True}, IntensityRule("zscore", nonzero=True)),
        (
            {"_target_": "NormalizeIntensityD", "subtrahend": [100], "divisor": 50},
            IntensityRule("window", 100.0, 150.0, clip=False),
        ),
    ],
)
def test_intensity_transforms_become_rules_with_their_own_defaults(tmp_path, step, rule):
    assert intensity(tmp_path / "b", step) == rule


def test_scaling_before_a_zscore_is_dropped_because_the_zscore_undoes_it(tmp_path):
    steps = {"_target_": "ScaleIntensityd", "minv": 0, "maxv": 1}, {"_target_": "NormalizeIntensityd"}
    assert intensity(tmp_path / "b", *steps) == IntensityRule("zscore")


def test_rules_that_do_not_collapse_follow_one_another(tmp_path):
    steps = {"_target_": "NormalizeIntensityd", "nonzero": True}, {"_target_": "ScaleIntensityd", "minv": -1, "maxv": 1}
    last = IntensityRule("percentile", 0.0, 100.0, -1.0, 1.0, clip=False)
    assert intensity(tmp_path / "b", *steps) == IntensityRule("zscore", nonzero=True, then=last)
    clipped = intensity(tmp_path / "c", HU_WINDOW, {"_target_": "NormalizeIntensityd"})
    assert clipped == IntensityRule("window", -50.0, 150.0, then=IntensityRule("zscore"))


def test_a_window_gives_the_numbers_that_monai_gives(tmp_path):
    from monai.transforms import ScaleIntensityRange

    rule = intensity(tmp_path / "b", HU_WINDOW | {"b_min": -1, "b_max": 3})
    values = np.array([-1000.0, -50.0, 20.0, 149.0, 400.0])
    ours = (values - rule.low) / (rule.high - rule.low) * (rule.out_high - rule.out_low) + rule.out_low
    ours = np.clip(ours, rule.out_low, rule.out_high)
    np.testing.assert_allclose(ours, ScaleIntensityRange(-50, 150, -1, 3, clip=True)(values).numpy(), atol=1e-6)


def test_only_a_crop_of_the_foreground_crops_to_the_body(tmp_path):
    crop = {"_target_": "CropForegroundd", "source_key": "@image_key", "mode": ["minimum"]}
    package = read_package(write_bundle(tmp_path / "b", transforms=image_transforms(HU_WINDOW, crop)))
    assert package.preprocessing.crop_to_body
    assert "measures the scan after it was cropped" in refusal(
        tmp_path / "c", transforms=image_transforms(crop, {"_target_": "NormalizeIntensityd"})
    )
    lambda_crop = crop | {"select_fn": "$lambda x: x > 0.5"}
    assert "lambda x: x > 0.5" in refusal(tmp_path / "d", transforms=image_transforms(HU_WINDOW, lambda_crop))


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([HU_WINDOW, SPACING], "resamples after the intensities were clipped"),
        ([{"_target_": "Resized", "spatial_size": [96, 96, 96]}], "Resized"),
        ([{"_target_": "scripts.mine.Orientationd"}], "scripts.mine.Orientationd"),
        ([{"_target_": "RandFlipd"}], "RandFlipd"),
        ([SPACING | {"mode": "nearest"}], "nearest"),
        ([SPACING | {"mode": 3}], "3"),
        ([SPACING | {"diagonal": True}], "diagonal"),
        ([SPACING | {"pixdim": [1, 1]}], "three sizes"),
        ([SPACING | {"pixdim": [1, 1, -1]}], "above zero"),
        ([SPACING | {"pixdim": "$[1, 1, 1] if x else [3, 3, 3]"}], "$[1, 1, 1] if x else [3, 3, 3]"),
        ([SPACING, {"_target_": "Orientationd", "axcodes": "SPL"}], "differs between its axes"),
        ([HU_WINDOW | {"a_min": 200}], "empty range"),
        ([HU_WINDOW | {"a_min": "-50"}], "a number is needed"),
        ([HU_WINDOW | {"clip": "True"}], "true or false"),
        ([{"_target_": "ScaleIntensityd", "minv": None, "maxv": None, "factor": 0.1}], "factor"),
        ([{"_target_": "ScaleIntensityRangePercentilesd", "lower": 1, "upper": 99, "relative": True}], "relative"),
        ([{"_target_": "NormalizeIntensityd", "subtrahend": 3.0}], "mixes given numbers"),
        ([{"_target_": "CastToTyped", "dtype": "uint8"}], "uint8"),
        ([{"_target_": "EnsureChannelFirstd", "channel_dim": -1}], "channel_dim"),
        ([{"_target_": "Orientationd", "axcodes": "RRS"}], "RRS"),
        ([{"_target_": "LoadImaged", "keys": ["t1", "t2"]}], "several scans at once (t1, t2)"),
    ],
)
def test_a_transform_that_cannot_be_reproduced_is_refused_by_name(tmp_path, steps, words):
    message = refusal(tmp_path / "b", transforms=image_transforms(*steps))
    assert words in message
    assert message.startswith("b/configs/inference.json: ")


def test_a_bundle_that_does_not_fix_the_orientation_is_refused_unless_our_keys_say_it(tmp_path):
    transforms = [{"_target_": "LoadImaged", "keys": "image"}, HU_WINDOW]
    assert "no Orientationd" in refusal(tmp_path / "b", transforms=transforms)
    own = {"format": 1, "preprocessing": {"orientation": "LAS", "spacing": [1, 1, 1], "antialias": False}}
    package = read_package(write_bundle(tmp_path / "c", transforms=transforms, metadata={"sslsegmentation": own}))
    assert package.preprocessing == Preprocessing("LAS", (1.0, 1.0, 1.0), antialias=False)
    assert package.sliding.patch == (32, 32, 16)


def test_steps_for_labels_and_steps_switched_off_are_passed_over(tmp_path):
    steps = {"_target_": "AsDiscreted", "keys": "label"}, {"_target_": "RandFlipd", "_disabled_": True}
    assert intensity(tmp_path / "b", HU_WINDOW, *steps) == IntensityRule("window", -50.0, 150.0)


def test_references_and_macros_are_followed_as_data(tmp_path):
    package = read_package(
        write_bundle(
            tmp_path / "b",
            network=SMALL_UNET | {"out_channels": "@classes", "channels": "@sizes#channels"},
            inferer="@window",
            inference={
                "classes": "%sizes::classes",
                "sizes": {"classes": 3, "channels": [2, "@wide"], "overlap": 0.75},
                "wide": 4,
                "window": {"_target_": "SlidingWindowInferer", "roi_size": 32, "overlap": "@sizes#overlap"},
            },
        )
    )
    assert package.network == SMALL_UNET
    assert package.sliding == Sliding((32, 32, 32), 0.75, "constant")


@pytest.mark.parametrize(
    ("inferer", "words"),
    [
        ({"_target_": "SimpleInferer"}, "SimpleInferer"),
        ({"_target_": "SliceInferer", "roi_size": [64, 64]}, "SliceInferer"),
        ({"_target_": "SlidingWindowInferer", "roi_size": [64, 64]}, "three numbers"),
        ({"_target_": "SlidingWindowInferer", "roi_size": [64, 64, -1]}, "three numbers"),
        ({"_target_": "SlidingWindowInferer", "roi_size": 32, "overlap": [0.5, 0.5, 0.25]}, "each axis"),
        ({"_target_": "SlidingWindowInferer", "roi_size": 32, "mode": "linear"}, "linear"),
        ({"_target_": "SlidingWindowInferer", "roi_size": 32, "padding_mode": "circular"}, "circular"),
        ({"_target_": "SlidingWindowInferer", "roi_size": 32, "sigma_scale": 0.25}, "sigma_scale"),
        ("$__import__('os').getcwd()", "getcwd"),
    ],
)
def test_an_inferer_that_is_no_plain_sliding_window_is_refused(tmp_path, inferer, words):
    assert words in refusal(tmp_path / "b", inferer=inferer)


def test_gaussian_windows_and_repeated_edges_are_kept(tmp_path):
    inferer = {
        "_target_": "SlidingWindowInfererAdapt",
        "roi_size": 32,
        "mode": "gaussian",
        "padding_mode": "replicate",
        "sw_batch_size": "$never.looked(at)",
    }
    package = read_package(write_bundle(tmp_path / "b", inferer=inferer))
    assert package.sliding == Sliding((32, 32, 32), 0.25, "gaussian", "edge")


@pytest.mark.parametrize(("labels", "kept"), [([1, 2], (1, 2)), (2, (2,)), (None, (1, 2))])
def test_the_largest_components_are_kept_where_the_bundle_does_so(tmp_path, labels, kept):
    post = [{"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": labels}]
    assert read_package(write_bundle(tmp_path / "b", post=post)).keep_largest == kept


@pytest.mark.parametrize(
    ("post", "words"),
    [
        ({"_target_": "Lambdad", "func": "$lambda x: x[1:]"}, "Lambdad"),
        ({"_target_": "FillHolesd"}, "FillHolesd"),
        ({"_target_": "KeepLargestConnectedComponentd", "applied_labels": [7]}, "which the network does not give"),
        ({"_target_": "KeepLargestConnectedComponentd", "independent": False}, "independent"),
        ({"_target_": "KeepLargestConnectedComponentd", "num_components": 2}, "num_components"),
        ({"_target_": "Activationsd", "sigmoid": True}, "may overlap"),
        ({"_target_": "AsDiscreted", "threshold": 0.5}, "may overlap"),
    ],
)
def test_a_later_step_that_cannot_be_reproduced_is_refused(tmp_path, post, words):
    assert words in refusal(tmp_path / "b", post=[{"keys": "pred", **post}])


def test_one_output_channel_is_the_object_itself(tmp_path):
    package = read_package(
        write_bundle(tmp_path / "b", network=SMALL_UNET | {"out_channels": 1}, names={"0": "left atrium"})
    )
    assert package.activation == "sigmoid"
    assert [(label.value, label.name) for label in package.labels] == [(1, "left atrium")]


def test_a_network_for_several_scans_is_refused_with_their_names(tmp_path):
    image = {"num_channels": 2, "channel_def": {"0": "T1", "1": "FLAIR"}}
    formats = {"inputs": {"image": image}, "outputs": {"pred": {"channel_def": {}}}}
    message = refusal(tmp_path / "b", metadata={"network_data_format": formats})
    assert "takes 2 scans at once (T1, FLAIR)" in message
    assert "in_channels 4" in refusal(tmp_path / "c", network=SMALL_UNET | {"in_channels": 4})


def test_a_network_of_the_bundles_own_code_is_refused_with_the_list_of_known_ones(tmp_path):
    message = refusal(tmp_path / "b", network={"_target_": "scripts.net.UNet", "size": "$1 + 1"})
    assert "scripts.net.UNet" in message
    assert "DynUNet" in message


def test_channels_without_a_name_are_numbered(tmp_path):
    package = read_package(write_bundle(tmp_path / "b", names={"1": "Liver"}))
    assert [label.name for label in package.labels] == ["Liver", "label 2"]


def test_weights_are_found_by_their_usual_name_or_as_the_only_ones(tmp_path):
    folder = write_bundle(tmp_path / "b")
    assert read_package(folder).weights == (folder / "models/model.pt",)
    (folder / "models/best_FT.pt").touch()
    (folder / "models/model.ts").touch()
    assert read_package(folder).weights == (folder / "models/best_FT.pt",)
    (folder / "models/other.pth").touch()
    with pytest.raises(InputError, match=r"several weights files \(best_FT.pt, other.pth\)"):
        read_package(folder)
    (folder / "models/model.safetensors").touch()
    assert read_package(folder).weights == (folder / "models/model.safetensors",)


def test_weights_that_exist_only_as_torchscript_are_refused_with_the_remedy(tmp_path):
    folder = write_bundle(tmp_path / "b")
    (folder / "models/model.ts").touch()
    with pytest.raises(InputError, match=r"can run code when it is opened: get the package with its model\.pt"):
        read_package(folder)
