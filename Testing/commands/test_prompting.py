"""`sslseg prompt`, `refine` and `propagate` on files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from SSLSegmentationLib import cli
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.io.read import read_volume
from SSLSegmentationLib.io.segmentation import read_segmentation, write_segmentation
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.volume import Volume
from Testing.prompting.fake import Bright

FILES = {"segmentation.seg.nrrd", "uncertainty.nii.gz", "sheet.png", "report.json"}
LABELS = (Label(1, "ball", (1.0, 0.0, 0.0)), Label(2, "other", (0.0, 1.0, 0.0)))


def sslseg(*arguments: object):
    return CliRunner().invoke(cli.app, [*map(str, arguments)])


def refused(*arguments: object) -> str:
    """The sentence with which the command refuses."""
    error = sslseg(*arguments).exception
    assert isinstance(error, InputError), error
    return str(error)


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine on which nothing was installed."""
    monkeypatch.setattr("SSLSegmentationLib.models.store.installed", lambda folder=None: [])


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Bright:
    """A model that is found under any id."""
    model = Bright(100)
    monkeypatch.setattr("SSLSegmentationLib.prompting.backends.load_backend", lambda model_id, device="auto": model)
    return model


@pytest.fixture
def ball(scan: Volume) -> np.ndarray:
    k, j, i = np.ogrid[:18, :40, :36]
    return (k - 9) ** 2 * 4 + (j - 20) ** 2 + (i - 18) ** 2 < 15**2


def save(path: Path, scan: Volume, mask: np.ndarray, other: np.ndarray | None = None) -> Path:
    voxels = mask.astype(np.uint8)
    if other is not None:
        voxels[other] = 2
    write_segmentation(path, scan.with_voxels(voxels), LABELS)
    return path


def on(scan: Volume, i: float, j: float, k: float) -> str:
    return ",".join(f"{value:.3f}" for value in scan.to_ras(np.array([i, j, k])))


def found(out: Path, name: str = "ball") -> np.ndarray:
    segmentation = read_segmentation(out / "segmentation.seg.nrrd")
    index = [label.name for label in segmentation.labels].index(name)
    return segmentation.mask(index).voxels


def test_a_point_grows_a_region_where_no_model_is_and_says_so(
    scan: Volume, scan_file: Path, ball: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    done = sslseg("prompt", scan_file, "-p", on(scan, 18, 20, 9), "-o", out)
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == FILES
    assert "a region was grown" in done.stderr
    mask = found(out, "segment")
    assert 2 * (mask & ball).sum() / (mask.sum() + ball.sum()) > 0.9
    assert read_segmentation(out / "segmentation.seg.nrrd").layers[0].same_grid_as(scan)
    assert read_volume(out / "uncertainty.nii.gz").same_grid_as(scan)


def test_points_and_boxes_go_to_the_model_that_is_named(
    scan: Volume, scan_file: Path, ball: np.ndarray, bright: Bright, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    point, away = on(scan, 18, 20, 9), on(scan, 1, 1, 9)
    done = sslseg(
        "prompt",
        scan_file,
        "-p",
        point + ",+",
        "-p",
        away + ",-",
        "-m",
        "any",
        "-o",
        out,
        "--json",
        "--window",
        "400,40",
    )
    report = json.loads(done.stdout)
    assert report["operation"] == "prompt"
    assert report["model"] == {"id": "bright-100"}
    (asked,) = bright.asked
    assert asked.positive.tolist() == [True, False]
    mask = found(out, "segment")
    assert (mask[9] & ball[9]).sum() > 0.95 * ball[9].sum()
    assert not mask[8].any()
    assert report["labels"][0]["added_voxels"] == mask.sum()
    assert "not a medical device" in report["notice"]


def test_a_box_with_depth_prompts_every_slice_it_cuts(
    scan: Volume, scan_file: Path, bright: Bright, tmp_path: Path
) -> None:
    out = tmp_path / "results"
    low, high = scan.to_ras(np.array([10, 10, 6])), scan.to_ras(np.array([26, 30, 11]))
    corners = ",".join(f"{value:.2f}" for value in (*low, *high))
    done = sslseg("prompt", scan_file, "-b", corners, "-m", "any", "-o", out, "--quiet")
    assert done.exit_code == 0
    assert done.output == ""
    assert found(out, "segment").any(axis=(1, 2)).tolist() == [6 <= k <= 11 for k in range(18)]


def test_a_segment_is_corrected_and_the_others_keep_their_voxels(
    scan: Volume, scan_file: Path, ball: np.ndarray, bright: Bright, tmp_path: Path
) -> None:
    other = np.zeros_like(ball)
    other[9, :, 20:] = True
    before = save(tmp_path / "before.seg.nrrd", scan, np.zeros_like(ball), other)
    out = tmp_path / "results"
    done = sslseg(
        "prompt", scan_file, "-p", on(scan, 14, 20, 9), "-m", "any", "-o", out, "--segmentation", before, "-s", "ball"
    )
    assert done.exit_code == 0, done.output
    assert (found(out, "other") == other).all()
    assert found(out).any()
    assert not (found(out) & other).any()


def test_refining_reports_every_part(
    scan: Volume, scan_file: Path, ball: np.ndarray, bright: Bright, tmp_path: Path
) -> None:
    coarse = np.roll(ball, 2, axis=2)
    before = save(tmp_path / "before.seg.nrrd", scan, coarse)
    out = tmp_path / "results"
    done = sslseg("refine", scan_file, before, "-m", "any", "-o", out, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["accepted"] + report["kept"] == len(report["parts"])
    assert report["accepted"] > 5
    assert "parts were refined" in report["remarks"][0]
    assert (found(out) != ball).sum() < (coarse != ball).sum() / 2


def test_refining_without_a_model_says_what_is_missing(
    scan: Volume, scan_file: Path, ball: np.ndarray, tmp_path: Path
) -> None:
    before = save(tmp_path / "before.seg.nrrd", scan, ball)
    sentence = refused("refine", scan_file, before, "-o", tmp_path / "results")
    assert "needs a model that takes prompts" in sentence
    assert "sslseg models list" in sentence
    assert list((tmp_path / "results").iterdir()) == []


@pytest.mark.parametrize("model", [[], ["-m", "any"]], ids=["grey values", "promptable"])
def test_a_drawn_slice_is_spread_to_the_whole_object(
    scan: Volume, scan_file: Path, ball: np.ndarray, bright: Bright, model: list[str], tmp_path: Path
) -> None:
    drawn = ball & (np.arange(18) == 9)[:, None, None]
    before = save(tmp_path / "before.seg.nrrd", scan, drawn)
    out = tmp_path / "results"
    done = sslseg("propagate", scan_file, before, "-o", out, *model)
    assert done.exit_code == 0, done.output
    assert (found(out)[9] == drawn[9]).all()
    assert 2 * (found(out) & ball).sum() / (found(out).sum() + ball.sum()) > 0.95
    report = json.loads((out / "report.json").read_text())
    assert {end["step"] for end in report["ends"]} == {-1, 1}
    assert ("grey values" in done.stderr) == (not model)


def test_one_way_leaves_the_other_side_empty(scan: Volume, scan_file: Path, ball: np.ndarray, tmp_path: Path) -> None:
    drawn = ball & (np.arange(18) == 9)[:, None, None]
    before, out = save(tmp_path / "before.seg.nrrd", scan, drawn), tmp_path / "results"
    done = sslseg("propagate", scan_file, before, "-o", out, "--direction", "up")
    assert done.exit_code == 0, done.output
    assert not found(out)[:9].any()
    assert found(out)[10:].any()
    assert {end["step"] for end in json.loads((out / "report.json").read_text())["ends"]} == {1}


def test_slices_may_lie_across_any_direction(scan: Volume, scan_file: Path, ball: np.ndarray, tmp_path: Path) -> None:
    from SSLSegmentationLib.prompting.stack import slices_across

    normal = (0.3, 1.0, 0.2)
    stack = slices_across(scan, np.array(normal))
    n = stack.number_at(scan.to_ras(np.array([18.0, 20.0, 9.0])))
    own = stack.numbers(tuple(slice(0, size) for size in scan.shape)) == n
    before = save(tmp_path / "before.seg.nrrd", scan, ball & own)
    out = tmp_path / "results"
    done = sslseg("propagate", scan_file, before, "--normal", "0.3,1,0.2", "--slices", n, "-o", out)
    assert done.exit_code == 0, done.output
    assert 2 * (found(out) & ball).sum() / (found(out).sum() + ball.sum()) > 0.9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prompt", "SCAN"], "at least one --point or --box"),
        (["prompt", "SCAN", "-p", "1,2"], "--point 1,2 is not 3 numbers"),
        (["prompt", "SCAN", "-p", "1,2,nan"], "is not 3 numbers"),
        (["prompt", "SCAN", "-p", "900,0,0"], "outside patient"),
        (["prompt", "SCAN", "-b", "0,0,0,0,0,9"], "has no area"),
        (["prompt", "SCAN", "-p", "0,0,430", "-m", "no-such-model"], "no-such-model"),
        (["propagate", "SCAN", "DRAWN", "--slices", "x"], "--slices x is no list"),
        (["propagate", "SCAN", "DRAWN", "--slices", "40"], "no slice 40: choose from 0 to 17"),
        (["propagate", "SCAN", "DRAWN", "--slices", "0"], "is not drawn on slice 0"),
        (["propagate", "SCAN", "DRAWN", "-s", "liver"], 'no segment "liver": choose one of these: ball, other'),
        (["propagate", "SCAN", "DRAWN", "--direction", "left"], "left is no direction: choose both, up or down"),
        (["propagate", "SCAN", "DRAWN", "--axis", "z"], "none of k, j and i"),
        (["propagate", "SCAN", "DRAWN", "--axis", "k", "--normal", "1,0,0"], "not both"),
        (["propagate", "SCAN", "ELSEWHERE"], "does not lie on the grid of patient"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_and_writes_nothing(
    scan: Volume, scan_file: Path, ball: np.ndarray, tmp_path: Path, arguments: list[str], words: str
) -> None:
    files = {
        "SCAN": scan_file,
        "DRAWN": save(tmp_path / "drawn.seg.nrrd", scan, ball & (np.arange(18) == 9)[:, None, None]),
        "ELSEWHERE": save(tmp_path / "elsewhere.seg.nrrd", Volume(scan.voxels[1:]), ball[1:]),
    }
    out = tmp_path / "results"
    sentence = refused(*(files.get(argument, argument) for argument in arguments), "-o", out)
    assert words in sentence
    assert "\n" not in sentence
    assert not out.exists() or list(out.iterdir()) == []


def test_results_are_replaced_only_if_asked(scan: Volume, scan_file: Path, tmp_path: Path) -> None:
    (tmp_path / "sheet.png").write_text("mine")
    arguments = ("prompt", scan_file, "-p", on(scan, 18, 20, 9), "-o", tmp_path)
    assert "--overwrite" in refused(*arguments)
    assert (tmp_path / "sheet.png").read_text() == "mine"
    assert sslseg(*arguments, "--overwrite").exit_code == 0


def test_a_cancelled_run_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, scan: Volume, scan_file: Path, ball: np.ndarray, tmp_path: Path
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Cancelled

    monkeypatch.setattr("SSLSegmentationLib.prompting.propagate.patch_of", stop)
    before = save(tmp_path / "before.seg.nrrd", scan, ball & (np.arange(18) == 9)[:, None, None])
    out = tmp_path / "results"
    assert isinstance(sslseg("propagate", scan_file, before, "-o", out).exception, Cancelled)
    assert list(out.iterdir()) == []
