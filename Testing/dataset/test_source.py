from __future__ import annotations

from pathlib import Path

import pytest

from SSLSegmentationLib.dataset.source import protocol_words, source_of
from SSLSegmentationLib.io.write import write_volume
from Testing.io.test_dicom import scan, write


def named(_: int, one) -> None:
    one.SeriesDescription = "Thorax Nobody 2.5 axial"
    one.PatientID, one.StudyDate, one.ManufacturerModelName = "4711", "20260102", "Scanner X"


def test_patient_dates_and_uids_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(2), named)
    assert source_of(tmp_path / "series") == {"series": "Thorax Nobody 2.5 axial", "scanner": "Scanner X"}
    asked = source_of(tmp_path / "series", identifiers=True)
    assert (asked["patient_name"], asked["patient_id"], asked["study_date"]) == ("Nobody", "4711", "20260102")
    assert asked["series_uid"] == "1.2.826.0.1.7"


def test_anonymised_descriptions_keep_words_of_protocols_only(tmp_path: Path) -> None:
    write(tmp_path / "series", scan(2), named)
    assert source_of(tmp_path / "series", anonymise=True)["series"] == "Thorax 2.5 axial"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("AX T2_FLAIR (Smith)", "AX T2 FLAIR"),
        ("MILLER^ANNA CT Abdomen 5mm", "CT Abdomen 5mm"),
        ("t1_mprage_sag_p2_iso 12.03.1961", "t1 mprage sag iso"),
        ("Jane Doe", ""),
        ("ID 20391823 portal venous 1,5 mm", "portal venous 1 5 mm"),
    ],
)
def test_any_word_that_is_not_of_a_protocol_may_be_a_name(said: str, kept: str) -> None:
    assert protocol_words(said) == kept


def test_the_name_of_a_file_is_no_source(tmp_path: Path) -> None:
    write_volume(scan(2), tmp_path / "Jane_Doe.nii.gz")
    assert source_of(tmp_path / "Jane_Doe.nii.gz") == {}
    (tmp_path / "empty").mkdir()
    assert source_of(tmp_path / "empty") == {}
