"""A network that answers prompts learns what prompts mean, from users who correct it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.trainer.methods.tiny import tiny_method, tiny_plan
from Testing.trainer.tiny import tiny_run
from trainer.loop import fit
from trainer.methods.clicks import Clicks, User, losses
from trainer.transfer import Source, read_source, start_from


def discs(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Two discs that look the same, of which one is meant: only the prompts tell which."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:32, :32]
    pictures, targets = [], []
    for _ in range(count):
        places = [(rng.integers(7, 25), 8), (rng.integers(7, 25), 24)]
        both = [(rows - row) ** 2 + (columns - column) ** 2 <= 25 for row, column in places]
        pictures.append(np.where(both[0] | both[1], 0.8, 0.2).astype(np.float32))
        targets.append(both[rng.integers(2)])
    target = torch.from_numpy(np.stack(targets))
    return {"picture": torch.from_numpy(np.stack(pictures)[:, None]), "target": target, "neighbour": target}


def clicks(**settings) -> Clicks:
    return tiny_method("clicks", tiny_plan(), **{"widths": (8, 8, 8)} | settings)


def test_after_some_steps_a_click_says_which_of_two_equal_things_is_meant() -> None:
    method = clicks()
    optimiser = torch.optim.AdamW(method.parameters(), lr=0.01)
    for step in range(60):
        optimiser.zero_grad()
        method.loss(discs(6, step), step)[0].backward()
        optimiser.step()
    batch = discs(8, 1000)
    users = []
    for target in batch["target"].numpy():
        row, column = (round(float(at.mean())) for at in np.nonzero(target))
        users.append(User(target, [(column, row)], [True]))
    with torch.no_grad():
        found = method.backbone.network(batch["picture"], method._hints(users))[:, 0] > 0
    overlap = (found & batch["target"]).sum((1, 2)) * 2 / (found.sum((1, 2)) + batch["target"].sum((1, 2)))
    assert overlap.mean() > 0.8


@pytest.mark.parametrize("name", ["cross_entropy", "dice"])
def test_each_term_alone_moves_encoder_and_decoder(name: str) -> None:
    method = clicks()
    method.terms(discs(4, 0), 0)[name].backward()
    moved = {key.split(".")[1]: value.grad is not None for key, value in method.backbone.named_parameters()}
    assert moved == dict.fromkeys(("encoder", "meeting", "decoder", "classifier"), True)
    assert all(value.grad.isfinite().all() for value in method.parameters())


def test_a_step_depends_on_its_number_alone() -> None:
    method = clicks()
    one, other = (method.terms(discs(4, 0), 7)["dice"] for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, method.terms(discs(4, 0), 8)["dice"])


def test_pictures_without_a_target_give_no_nan() -> None:
    batch = discs(3, 0)
    batch["target"] = torch.zeros_like(batch["target"])
    batch["neighbour"] = batch["target"]
    terms = clicks(rounds=(0.0, 0.0, 0.0, 1.0)).terms(batch, 0)
    assert all(term.isfinite() for term in terms.values())


def test_a_right_answer_costs_nothing() -> None:
    target = discs(2, 0)["target"].float()
    terms = losses((target * 2 - 1) * 30, target)
    assert all(float(term) < 1e-4 for term in terms.values())


def test_the_encoder_takes_what_a_pretraining_of_slices_has_learnt() -> None:
    from trainer.networks import build

    torch.manual_seed(5)
    pretrained = build({"_target_": "SliceUNet", "out_channels": 3, "widths": [8, 8, 8]}).network
    state = {name: value for name, value in pretrained.state_dict().items() if name.startswith("encoder.")}
    method = clicks()
    start_from(method, Source("somewhere", state))
    own = method.backbone.network.state_dict()
    assert state
    assert all(torch.equal(own[name], value) for name, value in state.items())


def test_it_is_no_predictor_so_that_it_is_neither_evaluated_nor_packaged_as_one() -> None:
    assert clicks().predictor() is None


def test_where_something_has_ended_the_user_hands_on_its_mask_and_corrects_what_is_found() -> None:
    neighbour = np.zeros((32, 32), dtype=bool)
    neighbour[8:20, 10:22] = True
    user = clicks()._user(np.zeros_like(neighbour), neighbour, np.random.default_rng(0))
    assert user.mask is not None
    assert user.box is not None
    assert not user.points
    user.correct(neighbour, np.random.default_rng(0))
    assert user.signs == [False]


def test_a_longer_training_goes_on_with_all_it_has_learnt(tmp_path: Path) -> None:
    changes = ("steps=2", "sampling.side=16", "widths=[4, 8]", "batch=2")
    before = tiny_run(tmp_path, "before", *changes, method="clicks")
    fit(before)
    source = read_source(before.folder)
    assert "nothing is new" in start_from(clicks(widths=(4, 8)), source)
