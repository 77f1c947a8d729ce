"""The sheet is a picture of the right size, and what is in it comes from what was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.labels import Label
from SSLSegmentationLib.report.sheet import WIDTH, heat_colours, write_sheet
from SSLSegmentationLib.volume import Volume

GREEN = Label(1, "cube", (0.0, 1.0, 0.0))


def case(shape: tuple[int, int, int] = (20, 24, 28)) -> tuple[Volume, Volume, Volume]:
    """A grey scan, a cube in its middle, and doubt in one corner of it."""
    scan = Volume(np.random.default_rng(0).normal(100, 20, shape).astype(np.float32), np.diag([2.0, 2, 3, 1]), "case")
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 4, max(n // 4 + 1, 3 * n // 4)) for n in shape)] = 1
    doubt = np.zeros(shape, np.float32)
    doubt[labels > 0] = 1.0
    return scan, scan.with_voxels(labels), scan.with_voxels(doubt)


def picture(path: Path) -> np.ndarray:
    """Red, green and blue from 0 to 1."""
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    return imread(path)[..., :3]


def pixels_like(image: np.ndarray, colour: tuple[float, float, float]) -> int:
    return int((np.abs(image - colour).max(axis=-1) < 0.12).sum())


def test_the_sheet_is_1600_pixels_wide_and_shows_both_rows(tmp_path: Path) -> None:
    scan, labels, doubt = case()
    write_sheet(tmp_path / "both.png", scan, labels, doubt, [GREEN], title="A case")
    write_sheet(tmp_path / "one.png", scan, labels, None, [GREEN])
    both, one = picture(tmp_path / "both.png"), picture(tmp_path / "one.png")
    assert both.shape[1] == one.shape[1] == WIDTH
    assert both.shape[0] > one.shape[0] + 200
    assert sorted(p.name for p in tmp_path.iterdir()) == ["both.png", "one.png"]


def test_outlines_have_the_colour_of_their_label(tmp_path: Path) -> None:
    scan, labels, _ = case()
    write_sheet(tmp_path / "with.png", scan, labels, None, [GREEN])
    write_sheet(tmp_path / "without.png", scan, None, None, [GREEN])
    assert pixels_like(picture(tmp_path / "with.png"), GREEN.color) > 300
    assert pixels_like(picture(tmp_path / "without.png"), GREEN.color) == 0


def test_the_heat_map_shows_where_the_model_is_unsure(tmp_path: Path) -> None:
    scan, labels, doubt = case()
    undecided = heat_colours()(1.0)[:3]
    write_sheet(tmp_path / "unsure.png", scan, labels, doubt, [GREEN])
    write_sheet(tmp_path / "sure.png", scan, labels, doubt.with_voxels(doubt.voxels * 0), [GREEN])
    unsure, sure = picture(tmp_path / "unsure.png"), picture(tmp_path / "sure.png")
    assert pixels_like(unsure, undecided) > 5000
    assert pixels_like(sure, undecided) < 1000  # the colour bar alone


def test_certainty_is_transparent() -> None:
    colours = heat_colours()
    assert colours(0.0)[3] == 0
    assert np.all(np.diff([colours(v)[3] for v in np.linspace(0, 1, 50)]) >= 0)


def test_the_window_decides_how_bright_the_scan_is(tmp_path: Path) -> None:
    scan, *_ = case()
    write_sheet(tmp_path / "dark.png", scan, None, None, [], window=(200.0, 400.0))
    write_sheet(tmp_path / "bright.png", scan, None, None, [], window=(-400.0, 0.0))
    assert picture(tmp_path / "bright.png").mean() > picture(tmp_path / "dark.png").mean() + 0.2


def test_the_same_input_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_sheet(tmp_path / name, *case(), [GREEN])
    assert np.array_equal(picture(tmp_path / "a.png"), picture(tmp_path / "b.png"))


@pytest.mark.parametrize(
    "shape", [(1, 24, 28), (20, 1, 28), (20, 24, 1), (1, 1, 1), (2, 2, 2), (1, 1, 30), (300, 4, 4)], ids=str
)
def test_thin_scans_are_shown(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    write_sheet(tmp_path / "thin.png", *case(shape), [GREEN])
    assert picture(tmp_path / "thin.png").shape[1] == WIDTH


def test_empty_labels_and_a_constant_scan_are_shown(tmp_path: Path) -> None:
    scan, labels, doubt = case()
    nothing = labels.with_voxels(np.zeros_like(labels.voxels))
    write_sheet(tmp_path / "empty.png", scan.with_voxels(scan.voxels * 0), nothing, doubt, [GREEN])
    assert pixels_like(picture(tmp_path / "empty.png"), GREEN.color) == 0


def test_many_labels_with_long_names_and_labels_without_a_name_are_shown(tmp_path: Path) -> None:
    scan, labels, _ = case()
    many = labels.with_voxels((np.arange(labels.voxels.size).reshape(labels.shape) // 7 % 63).astype(np.uint16))
    table = [Label(value, "a structure with a long name $x^{2$ " * 3, (0.2, 0.9, 0.9)) for value in range(1, 40)]
    write_sheet(tmp_path / "many.png", scan, many, None, table, title="$\\frac{患者" * 30, subtitle="_^{$" * 50)
    image = picture(tmp_path / "many.png")
    assert image.shape[1] == WIDTH
    assert image[200:-60, -3:].max() < 0.2  # no name runs out of the picture


def test_a_volume_of_another_grid_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    scan, labels, doubt = case()
    with pytest.raises(ValueError, match="grid"):
        write_sheet(tmp_path / "sheet.png", scan, labels.cropped((slice(0, 3),) * 3), doubt, [GREEN])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        write_sheet(tmp_path / "nowhere" / "sheet.png", *case(), [GREEN])
