"""Sessions in plain Python: operations, partial results, and nothing changed by what did not end well."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from SSLSegmentationLib.engine.requests import PropagateRequest, RefineRequest, Request, operation_of
from SSLSegmentationLib.engine.results import Result
from SSLSegmentationLib.engine.session import Models, Session
from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.models.package import IntensityRule, ModelPackage, Preprocessing, Sliding
from SSLSegmentationLib.models.read import read_package
from SSLSegmentationLib.models.write import write_package
from SSLSegmentationLib.progress import Tick
from SSLSegmentationLib.prompts import PointPrompt
from SSLSegmentationLib.proposal import Cropped
from Testing.engine.engines import scan_with_ball, some_proposal, stream
from Testing.models.packages import small_package, state_of

REFINE, PROPAGATE = RefineRequest("model", ("ball",)), PropagateRequest(("ball",))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    """A real package on disk, with random weights."""
    package = small_package(
        sliding=Sliding((16, 16, 16), 0.25),
        preprocessing=Preprocessing("RAS", None, IntensityRule("window", 0.0, 200.0), crop_to_body=False),
    )
    folder = tmp_path_factory.mktemp("packages") / package.id
    write_package(folder, package, [state_of(package.network)], "Free for the tests.")
    return read_package(folder)


def test_a_model_labels_the_scan(package: ModelPackage) -> None:
    session = Session(scan_with_ball(), Models(lambda: [package]))
    stages: list[str] = []
    found = session.segment("two-organs", lambda stage, part: stages.append(stage), device="cpu", backend="torch")
    assert found.labels.same_grid_as(session.volume)
    assert found.names == package.labels
    assert found.uncertainty is not None
    assert found.uncertainty.voxels.max() <= 1
    assert (found.model, session.last["segment"]) == ("two-organs", found)
    assert {"Loading", "Preparing", "Segmenting", "Finishing"} >= set(stages) >= {"Loading", "Finishing"}


def test_networks_stay_loaded_between_scans(package: ModelPackage) -> None:
    models = Models(lambda: [package])
    settings = {"device": "cpu", "backend": "torch"}
    first = models.segmenter("two-organs", settings)
    assert models.segmenter("two-organs", dict(settings)) is first
    assert models.segmenter("two-organs", {**settings, "doubt": "none"}) is not first
    models.segmenter("two-organs", {**settings, "overlap": 0.5})
    assert models.segmenter("two-organs", settings) is not first  # only the last two are kept


@pytest.mark.parametrize("name", ["", "other", "../two-organs", "/etc", "two-organs/", "."])
def test_a_model_is_an_id_and_never_a_path(package: ModelPackage, name: str, tmp_path: Path) -> None:
    session = Session(scan_with_ball(), Models(lambda: [package]))
    with pytest.raises(InputError, match=r"not installed here: choose one of these: two-organs\.$"):
        session.segment(name)
    with pytest.raises(InputError, match="not installed"):
        session.segment(str(package.folder))


def test_an_unknown_setting_is_named(package: ModelPackage) -> None:
    session = Session(scan_with_ball(), Models(lambda: [package]))
    with pytest.raises(InputError, match='no setting "speed"'):
        session.segment("two-organs", speed="fast")


def test_clicks_work_without_any_model() -> None:
    session = Session(scan_with_ball(), Models(lambda: []))
    proposal = session.prompt([PointPrompt((16.0, 16.0, 16.0))], "cyst")
    assert proposal.segment == "cyst"
    assert proposal.added.sum() == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.15)
    assert session.segments == {}  # nothing changes until it is accepted
    session.accept(proposal)
    again = session.prompt([PointPrompt((16.0, 16.0, 16.0))], "cyst")
    assert again.mask.size == 0
    session.put("locked", Cropped.of(np.arange(32)[:, None, None] * np.ones((32, 32, 32), int) < 16))
    other = [PointPrompt((16.0, 16.0, 16.0))], "another segment"
    assert session.prompt(*other).mask.size == 0  # the cyst keeps its voxels
    assert session.prompt(*other, keep_others=False).added.sum() == proposal.added.sum()
    above = session.prompt(*other, keep_others=False, locked="locked")
    assert above.box[0].start == 16
    assert above.added.sum() == proposal.added[16 - proposal.box[0].start :].sum()


@pytest.mark.parametrize("request_", [REFINE, PROPAGATE])
def test_what_is_not_there_yet_is_said_in_one_sentence(request_: Request) -> None:
    with pytest.raises(InputError, match=f'^This engine cannot "{operation_of(request_)}" yet: .*\\.$'):
        Session(scan_with_ball(), operations={"segment": stream}).run(request_)


def test_partial_results_come_before_the_whole() -> None:
    session = Session(scan_with_ball(), operations={"propagate": stream})
    steps = session.begin("propagate", None, lambda stage, part: None)
    assert [part.box[0].start for part in steps] == [0, 1, 2]
    seen: list[int] = []
    assert session.run(PROPAGATE, partial=lambda part: seen.append(part.box[0].start)).box[0].start == 3
    assert seen == [0, 1, 2]


def test_an_operation_that_fails_changes_nothing() -> None:
    def fails(session: Session, request: Any, tick: Tick) -> Generator[Result, None, Result]:
        yield some_proposal(session)
        raise Cancelled

    session = Session(scan_with_ball(), operations={"refine": fails, "propagate": stream})
    session.run(PROPAGATE)
    before = dict(session.last)
    with pytest.raises(Cancelled):
        session.run(REFINE)
    assert session.last == before
    assert session.segments == {}


def test_a_segment_of_another_scan_is_refused() -> None:
    session = Session(scan_with_ball())
    with pytest.raises(InputError, match="edge"):
        session.put("liver", Cropped.of(np.ones((40, 40, 40), bool)))
