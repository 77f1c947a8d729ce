from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from SSLSegmentationLib.labels import Label
from Testing.models.packages import small_package
from Testing.trainer.data.folders import plan_for
from trainer.data.continuing import continuing

PLAN = plan_for(Path("data"), labels=(Label(1, "Spleen"), Label(2, "cyst"), Label(7, "liver")))


def test_what_the_network_sees_stays_as_it_was() -> None:
    package = small_package()
    plan = continuing(PLAN, package)
    assert (plan.preprocessing, plan.patch, plan.sliding) == (
        package.preprocessing,
        package.sliding.patch,
        package.sliding,
    )
    assert (plan.modality, plan.dims, plan.data) == ("CT", 3, PLAN.data)


def test_classes_keep_their_order_and_new_ones_come_last() -> None:
    plan = continuing(PLAN, small_package())
    assert [(label.name, label.value) for label in plan.labels] == [("liver", 7), ("Spleen", 1), ("cyst", 2)]
    assert plan.network["out_channels"] == 4


def test_the_same_labels_leave_the_network_as_it_is() -> None:
    package = small_package()
    assert continuing(replace(PLAN, labels=package.labels), package).network == package.network
