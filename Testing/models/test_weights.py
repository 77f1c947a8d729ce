"""Weights files: what fits is loaded, what could run code is not, and every misfit is named."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from SSLSegmentationLib.errors import InputError
from SSLSegmentationLib.models.read import package_hash, read_package
from SSLSegmentationLib.models.weights import load_network, read_state
from Testing.models.packages import SMALL_UNET, state_of, write_bundle


@pytest.fixture
def folder(tmp_path):
    return write_bundle(tmp_path / "zoo")


@pytest.fixture
def state():
    return state_of(SMALL_UNET)


def refusal(folder):
    with pytest.raises(InputError) as caught:
        load_network(read_package(folder))
    return str(caught.value)


def assert_holds(network, state):
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in state.items())
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_safetensors_are_loaded_ready_to_segment(folder, state):
    save_file(state, folder / "models/model.safetensors")
    network = load_network(read_package(folder))
    assert_holds(network, state)
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 3, 8, 8, 8)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"network.{k}": v for k, v in state.items()}, "epoch": 3},
        lambda state: {f"module.{k}": v for k, v in state.items()},
        lambda state: {"network_weights": {f"_orig_mod.module.{k}": v for k, v in state.items()}},
    ],
)
def test_checkpoints_of_known_training_programs_are_unwrapped(folder, state, wrap):
    torch.save(wrap(state), folder / "models/model.pt")
    assert_holds(load_network(read_package(folder)), state)


def test_the_old_file_format_of_pytorch_is_read_as_well(folder, state):
    torch.save(state, folder / "models/model.pt", _use_new_zipfile_serialization=False)
    assert_holds(load_network(read_package(folder)), state)


def test_half_precision_weights_fill_a_network_of_single_precision(folder, state):
    save_file({name: tensor.half() for name, tensor in state.items()}, folder / "models/model.safetensors")
    network = load_network(read_package(folder))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


class Touch:
    """Pickled, it touches a file when it is opened carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("how", ["zip", "old", "bare"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_file_that_would_run_a_command_is_refused_and_runs_nothing(folder, state, tmp_path, how, nested):
    trap, path = Touch(tmp_path / "ran"), folder / "models/model.pt"
    content = {"model": state, "epoch": trap} if nested else trap
    if how == "bare":
        path.write_bytes(pickle.dumps(trap))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
    message = refusal(folder)
    assert message.startswith("zoo/models/model.pt ")
    assert ("could run code" in message) or how == "bare"
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_refused(folder):
    torch.save(torch.nn.Linear(2, 2), folder / "models/model.pt")
    assert "could run code when it is opened, so it was not" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 not really", b"\x80\x02."])
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_a_file_that_is_no_weights_is_refused_with_its_name(folder, name, content):
    (folder / "models" / name).write_bytes(content)
    assert refusal(folder).startswith(f"zoo/models/{name} is damaged")


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused_with_its_name(folder, state, ending, part):
    path = folder / f"models/model.{ending}"
    torch.save(state, path) if ending == "pt" else save_file(state, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    assert refusal(folder).startswith(f"zoo/models/model.{ending} is damaged")


def test_a_compressed_archive_is_refused_before_it_unfolds(folder, tmp_path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pt")
    path = folder / "models/model.pt"
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "compressed archive" in refusal(folder)


def test_a_few_bytes_that_pose_as_terabytes_are_refused(folder):
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, folder / "models/model.pt")
    assert '"a" is not a plain tensor' in refusal(folder)


def test_a_definition_larger_than_the_weights_is_refused_before_it_is_built(tmp_path, state):
    folder = write_bundle(tmp_path / "zoo", network=SMALL_UNET | {"channels": [4096, 4096]})
    save_file(state, folder / "models/model.safetensors")
    assert "far larger than its weights file" in refusal(folder)


def test_names_and_sizes_that_do_not_fit_are_listed(folder, state):
    first, second, *_ = state
    wrong = dict(state)
    wrong["surplus.weight"] = wrong.pop(first)
    wrong[second] = torch.zeros(7)
    save_file(wrong, folder / "models/model.safetensors")
    message = refusal(folder)
    for words in ("does not fit the UNet", f"lacks {first}", "has surplus.weight", f"{second} (7 instead of"):
        assert words in message


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}, {}, {"model": {"model": {"model": {}}}}])
def test_a_checkpoint_without_a_table_of_weights_is_refused(folder, content):
    torch.save(content, folder / "models/model.pt")
    assert "holds no table of weights" in refusal(folder)


def test_weights_that_are_not_finite_are_refused(folder, state):
    state[next(iter(state))].view(-1)[0] = np.nan
    save_file(state, folder / "models/model.safetensors")
    assert "not finite" in refusal(folder)


def test_sparse_weights_are_refused(folder):
    torch.save({"a": torch.eye(3).to_sparse()}, folder / "models/model.pt")
    with pytest.raises(InputError, match=r"model\.pt"):
        read_state(folder / "models/model.pt", "zoo/models/model.pt")


def test_missing_weights_are_said_when_they_are_needed(folder):
    assert refusal(folder) == "zoo/models/model.pt is missing: get the package again, with its large files."


def test_the_hash_is_that_of_the_file_and_changes_with_it(folder, state):
    import hashlib

    path = folder / "models/model.safetensors"
    save_file(state, path)
    package = read_package(folder)
    assert package_hash(package) == hashlib.sha256(path.read_bytes()).hexdigest()
    before = package_hash(package)
    save_file(state_of(SMALL_UNET, seed=1), path)
    assert package_hash(package) != before
    path.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        package_hash(package)
