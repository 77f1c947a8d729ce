"""Beginning with what was learnt before, told in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from SSLSegmentationLib.errors import InputError
from Testing.trainer.tiny import NETWORK, tiny_plan, tiny_run
from trainer.loop import fit, new_method
from trainer.methods import method_class
from trainer.package import package_runs
from trainer.run import Run
from trainer.saving import read_checkpoint, trained, trained_predictor, trained_result
from trainer.transfer import load_into, read_source, start_from


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = tiny_run(tmp_path_factory.mktemp("transfer"), "first", "steps=2")
    fit(run)
    return run


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_run_its_checkpoint_and_its_package_hold_the_same_weights(run: Run, tmp_path: Path) -> None:
    package = package_runs([run], tmp_path / "boxes", licence="Apache-2.0").folder
    for source in (run.folder, run.checkpoint, package):
        method = new_method(tiny_run(tmp_path, source.name.replace(".", "-") + "-next"))
        words = start_from(method, read_source(source))
        assert same(method.predictor().network, trained_predictor(run).network)
        assert words.startswith("100% of the network's")
        assert words.endswith("nothing is new.")


def test_training_begins_with_the_weights_it_is_told_to(run: Run, tmp_path: Path) -> None:
    other = tiny_run(tmp_path, "other", "steps=1", "optimiser.lr=0", "optimiser.weight_decay=0", start=str(run.folder))
    said: list[str] = []
    fit(other, say=said.append)
    assert same(trained_predictor(other).network, trained_predictor(run).network)
    assert "the run first (supervised)" in said[0]


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_what_was_learnt_before_has_its_share_in_the_result(run: Run, tmp_path: Path, average: float) -> None:
    shares = {}
    for share in (0.0, 0.25):
        changes = ("steps=2", f"start_share={share}", f"average={average}")
        part = tiny_run(tmp_path, f"share-{share}", *changes, start=str(run.folder))
        fit(part)
        shares[share] = trained_result(part).network.state_dict()
    first = trained_result(run).network.state_dict()
    assert any(not torch.equal(first[name], last) for name, last in shares[0.0].items())
    for name, last in shares[0.0].items():
        torch.testing.assert_close(shares[0.25][name], 0.25 * first[name] + 0.75 * last)


def test_networks_that_answer_prompts_are_averaged_as_well(tmp_path: Path) -> None:
    changes = ("steps=2", "sampling.side=16", "widths=[4, 8]", "batch=2", "average=0.9")
    first = tiny_run(tmp_path, "pointing", *changes, method="clicks")
    fit(first)
    then = tiny_run(tmp_path, "following", *changes, "start_share=0.5", method="clicks", start=str(first.folder))
    fit(then)
    kept = read_checkpoint(then.checkpoint)["callbacks"]["Average"]["weights"]
    start, found = (trained_result(one).network.state_dict() for one in (first, then))
    for name, mean in kept.items():
        torch.testing.assert_close(found[name], 0.5 * start[name] + 0.5 * mean)


def test_a_start_that_does_not_fill_the_network_can_have_no_share_in_it(run: Run) -> None:
    plan = tiny_plan(run.plan.data, network={**NETWORK, "out_channels": 5})
    method = method_class("supervised")(plan, method_class("supervised").Settings(), 1, 0)
    with pytest.raises(InputError, match="no weights for classifier, so it cannot have a share"):
        start_from(method, read_source(run.folder), 0.5)


def test_a_classifier_for_other_labels_stays_new_and_is_named(run: Run) -> None:
    plan = tiny_plan(run.plan.data, network={**NETWORK, "out_channels": 5})
    method = method_class("supervised")(plan, method_class("supervised").Settings(), 1, 0)
    words = start_from(method, read_source(run.folder))
    assert "new are classifier" in words
    assert not words.startswith("100%")


def test_weights_of_another_network_are_refused(run: Run) -> None:
    plan = tiny_plan(run.plan.data, network={**NETWORK, "widths": [5, 9]})
    method = method_class("supervised")(plan, method_class("supervised").Settings(), 1, 0)
    with pytest.raises(InputError, match="only 0% of the weights fit"):
        start_from(method, read_source(run.folder))


def test_a_teacher_begins_where_its_student_begins(run: Run, tmp_path: Path) -> None:
    method = new_method(tiny_run(tmp_path, "teacher", method="mean_teacher"))
    start_from(method, read_source(run.folder))
    followers = [module for module in method.modules() if type(module).__name__ == "EMATeacher"]
    assert len(followers) == 1
    first = trained_predictor(run).network
    weights = dict(followers[0].network.named_parameters())
    for name, weight in first.named_parameters():
        assert any(torch.equal(weight, other) for key, other in weights.items() if key.endswith(name))


def test_pretraining_gives_what_fine_tuning_starts_from(tmp_path: Path) -> None:
    before = tiny_run(tmp_path, "before", "steps=1", "save_every=1", method="models_genesis")
    fit(before)
    source = read_source(before.folder)
    assert source.words == "the pre-training before (models_genesis)"
    after = new_method(tiny_run(tmp_path, "after"))
    words = start_from(after, source)
    assert "come from the pre-training before" in words
    state, loaded = after.predictor().network.state_dict(), trained(before).transferable()
    shared = [name for name in state if name in loaded and loaded[name].shape == state[name].shape]
    assert shared
    assert all(torch.equal(state[name], loaded[name]) for name in shared)


def test_only_tensors_of_the_same_name_and_shape_are_loaded() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    state = {"0.weight": torch.full((3, 2), 7.0), "0.bias": torch.zeros(9), "elsewhere": torch.ones(1)}
    loaded, new = load_into(network, state)
    assert loaded == ["0.weight"]
    assert new == ["0.bias", "1.weight", "1.bias"]
    assert (network[0].weight == 7).all()


def test_what_holds_no_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a run, nor its checkpoint, nor a model package"):
        read_source(tmp_path)
    with pytest.raises(InputError, match="no checkpoint yet"):
        read_source(tiny_run(tmp_path).folder)


def test_a_damaged_checkpoint_is_told_by_its_name(run: Run, tmp_path: Path) -> None:
    broken = tiny_run(tmp_path, "broken")
    broken.checkpoint.write_bytes(run.checkpoint.read_bytes()[:500])
    with pytest.raises(InputError, match=r"last\.ckpt cannot be read"):
        read_source(broken.folder)
