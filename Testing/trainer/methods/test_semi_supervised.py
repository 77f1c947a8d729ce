"""Every term of every semi-supervised method trains what it claims to train, and nothing else."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from SSLSegmentationLib.errors import InputError
from Testing.trainer.methods.tiny import (
    FIRST,
    FLAT,
    SECOND,
    gradients_of,
    tiny_batch,
    tiny_method,
    tiny_plan,
    train,
    weights_of,
)
from trainer.methods import method_class
from trainer.parts.uncertainty import entropy
from trainer.transfer import Source, start_from

PAIR = {"first": FIRST, "second": SECOND}
SETTINGS = {
    "mean_teacher": {},
    "ua_mt": {"certainty": 2.0},
    "cross_pseudo": PAIR,
    "ssl_contrastive": PAIR | {"most_voxels": 64},
    "dual_networks": PAIR | {"most_voxels": 64},
}
TEACHERS = ("mean_teacher", "ua_mt")
PAIRS = ("cross_pseudo", "ssl_contrastive", "dual_networks")
CONTRASTIVE = ("ssl_contrastive", "dual_networks")
ALL = sorted(SETTINGS)


def make(name, plan=None, **changes):
    return tiny_method(name, plan, **(SETTINGS[name] | changes))


def networks(method):
    """Kernels of either network of a pair, by their place."""
    return {
        "a": weights_of(method.peers.network.first, "peers.network.first."),
        "b": weights_of(method.peers.network.second, "peers.network.second."),
    }


def warmed_up(method):
    """After a step, so that a teacher is no longer its student."""
    train(method, [tiny_batch(method.plan.classes, seed=7)])
    return method


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("term", ["cross_entropy", "dice", "consistency"])
def test_each_term_moves_the_whole_student_and_never_the_teacher(name, term):
    method = warmed_up(make(name))
    moved = gradients_of(method, tiny_batch(), term)
    assert weights_of(method.student, "student.") <= moved
    assert not any(parameter.startswith("teacher") for parameter in moved)
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("own", ["a", "b"])
def test_terms_with_a_networks_name_move_all_of_it_and_nothing_of_its_peer(name, own):
    method = warmed_up(make(name))
    terms = [term for term in method.terms(tiny_batch(), 50) if term.endswith(f"_{own}")]
    assert len(terms) >= 3
    kernels = networks(method)[own]
    for term in terms:
        moved = gradients_of(method, tiny_batch(), term)
        assert kernels <= moved, term
        assert all(parameter in kernels or parameter.startswith(f"peers.network.{_side(own)}") for parameter in moved)


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("form", ["softmax", "distance"])
def test_contrast_moves_the_features_of_the_loser_alone(name, winner, form, monkeypatch):
    method = warmed_up(make(name, form=form, keep=0.3))
    let_win(method, winner, monkeypatch)
    moved = gradients_of(method, tiny_batch(), "contrast")
    loser = "ab"[1 - winner]
    features = {kernel for kernel in networks(method)[loser] if ".classifier." not in kernel}
    assert features <= moved
    assert all(parameter.startswith(f"peers.network.{_side(loser)}") for parameter in moved)
    assert not any(".classifier." in parameter for parameter in moved)


def test_as_released_every_term_moves_what_it_is_for():
    method = warmed_up(make("dual_networks", tiny_plan(2), pseudo="or", form="distance", keep=0.3, per_class=False))
    for own, kernels in networks(method).items():
        assert kernels <= gradients_of(method, tiny_batch(2), f"pseudo_{own}")


def test_on_all_patches_the_correction_looks_at_labelled_ones_as_well(monkeypatch):
    same = {}
    for where in ("unlabelled", "all"):
        method, found = make("dual_networks", rectified_on=where), []
        let_win(method, 0, monkeypatch)
        for shift in (0.0, 1.0):
            batch = tiny_batch()
            batch["image"][:2] += shift * torch.randn(
                batch["image"][:2].shape, generator=torch.Generator().manual_seed(1)
            )
            torch.manual_seed(0)
            found.append(method.terms(batch, 50)["rectified"])
        same[where] = torch.equal(*found)
        assert networks(method)["b"] <= gradients_of(method, tiny_batch(), "rectified")
    assert same == {"unlabelled": True, "all": False}


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize(
    ("teacher", "learners"), [("winner", None), ("mutual", "ab"), ("first", "b"), ("average", "ab")]
)
def test_a_corrected_network_learns_and_its_teacher_gets_no_gradient(winner, teacher, learners, monkeypatch):
    method = warmed_up(make("dual_networks", teacher=teacher))
    let_win(method, winner, monkeypatch)
    moved = gradients_of(method, tiny_batch(), "rectified")
    learners = learners or "ab"[1 - winner]
    kernels = networks(method)
    assert set().union(*(kernels[learner] for learner in learners)) <= moved
    allowed = tuple(f"peers.network.{_side(learner)}" for learner in learners)
    assert all(parameter.startswith(allowed) for parameter in moved)


def test_cosine_consistency_moves_both_networks():
    method = warmed_up(make("dual_networks"))
    moved = gradients_of(method, tiny_batch(), "cosine")
    assert networks(method)["a"] | networks(method)["b"] <= moved


@pytest.mark.parametrize("name", ALL)
def test_terms_of_the_unlabelled_patches_do_not_look_at_the_labels(name):
    """So what they teach comes from the unlabelled patches, and not from the labels by some detour."""
    method = warmed_up(make(name))
    batch = tiny_batch()
    supervised = ("cross_entropy", "dice", "verification")
    own = [term for term in method.terms(batch, 50) if not term.startswith(supervised)]
    assert own
    for term in own:
        method.zero_grad(set_to_none=True)
        torch.manual_seed(1)
        image = batch["image"].clone().requires_grad_(True)
        method.terms(batch | {"image": image}, 50)[term].backward()
        assert (image.grad[2:] != 0).any(), term
        if term != "cosine":  # which is over all patches
            assert (image.grad[:2] == 0).all(), term


@pytest.mark.parametrize("name", ALL)
def test_weights_and_terms_have_the_same_names_and_all_terms_are_plain_numbers(name):
    method = make(name)
    for step in (0, 50, 99):
        terms = method.terms(tiny_batch(), step)
        assert terms.keys() == method.weights(step).keys()
        assert all(term.dim() == 0 and term.dtype == torch.float32 for term in terms.values())


@pytest.mark.parametrize("name", ALL)
def test_with_networks_in_half_precision_losses_are_in_full_and_nearly_the_same(name):
    method = warmed_up(make(name))
    torch.manual_seed(1)
    exact = method.terms(tiny_batch(), 50)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        half = method.terms(tiny_batch(), 50)
    assert all(term.dtype == torch.float32 for term in half.values())
    for term in set(exact) - {"contrast"}:  # its voxels are drawn from others, where a few pseudo-labels differ
        torch.testing.assert_close(half[term], exact[term], rtol=0.1, atol=0.05)


def degenerate_batches(classes):
    usual = tiny_batch(classes)
    nothing = torch.zeros_like(usual["labels"])
    one_voxel = nothing.clone()
    one_voxel[0, 0, 3, 3, 3] = classes - 1
    only_background = torch.zeros(2, classes, dtype=torch.bool)
    only_background[:, 0] = True
    return {
        "all background": usual | {"labels": nothing},
        "an empty class": usual | {"labels": usual["labels"].clamp(max=classes - 2)},
        "one voxel of a class": usual | {"labels": one_voxel},
        "a constant image": usual | {"image": torch.zeros_like(usual["image"])},
        "a bright constant image": usual | {"image": torch.full_like(usual["image"], 1000.0)},
        "no class annotated": usual | {"labels": nothing, "annotated": only_background},
    }


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("case", sorted(degenerate_batches(3)))
def test_degenerate_patches_give_finite_terms_and_gradients(name, case):
    method = make(name)
    batch = degenerate_batches(3)[case]
    for step in (0, 50, 100):
        method.zero_grad(set_to_none=True)
        terms = method.terms(batch, step)
        assert all(torch.isfinite(term) for term in terms.values()), terms
        sum(terms.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", CONTRASTIVE)
@pytest.mark.parametrize("form", ["softmax", "distance"])
@pytest.mark.parametrize("unreliable", [0, 1, 8**3 * 2])
def test_no_one_and_all_voxels_unreliable_give_finite_terms(name, form, unreliable, monkeypatch):
    method = make(name, form=form)
    judge = method.judge

    def judged(*arguments):
        opinion = judge(*arguments)
        reliable = torch.ones_like(opinion.reliable)
        reliable.view(-1)[:unreliable] = False
        return dataclasses.replace(opinion, reliable=reliable)

    monkeypatch.setattr(method, "judge", judged)
    terms = method.terms(tiny_batch(), 0)
    assert all(torch.isfinite(term) for term in terms.values())
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("classes", [2, 3, 6])
def test_any_number_of_classes(name, classes):
    method = make(name, tiny_plan(classes))
    assert all(torch.isfinite(term) for term in method.terms(tiny_batch(classes), 50).values())
    assert method.predictor()(tiny_batch(classes)["image"]).shape[1] == classes


@pytest.mark.parametrize("name", ALL)
def test_flat_networks_learn_from_slices(name):
    sides = (16, 16, 1)
    plan = tiny_plan(3, FLAT, sides)
    pair = {"first": FLAT, "second": {"_target_": "SliceBasicUNet", "features": [4, 4, 4, 4, 4, 4]}}
    method = make(name, plan, **(pair if name in PAIRS else {}))
    batches = [tiny_batch(seed=seed, sides=(32, 32, 1)) for seed in range(2)]
    assert torch.isfinite(torch.tensor(train(method, batches))).all()


@pytest.mark.parametrize("name", ALL)
def test_a_class_that_a_case_does_not_annotate_is_not_pushed_away(name):
    """Its voxels are labelled background there. Where it is not annotated, the labels may not lower its score."""
    method = make(name)
    batch = tiny_batch()
    batch["labels"] = batch["labels"].clamp(max=1)
    batch["annotated"] = torch.tensor([[True, True, False], [True, True, False]])
    logits = {}

    def keep(_module, _arguments, output):
        output.retain_grad()
        logits[len(logits)] = output

    for module in method.modules():
        if getattr(module, "out_channels", None) == 3 and module.weight.requires_grad:
            module.register_forward_hook(keep)
    terms = method.terms(batch, 50)
    sum(term for key, term in terms.items() if key.startswith(("cross_entropy", "dice", "verification"))).backward()
    assert logits
    for scores in logits.values():
        background, other = scores.grad[:2, 0], scores.grad[:2, 2]
        # Its probability is the background's, so their scores are pushed the same way, each by its share.
        assert ((background * other) >= 0).all()
        assert (other != 0).any()
        both = scores[:2, [0, 2]].detach().softmax(dim=1)
        total = scores.grad[:2, [0, 2]].sum(dim=1, keepdim=True)
        torch.testing.assert_close(scores.grad[:2, [0, 2]], both * total, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_weights_and_another_one_others(name):
    batches = [tiny_batch(seed=seed) for seed in range(3)]
    runs = []
    for seed in (0, 0, 1):
        method = tiny_method(name, seed=seed, **SETTINGS[name])
        torch.manual_seed(len(runs))  # what was drawn before a step does not matter
        losses = train(method, batches)
        runs.append((losses, torch.cat([p.detach().flatten() for p in method.predictor().parameters()])))
    assert runs[0][0] == runs[1][0]
    assert torch.equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][1], runs[2][1])


@pytest.mark.parametrize("name", ALL)
def test_losses_fall_on_a_batch_that_is_seen_again_and_again(name):
    method = make(name)
    optimiser = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], 0.02)
    weights, first, last = method.weights(50), {}, {}
    for step in range(20):
        torch.manual_seed(step)
        terms = method.terms(tiny_batch(), 50)
        optimiser.zero_grad()
        sum(weights[key] * term for key, term in terms.items()).backward()
        last = {key: float(term.detach()) for key, term in terms.items()}
        first = first or last
        optimiser.step()
        method.after_step(step)
    supervised = [key for key in first if key.startswith(("cross_entropy", "dice"))]
    assert all(last[key] < 0.95 * first[key] for key in supervised)


@pytest.mark.parametrize("name", TEACHERS)
def test_the_teacher_is_the_closed_form_of_all_students_before(name):
    method = make(name, momentum=0.9)
    start = [weight.detach().clone() for weight in method.teacher.parameters()]
    students = []
    method_after = method.after_step

    def after(step):
        students.append([weight.detach().clone() for weight in method.student.parameters()])
        method_after(step)

    method.after_step = after
    train(method, [tiny_batch(seed=seed) for seed in range(14)])
    # w_n = Σ (1 − m_t) Π_{s>t} m_s · student_t, with m_t = min(1 − 1/(t + 1), 0.9); the beginning counts m_0 = 0.
    momenta = [min(1 - 1 / (t + 1), 0.9) for t in range(14)]
    parts = [(1 - momenta[t]) * torch.tensor(momenta[t + 1 :]).prod().item() for t in range(14)]
    assert sum(parts) == pytest.approx(1)
    for index, weight in enumerate(method.teacher.parameters()):
        expected = sum(part * student[index] for part, student in zip(parts, students, strict=True))
        torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-6)
        assert start[index].shape == weight.shape


def test_ua_mt_follows_the_teacher_only_where_it_is_sure():
    method = warmed_up(make("ua_mt", certainty=0.0))
    assert entropy(method.teacher(tiny_batch()["image"]).softmax(1)).min() > 0.01
    assert gradients_of(method, tiny_batch(), "consistency", step=0) == set()


@pytest.mark.parametrize(("p", "followed"), [((0.9, 0.1, 0.0), True), ((0.5, 0.5, 0.0), False)])
def test_ua_mt_leaves_a_voxel_alone_that_is_torn_between_two_classes(p, followed, monkeypatch):
    method = make("ua_mt", certainty=0.75)
    opinion = torch.tensor(p).view(1, 3, 1, 1, 1).expand(2, 3, 8, 8, 8)
    monkeypatch.setattr("trainer.methods.ua_mt.mean_of_passes", lambda *_: opinion)
    batch = tiny_batch()
    found = method.consistency(torch.zeros(2, 3, 8, 8, 8), batch["image"][2:], step=0)
    assert (found > 0) == followed


def test_the_winner_is_the_one_with_the_smaller_dice_loss_and_its_classes_are_the_pseudo_labels():
    method = warmed_up(make("ssl_contrastive"))
    batch = tiny_batch()
    torch.manual_seed(3)
    outputs = method.peers.first.features(batch["image"]), method.peers.second.features(batch["image"])
    terms, roles = method.terms_of(outputs, batch, 0)
    assert roles.winner == (0 if terms["dice_a"] <= terms["dice_b"] else 1)
    assert torch.equal(roles.target, outputs[roles.winner]["logits"][2:].argmax(1))
    swapped, others = method.terms_of(outputs[::-1], batch, 0)
    assert others.winner == 1 - roles.winner
    assert torch.equal(others.target, roles.target)
    torch.testing.assert_close(swapped["pseudo_a"], terms["pseudo_b"])


def test_reliable_voxels_are_those_that_one_is_sure_of_who_says_the_same_and_in_the_end_all():
    method = make("ssl_contrastive", tiny_plan(2), keep=0.2, keep_at_end=1.0, per_class=False)
    first, second = torch.randn(2, 2, 8, 8, 8), torch.randn(2, 2, 8, 8, 8)
    sure = [entropy(logits.softmax(1)) for logits in (first, second)]
    expected = [doubt <= doubt.flatten().sort().values[int(0.2 * 1024)] for doubt in sure]
    reliable = method.judge(first, second, 0, 0).reliable
    alike = first.argmax(1) == second.argmax(1)
    assert torch.equal(reliable, expected[0] | (expected[1] & alike))
    assert 0.2 < reliable.float().mean() < 0.4
    either = make("ssl_contrastive", tiny_plan(2), keep=0.2, per_class=False, pseudo="or")
    assert torch.equal(either.judge(first, second, 0, 0).reliable, expected[0] | expected[1])
    assert method.judge(first, second, 0, 100).reliable.all()


def test_foreground_of_either_is_for_one_class_alone():
    with pytest.raises(InputError, match="one foreground class, but there are 2"):
        make("ssl_contrastive", pseudo="or")
    method = make("ssl_contrastive", tiny_plan(2), pseudo="or")
    first, second = torch.randn(2, 2, 8, 8, 8), torch.randn(2, 2, 8, 8, 8)
    target = method.judge(first, second, 0, 0).target
    assert torch.equal(target, first.argmax(1) | second.argmax(1))


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_packaged_is_the_mean_of_both_networks(name):
    method = make(name).eval()
    image = tiny_batch()["image"]
    pair = method.predictor()
    expected = (pair.first(image).softmax(1) + pair.second(image).softmax(1)) / 2
    torch.testing.assert_close(pair(image).softmax(1), expected)
    assert set(pair.network.state_dict()) == {
        key.removeprefix("peers.network.") for key in method.state_dict() if key.startswith("peers.network.")
    }


@pytest.mark.parametrize("name", TEACHERS)
def test_student_or_teacher_is_packaged_as_told(name):
    student, teacher = make(name, predict="student"), make(name, predict="teacher")
    assert student.predictor() is student.student
    assert teacher.predictor() is teacher.teacher.network
    assert teacher.predictor().definition == teacher.student.definition


@pytest.mark.parametrize("name", ALL)
def test_weights_to_start_from_reach_the_learner_and_its_teacher(name):
    method = make(name, **({"teacher": "average"} if name == "dual_networks" else {}))
    state = {key: torch.full_like(value, 0.25) for key, value in method.learner().network.state_dict().items()}
    start_from(method, Source("somewhere", state))
    assert all((parameter == 0.25).all() for parameter in method.parameters())


def test_two_networks_of_one_making_do_not_both_begin_as_the_same():
    method = make("cross_pseudo", second=FIRST)
    one = Source("the run one", dict(method.peers.network.first.state_dict()))
    with pytest.raises(InputError, match="Both networks would begin as the run one"):
        start_from(method, one)
    encoder = {name: tensor for name, tensor in one.state.items() if not name.startswith(("decoder", "classifier"))}
    assert "new are first.decoder" in start_from(method, Source("a pre-training", encoder))


def test_what_a_network_of_another_making_does_not_get_is_named():
    method = make("ssl_contrastive")
    said = start_from(method, Source("a V-Net", dict(method.peers.network.first.state_dict())))
    assert "new are second." in said


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_without_a_second_network_one_of_another_making_is_chosen(name):
    plan = tiny_plan(3, {"_target_": "BasicUNet", "features": [4, 4, 4, 4, 4, 4]})
    method = tiny_method(name, plan)
    assert method.peers.first.definition["_target_"] == "BasicUNet"
    assert method.peers.second.definition["_target_"] == "ResVNet3D"
    flat = tiny_method(name, tiny_plan(3, {"_target_": "SliceUNet", "widths": [4, 4, 4, 4, 4]}, (32, 32, 1)))
    assert flat.peers.second.definition["_target_"] == "SliceBasicUNet"
    folded = {"_target_": "FoldedVNet3D", "widths": [8, 16], "convolutions": [1, 1], "feat": 4, "dropout": 0.1}
    other = tiny_method(name, tiny_plan(3, folded)).peers.second.definition
    assert (other["_target_"], other["widths"], other["convolutions"]) == ("FoldedVNet3D", [6, 12], [2, 2])
    assert other["feat"] == 4


def test_the_weights_rise_as_published():
    """λ(t) = 0.1 · exp(−5 (1 − min(⌊t/150⌋, 40)/40)²), with 6000 steps."""
    kind = method_class("ssl_contrastive")
    method = kind(tiny_plan(), kind.Settings(**PAIR), 6000, 0)
    listed = {0: 0.000674, 149: 0.000674, 150: 0.000863, 3000: 0.028650, 5999: 0.099688, 6000: 0.1}
    for step, expected in listed.items():
        assert method.weights(step)["contrast"] == pytest.approx(expected, abs=1e-6)
    assert method.weights(0)["pseudo_a"] == pytest.approx(0.006738, abs=1e-6)
    assert method.weights(1000)["pseudo_a"] == 1
    assert method.weights(0)["verification_b"] == 0.5


def let_win(method, winner, monkeypatch):
    learn = method.learn_labels
    monkeypatch.setattr(method, "learn_labels", lambda *arguments: (learn(*arguments)[0], winner))


def _side(name):
    return {"a": "first", "b": "second"}[name]
