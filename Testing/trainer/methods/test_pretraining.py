"""What holds for every method that learns without labels, and for dual_ssl, which learns with them."""

from __future__ import annotations

import dataclasses
import logging
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from SSLSegmentationLib.errors import InputError
from Testing.trainer.methods.tiny import (
    FLAT,
    SIDES,
    gradients_of,
    tiny_batch,
    tiny_method,
    tiny_plan,
    train,
    weights_of,
)
from Testing.trainer.parts.cases import cases
from trainer.data.splits import Split
from trainer.methods import method_class
from trainer.methods.base import Method
from trainer.methods.optimiser import Optimiser
from trainer.networks import build
from trainer.parts.views import Box

FLAT_SIDES = (16, 16, 1)
SMALL = {"hidden": 8, "out": 6}
SETTINGS = {
    "pixel_global": SMALL | {"pixel_hidden": 8, "stride": 2, "pixels": 64, "passes": 3},
    "simclr": SMALL,
    "polycl": {},
    "models_genesis": {},
    "dual_ssl": {"embedding": 4, "cubes": (2, 3), "sides": (2, 4)},
}
ALL = sorted(SETTINGS)
PRETRAINING = sorted(set(ALL) - {"dual_ssl"})
FORMS = [
    ("pixel_global", {}, SIDES),
    ("pixel_global", {}, FLAT_SIDES),
    ("pixel_global", {"alpha": 0.0}, FLAT_SIDES),
    ("pixel_global", {"global_weight": 0.0}, FLAT_SIDES),
    ("pixel_global", {"context": "propagation", "match": "radius"}, FLAT_SIDES),
    ("pixel_global", {"context": "identity"}, SIDES),
    ("pixel_global", {"weighting": "kendall"}, FLAT_SIDES),
    ("pixel_global", {"weighting": "none"}, SIDES),
    ("simclr", {}, SIDES),
    ("simclr", {}, FLAT_SIDES),
    ("polycl", {}, FLAT_SIDES),
    ("polycl", {"projection": "mlp", "negatives": 3}, FLAT_SIDES),
    ("models_genesis", {}, SIDES),
    ("models_genesis", {"everywhere": False}, FLAT_SIDES),
    ("dual_ssl", {}, SIDES),
    ("dual_ssl", {"relu": True, "passes": 2}, FLAT_SIDES),
]


def make(name: str, changes: dict | None = None, sides: tuple[int, int, int] | None = None, **more: object) -> Method:
    sides = sides or (FLAT_SIDES if name == "polycl" else SIDES)
    plan = tiny_plan(3, FLAT, sides) if sides[2] == 1 else tiny_plan(sides=sides)
    return tiny_method(name, plan, **(SETTINGS[name] | (changes or {}) | more))


def batch_for(method: Method, seed: int = 0, images: Tensor | None = None) -> dict[str, Tensor]:
    """What the method's sampler gives, of random numbers; or of given images (4, 1, i, j, k)."""
    sides = method.plan.patch
    random = torch.Generator().manual_seed(seed)

    def image(count: int = 4) -> Tensor:
        return torch.randn(count, 1, *sides, generator=random) if images is None else images[:count]

    kind = type(method).__name__
    if kind in ("PixelGlobal", "SimCLR"):
        region = Box(np.zeros(3), np.array(sides, dtype=float))
        moved = Box(np.array([1.5, 2.0, 0.0]), np.array([s - 3 if s > 1 else s for s in sides], dtype=float))
        affines = [torch.from_numpy(box.affine()).expand(4, 3, 4) for box in (region, moved)]
        return {"view_a": image(), "view_b": image(), "affine_a": affines[0], "affine_b": affines[1]}
    if kind == "PolyCL":
        negatives = torch.stack([image() for _ in range(method.settings.negatives)], 1)
        return {"anchor": image(), "positive": image(), "negative": negatives}
    if kind == "ModelsGenesis":
        touched = torch.rand(4, 1, *sides, generator=random) < 0.3
        clean = image()
        return {"image": clean, "spoilt": torch.where(touched, 0.0, clean), "touched": touched}
    batch = tiny_batch(sides=sides, seed=seed) | ({} if images is None else {"image": images})
    points = torch.stack([torch.randint(side, (12,), generator=random) for side in sides], 1)
    return batch | {
        "point_image": torch.arange(12) // 6,
        "point_place": points,
        "point_class": torch.arange(12) % 2,
    }


def warmed_up(method: Method) -> Method:
    train(method, [batch_for(method, seed) for seed in range(3)])
    return method


def network_of(method: Method) -> tuple[str, torch.nn.Module]:
    if hasattr(method, "student"):
        return "student.backbone.network.", method.student.backbone.network
    return "backbone.network.", method.backbone.network


# Gradient liveness: each term alone moves what it should, and nothing else.

HEADS = {
    ("pixel_global", "global"): ("student.global_projector.", "global_predictor."),
    ("pixel_global", "pixel"): ("student.pixel_projector.", "context."),
    ("pixel_global", "variance"): ("student.pixel_projector.", "context."),
    ("simclr", "contrast"): ("projector.",),
    ("polycl", "contrast"): ("projector.",),
    ("models_genesis", "restoration"): ("restorer.",),
    ("dual_ssl", "contrast"): ("projector.",),
    ("dual_ssl", "restoration"): ("restorer.",),
    ("dual_ssl", "dice"): (),
    ("dual_ssl", "cross_entropy"): (),
}
BEHIND = {
    "global": "encoder",
    "contrast": "encoder",
    "pixel": "features",
    "variance": "features",
    "restoration": "features",
    "dice": "all",
    "cross_entropy": "all",
}


@pytest.mark.parametrize(("name", "changes", "sides"), FORMS)
def test_each_term_moves_what_it_is_made_from_and_nothing_else(name: str, changes: dict, sides: tuple) -> None:
    method = warmed_up(make(name, changes, sides))
    prefix, network = network_of(method)
    kernels = weights_of(network, prefix)
    decoder = {kernel for kernel in kernels if kernel.startswith(f"{prefix}decoder")}
    classifier = {kernel for kernel in kernels if kernel.startswith(f"{prefix}classifier")}
    trained = [term for term, weight in method.weights(50).items() if weight > 0]
    assert trained
    assert decoder
    for term in trained:
        moved = gradients_of(method, batch_for(method), term)
        expected = {
            "encoder": kernels - decoder - classifier,
            "features": kernels - classifier,
            "all": kernels,
        }[BEHIND[term]]
        assert {kernel for kernel in moved if kernel in kernels} == expected, term
        heads = HEADS[name, term]
        others = {parameter for parameter in moved if not parameter.startswith(prefix)}
        assert all(parameter.startswith(heads) for parameter in others), term
        for head in heads:
            module = getattr(method.get_submodule(head.rstrip(".").rpartition(".")[0]), head.split(".")[-2], None)
            if module is not None:
                assert weights_of(module, head) <= moved, (term, head)


@pytest.mark.parametrize("changes", [{}, {"alpha": 0.0}, {"context": "propagation"}])
def test_the_teacher_gets_no_gradient_from_any_term(changes: dict) -> None:
    method = make("pixel_global", changes)
    sum(method.terms(batch_for(method), 50).values()).backward()
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in method.teacher.parameters())
    teacher = [id(parameter) for parameter in method.teacher.parameters()]
    optimised = [id(p) for group in method.configure_optimizers().param_groups for p in group["params"]]
    assert not set(teacher) & set(optimised)


def test_the_teacher_is_the_average_that_its_momentum_says() -> None:
    """w_n = Π m_t · w_0 + Σ_t (1 − m_t) Π_{u>t} m_u · s_t, with m_t = 1 − (1 − m₀)(1 + cos(πt/T))/2."""
    method = make("pixel_global", momentum=0.6)
    name, weight = next(iter(method.student.named_parameters()))
    expected, steps = weight.detach().clone(), 7
    for step in range(steps):
        with torch.no_grad():
            weight.add_(torch.randn_like(weight))
        momentum = 1 - (1 - 0.6) * (1 + math.cos(math.pi * step / method.steps)) / 2
        expected = momentum * expected + (1 - momentum) * weight.detach()
        method.after_step(step)
    assert torch.allclose(dict(method.teacher.network.named_parameters())[name], expected, atol=1e-6)


def test_the_teacher_slows_down_along_a_cosine() -> None:
    method = make("pixel_global", momentum=0.9)
    assert type(method).after_step is not Method.after_step
    moved = []
    for step in (0, 50, 100):
        weight = next(method.student.parameters())
        with torch.no_grad():
            next(method.teacher.parameters()).copy_(weight)
            weight.add_(1.0)
        method.after_step(step)
        moved.append(float((next(method.teacher.parameters()) - weight + 1.0).detach().mean()))
    assert moved == pytest.approx([0.1, 0.05, 0.0], abs=1e-5)


# Degenerate batches.


@pytest.mark.parametrize(("name", "changes", "sides"), FORMS)
@pytest.mark.parametrize("value", [0.0, 1000.0])
def test_constant_images_give_finite_terms_and_gradients(name: str, changes: dict, sides: tuple, value: float) -> None:
    method = make(name, changes, sides)
    batch = batch_for(method, images=torch.full((4, 1, *sides), value))
    check_finite(method, batch)


@pytest.mark.parametrize(("name", "changes", "sides"), [form for form in FORMS if form[0] == "pixel_global"])
def test_views_without_overlap_give_no_pixel_loss_and_no_nan(name: str, changes: dict, sides: tuple) -> None:
    method = make(name, changes, sides)
    batch = batch_for(method)
    batch["affine_b"] = batch["affine_b"] + torch.tensor([0.0, 0, 0, 100])
    terms = check_finite(method, batch)
    if "pixel" in terms:
        assert terms["pixel"].item() == 0
        assert terms["watched/overlap"].item() == 0


@pytest.mark.parametrize("sides", [SIDES, FLAT_SIDES])
@pytest.mark.parametrize("labels", ["background", "empty class", "one voxel", "not annotated"])
@pytest.mark.parametrize("points", ["none", "one class", "one"])
def test_dual_ssl_bears_patches_with_little_in_them(sides: tuple, labels: str, points: str) -> None:
    method = make("dual_ssl", {}, sides)
    batch = batch_for(method)
    if labels == "background":
        batch["labels"] = torch.zeros_like(batch["labels"])
    elif labels == "empty class":
        batch["labels"] = batch["labels"].clamp(max=1)
    elif labels == "one voxel":
        batch["labels"] = torch.zeros_like(batch["labels"])
        batch["labels"][0, 0, 3, 3, 0] = 2
    else:
        batch["annotated"] = torch.tensor([[True, False, False]] * 2)
    kept = {"none": [], "one class": [0, 2, 4], "one": [1]}[points]
    for key in ("point_image", "point_place", "point_class"):
        batch[key] = batch[key][kept]
    assert check_finite(method, batch)["contrast"].item() == 0


def test_nothing_spoilt_gives_no_restoration_loss() -> None:
    method = make("models_genesis", everywhere=False)
    batch = batch_for(method)
    batch["touched"] = torch.zeros_like(batch["touched"])
    assert check_finite(method, batch)["restoration"].item() == 0


def test_restoring_gets_better_than_giving_back_what_was_spoilt() -> None:
    """Smooth images, of which a third of the voxels is blank: their neighbours tell what was there."""
    method = make("models_genesis", optimiser=Optimiser("adam", 1e-2))
    for layer in method.modules():
        if isinstance(layer, torch.nn.modules.dropout._DropoutNd):
            layer.p = 0.0
    random = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(4):
        coarse = 2 * torch.randn(4, 1, 2, 2, 2, generator=random)
        clean = torch.nn.functional.interpolate(coarse, size=SIDES, mode="trilinear")
        touched = torch.rand(clean.shape, generator=random) < 0.3
        batches.append({"image": clean, "spoilt": torch.where(touched, 0.0, clean), "touched": touched})
    before = method.terms(batches[0], 0)
    assert before["restoration"] > before["watched/given_back"] > 0
    train(method, batches * 25)
    after = method.terms(batches[0], 0)
    assert after["watched/given_back"] == before["watched/given_back"]
    assert after["restoration"] < 0.5 * after["watched/given_back"]


def check_finite(method: Method, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    method.zero_grad(set_to_none=True)
    terms = method.terms(batch, 50)
    assert all(torch.isfinite(term) for term in terms.values()), terms
    sum(terms.values()).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    return terms


# What every method owes the loop.


@pytest.mark.parametrize(("name", "changes", "sides"), FORMS)
def test_terms_and_weights_have_the_same_names_and_terms_are_float_numbers(
    name: str, changes: dict, sides: tuple
) -> None:
    method = make(name, changes, sides)
    for step in (0, 9, 10, 99):
        terms = method.terms(batch_for(method), step)
        assert terms.keys() == method.weights(step).keys()
        for key, term in terms.items():
            assert term.dim() == 0, key
            assert term.dtype == torch.float32, key


@pytest.mark.parametrize(("name", "changes", "sides"), FORMS)
def test_half_precision_gives_finite_terms_in_single_precision(name: str, changes: dict, sides: tuple) -> None:
    method = make(name, changes, sides)
    with torch.autocast("cpu", torch.bfloat16):
        terms = method.terms(batch_for(method), 50)
    assert all(term.dtype == torch.float32 and torch.isfinite(term) for term in terms.values())


@pytest.mark.parametrize(("name", "changes", "sides"), FORMS)
def test_the_same_seed_gives_the_same_weights_and_another_one_others(name: str, changes: dict, sides: tuple) -> None:
    def trained(seed: int) -> list[Tensor]:
        torch.manual_seed(0)
        method = make(name, changes, sides, optimiser=Optimiser("adam", 1e-3))
        method.seed = seed
        torch.manual_seed(seed + 100)  # what was drawn before does not count
        train(method, [batch_for(method, number) for number in range(3)])
        return [value.detach().clone() for value in method.state_dict().values()]

    first, again = trained(1), trained(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    if name == "dual_ssl" or (changes.get("alpha", 1.0) and name == "pixel_global") or name == "polycl":
        assert any(not torch.equal(a, b) for a, b in zip(first, trained(2), strict=True))  # drop-out, cubes, pixels


@pytest.mark.parametrize(("name", "changes", "sides"), FORMS)
def test_the_loss_falls_on_batches_that_come_again(name: str, changes: dict, sides: tuple) -> None:
    method = make(name, changes, sides, optimiser=Optimiser("adam", 3e-3))
    method.steps = 10**6  # the teacher keeps following, and restoration has not begun
    for layer in method.modules():
        if isinstance(layer, torch.nn.modules.dropout._DropoutNd):
            layer.p = 0.0  # its noise would hide what so few steps change
    batch = batch_for(method)
    losses = train(method, [batch] * 25)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


@pytest.mark.parametrize("name", PRETRAINING)
def test_what_was_trained_starts_a_segmentation_network_and_the_classifier_is_new(name: str) -> None:
    method = warmed_up(make(name))
    state = method.transferable()
    fresh = build(method.plan.network).network
    missing, unexpected = fresh.load_state_dict(state, strict=False)
    assert not unexpected
    parts = {"classifier"} | ({"decoder", "dropout"} if name in ("simclr", "polycl") else set())
    assert {name.split(".")[0] for name in missing} <= parts
    assert any(name.startswith("classifier") for name in missing)
    assert method.predictor() is None
    assert all(not value.requires_grad for value in state.values())


def test_byol_leaves_the_decoder_and_pixel_global_trains_it() -> None:
    names = {alpha: set(make("pixel_global", alpha=alpha).transferable()) for alpha in (0.0, 1.0)}
    assert not any(name.startswith("decoder") for name in names[0.0])
    assert any(name.startswith("decoder") for name in names[1.0])


@pytest.mark.parametrize(("name", "changes"), [("simclr", {}), ("polycl", {}), ("pixel_global", {"alpha": 0.0})])
def test_a_method_that_trains_the_encoder_lets_the_decoder_rest(name: str, changes: dict) -> None:
    method = make(name, changes)
    network, asked = network_of(method)[1], []
    for part in (*network.decoder.modules(), network.classifier):
        part.register_forward_hook(lambda *_: asked.append(1))
    method.terms(batch_for(method), 0)
    assert not asked
    network(torch.zeros(1, 1, *method.plan.patch))
    assert asked


@pytest.mark.parametrize("name", ALL)
def test_samplers_give_what_the_terms_ask_for(name: str) -> None:
    method = make(name)
    split = Split(("case0", "case1"), ("case2", "case3"), ())
    batches = method.batches(method.plan, cases(), split, method.settings, steps=20, seed=0, rank=0, world=1)
    assert len(batches) == 20
    batch = batches[15]
    assert method.plan.batch == len(next(iter(batch.values())))
    terms = method.terms(batch, 15)
    assert all(torch.isfinite(term) for term in terms.values())


@pytest.mark.parametrize("variant", ["S", "O", "M"])
def test_polycl_takes_flags_of_unlabelled_cases_only_if_it_may(variant: str) -> None:
    split = Split(("case0", "case1"), ("case2", "case3"), ())
    kind = method_class("polycl")
    plan = tiny_plan(3, FLAT, FLAT_SIDES)
    for weak in (False, True):
        told = kind.Settings(variant=variant, weak_labels=weak)
        batches = kind.batches(plan, cases(), split, told, steps=1, seed=0, rank=0, world=1)
        assert len(batches.names) == (4 if weak or variant == "S" else 2)


def test_unlabelled_cases_feed_the_restoration_of_dual_ssl_alone() -> None:
    method = warmed_up(make("dual_ssl", unlabelled=2))
    batch = batch_for(method)
    moved = {}
    for term in ("dice", "cross_entropy", "contrast", "restoration"):
        torch.manual_seed(1)
        image = batch["image"].clone().requires_grad_()
        method.terms(batch | {"image": image}, 50)[term].backward()
        moved[term] = [bool((gradient != 0).any()) for gradient in image.grad.flatten(1)]
    assert moved["restoration"] == [True] * 4
    assert all(moved[term][2:] == [False, False] for term in ("dice", "cross_entropy", "contrast"))
    assert method.needs_unlabelled == 1


def test_restoration_begins_after_a_tenth_of_the_training() -> None:
    method = make("dual_ssl")
    assert [method.weights(step)["restoration"] for step in (0, 9, 10, 99)] == [0.0, 0.0, 1.0, 1.0]
    assert method.terms(batch_for(method), 9)["restoration"].item() == 0
    assert method.terms(batch_for(method), 10)["restoration"].item() > 0


def test_collapse_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("pixel_global", "simclr", "polycl"):
        caplog.clear()
        method = make(name)
        batch = batch_for(method, images=torch.ones(4, 1, *method.plan.patch))
        with caplog.at_level(logging.WARNING):
            terms = method.terms(batch, 50)
        assert any(term < 0.5 for key, term in terms.items() if key.startswith("watched/spread"))
        assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("name", "plan", "message"),
    [
        ("polycl", tiny_plan(), "PolyCL learns from slices"),
        ("simclr", dataclasses.replace(tiny_plan(), batch=1), "the batch has one"),
        ("pixel_global", dataclasses.replace(tiny_plan(3, FLAT, FLAT_SIDES), batch=1), "the batch has one"),
    ],
)
def test_a_plan_that_does_not_suit_is_refused_with_the_remedy(name: str, plan: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny_method(name, plan)
