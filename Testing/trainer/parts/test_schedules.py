"""Ramps at the steps that papers list, and the averaged teacher."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.methods.optimiser import Schedule
from trainer.parts.peers import EMATeacher
from trainer.parts.schedules import cosine_momentum, linear, sigmoid_ramp, teacher_momentum


@pytest.mark.parametrize("step", [0, 1, 149, 150, 151, 1499, 1500, 3000, 5849, 5850, 5999, 6000, 9000])
def test_the_ramp_in_stairs_is_the_published_one(step):
    published = math.exp(-5 * (1 - min(step // 150, 40) / 40) ** 2)
    assert sigmoid_ramp(step, 6000, stairs=40) == pytest.approx(published)


def test_the_ramp_begins_near_zero_ends_at_one_and_can_be_left_out():
    assert sigmoid_ramp(0, 100) == pytest.approx(0.006738, abs=1e-6)
    assert sigmoid_ramp(50, 100) == pytest.approx(math.exp(-1.25))
    assert sigmoid_ramp(100, 100) == sigmoid_ramp(10**6, 100) == sigmoid_ramp(0, 0) == 1


def test_a_shorter_training_has_the_same_ramp_in_its_own_time():
    for part in (0, 0.25, 0.5, 0.99, 1):
        assert sigmoid_ramp(round(600 * part), 600, 40) == sigmoid_ramp(round(6000 * part), 6000, 40)


def test_a_line_goes_from_its_first_value_to_its_last_and_stays():
    assert [linear(0.8, 1.0, step, 10) for step in (0, 5, 10, 99)] == pytest.approx([0.8, 0.9, 1.0, 1.0])


def test_the_published_learning_rate_falls_tenfold_after_2500_and_5000_steps():
    schedule = Schedule("step", milestones=(2500, 5000), of=6000)
    listed = {0: 1, 2499: 1, 2500: 0.1, 4999: 0.1, 5000: 0.01, 5999: 0.01}
    assert {step: schedule(step, 6000) for step in listed} == pytest.approx(listed)
    assert [schedule(step, 60) for step in (24, 25, 49, 50)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_momenta_of_teachers():
    assert [teacher_momentum(step, 0.99) for step in (0, 1, 3, 98, 99, 5000)] == pytest.approx(
        [0, 0.5, 0.75, 98 / 99, 0.99, 0.99]
    )
    assert cosine_momentum(0, 100, 0.99) == pytest.approx(0.99)
    assert cosine_momentum(50, 100, 0.99) == pytest.approx(0.995)
    assert cosine_momentum(100, 100, 0.99) == pytest.approx(1)


def test_a_constant_student_is_approached_as_its_closed_form_says():
    torch.manual_seed(0)
    student = torch.nn.Linear(3, 2)
    teacher = EMATeacher(student)
    start = [weight.detach().clone() for weight in student.parameters()]
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(1.0)
    for _ in range(7):
        teacher.update(student, 0.9)
    for weight, beginning in zip(teacher.parameters(), start, strict=True):
        torch.testing.assert_close(weight, beginning + 1 - 0.9**7)
        assert not weight.requires_grad


def test_a_teacher_is_a_copy_and_gives_no_graph():
    student = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))
    teacher = EMATeacher(student).train()
    assert teacher.network[0].weight.data_ptr() != student[0].weight.data_ptr()
    assert not teacher(torch.ones(2, 3)).requires_grad
    assert teacher.network[1].training
