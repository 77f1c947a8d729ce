"""The bundled small model: it answers at the size of the picture, and looks closely where that helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.models.nets.click import HINTS, ClickNet, draw
from SSLSegmentationLib.prompting import click
from SSLSegmentationLib.prompting.backends import load_backend, locate, preferred, unload
from SSLSegmentationLib.prompting.click import ClickModel
from SSLSegmentationLib.prompting.embeddings import Storable
from SSLSegmentationLib.prompting.protocol import PixelPrompts
from Testing.prompting.packages import click_package


@pytest.fixture(scope="module")
def network() -> ClickNet:
    torch.manual_seed(0)
    return ClickNet(widths=(4, 8, 8))


@pytest.fixture(scope="module")
def model(network: ClickNet) -> ClickModel:
    return ClickModel(network, "tiny")


def at(*places: tuple[float, float], signs: tuple[bool, ...] = (True,)) -> PixelPrompts:
    return PixelPrompts(np.array(places, dtype=float), np.array(signs))


def test_points_are_discs_boxes_are_filled_and_masks_say_that_they_are_there() -> None:
    mask = np.eye(20, 30, dtype=bool)
    hints = draw((20, 30), np.array([[5, 4], [25, 15]]), np.array([True, False]), (2, 3, 10, 8), mask)
    assert hints.shape == (HINTS, 20, 30)
    assert hints[0, 4, 5] == hints[1, 15, 25] == 1
    assert hints[0].sum() == hints[1].sum() == 21
    assert (np.argwhere(hints[2]).min(0).tolist(), np.argwhere(hints[2]).max(0).tolist()) == ([3, 2], [8, 10])
    np.testing.assert_array_equal(hints[3] == 1, mask)
    assert (hints[4] == 1).all()
    assert not draw((20, 30), np.zeros((0, 2)), np.zeros(0, bool))[2:].any()


def test_what_is_placed_changes_the_answer_and_the_picture_alone_is_encoded(network: ClickNet) -> None:
    picture = torch.rand(1, 1, 32, 32)
    levels = network.encode(picture)
    nothing, hint = torch.zeros(1, HINTS, 32, 32), torch.zeros(1, HINTS, 32, 32)
    hint[0, 0, 10:14, 10:14] = 1
    assert not torch.equal(network.decode(levels, nothing), network.decode(levels, hint))
    assert torch.equal(network.decode(levels, hint), network(picture, hint))


@settings(max_examples=25, deadline=None)
@given(st.integers(9, 300), st.integers(9, 300), st.data())
def test_answers_have_the_size_of_the_picture_whatever_that_is(rows: int, columns: int, data: st.DataObject) -> None:
    torch.manual_seed(0)
    model = ClickModel(ClickNet(widths=(2, 2)), "smaller")
    picture = np.random.default_rng(0).integers(0, 256, (rows, columns), dtype=np.uint8)
    place = data.draw(st.tuples(st.integers(0, columns - 1), st.integers(0, rows - 1)))
    mask = np.zeros((rows, columns), dtype=bool)
    mask[place[1], place[0]] = True
    sets = [at(place), PixelPrompts(box=(*place, columns - 1, rows - 1)), PixelPrompts(mask=mask)]
    for answer in model.decode(model.encode(picture), sets):
        assert answer.logits.shape == (rows, columns)
        assert answer.logits.dtype == np.float32
        assert np.isfinite(answer.logits).all()
        assert 0 <= answer.score <= 1


def test_a_place_in_the_picture_is_the_same_place_in_its_part(network: ClickNet) -> None:
    """A point drawn for the close look comes back where it was clicked."""
    frame = click._frame(slice(40, 90), slice(100, 180), 160)
    drawn = frame.hints(at((130.0, 60.0)), (112, 160))[0]
    back = frame.back(torch.from_numpy(drawn * 20 - 10)[None, None], (200, 300))
    rows, columns = np.nonzero(back > 0)
    assert abs(rows.mean() - 60) < 0.5
    assert abs(columns.mean() - 130) < 0.5


def test_a_mask_comes_back_from_a_close_look_as_it_was() -> None:
    frame = click._frame(slice(10, 74), slice(20, 84), 160)
    mask = np.zeros((100, 120), dtype=bool)
    mask[30:50, 40:70] = True
    hints = frame.hints(PixelPrompts(mask=mask), (160, 160))
    back = frame.back(torch.from_numpy(hints[3] * 20 - 10)[None, None], mask.shape) > 0
    assert (back != mask).sum() <= 4  # the corners


def test_something_small_is_looked_at_closely_and_something_large_is_not() -> None:
    small = PixelPrompts(box=(100, 100, 120, 130))
    frame = click._around(small, None, (512, 512))
    assert max(frame.shape) < 80
    assert frame.rows.start < 100
    assert frame.rows.stop > 130
    assert click._around(PixelPrompts(box=(50, 50, 450, 400)), None, (512, 512)) is None


def test_a_part_at_the_corner_stays_inside_the_picture() -> None:
    frame = click._around(at((0.0, 0.0)), None, (300, 200))
    assert (frame.rows.start, frame.columns.start) == (0, 0)
    assert frame.rows.stop <= 300
    assert frame.columns.stop <= 200


def test_the_same_question_has_the_same_answer_also_from_a_stored_embedding(model: ClickModel) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (150, 170), dtype=np.uint8)
    embedding = model.encode(picture)
    again = model.from_arrays(model.arrays_of(embedding))
    assert isinstance(model, Storable)
    assert model.bytes_of(embedding) == model.bytes_of(again) > picture.nbytes
    [one], [other] = (model.decode(one, [at((80.0, 60.0))]) for one in (embedding, again))
    np.testing.assert_array_equal(one.logits, other.logits)


def test_what_cannot_be_meant_is_refused(model: ClickModel) -> None:
    embedding = model.encode(np.zeros((40, 50), dtype=np.uint8))
    for wrong, why in (
        (PixelPrompts(), "is empty"),
        (PixelPrompts(np.zeros((2, 2)), np.array([True])), "2 points cannot have 1 signs"),
        (PixelPrompts(mask=np.zeros((50, 40), bool)), "does not fit a picture"),
    ):
        with pytest.raises(ValueError, match=why):
            model.decode(embedding, [wrong])


def test_it_can_be_cancelled_between_two_answers(model: ClickModel) -> None:
    def tick(stage: str, part: float) -> None:
        if part >= 0.5:
            raise Cancelled

    embedding = model.encode(np.zeros((40, 50), dtype=np.uint8))
    with pytest.raises(Cancelled):
        model.decode(embedding, [at((10.0, 10.0)), at((20.0, 20.0))], tick)


def test_a_package_of_this_kind_takes_prompts_and_is_found_by_its_id(tmp_path, monkeypatch) -> None:
    from SSLSegmentationLib.models import store

    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    click_package(tmp_path / "clicks")
    unload()
    [model] = [one for one in store.installed() if one.id == "clicks"]
    assert model.kind == "click"
    assert locate("clicks").path.name == "model.safetensors"
    loaded = load_backend("clicks", "cpu")
    assert loaded.key.startswith("clicks-")
    assert loaded.decode(loaded.encode(np.zeros((30, 30), np.uint8)), [at((5.0, 5.0))])[0].logits.shape == (30, 30)
    unload()


def test_weights_without_their_package_are_refused(tmp_path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="does not lie in the folder"):
        click.load_click(tmp_path / "model.safetensors", "clicks")


def test_what_the_user_brought_goes_before_what_came_along(tmp_path) -> None:
    from dataclasses import replace

    from SSLSegmentationLib.models.read import read_package
    from SSLSegmentationLib.models.store import Installed, record_of

    click_package(tmp_path / "clicks")
    package = read_package(tmp_path / "clicks")
    own = Installed(tmp_path / "clicks", record_of(package))
    bundled = replace(own, bundled=True)
    segments = replace(own, record=replace(own.record, kind="package"))
    assert preferred([bundled]) is bundled
    assert preferred([bundled, own]) is own
    assert preferred([own, own]) is None
    assert preferred([segments, replace(own, damage="gone")]) is None
