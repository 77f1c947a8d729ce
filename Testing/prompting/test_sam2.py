"""SAM 2 behind the protocols: its own predictors' answers on one picture and through a stack, in bounded space."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.prompting.protocol import PixelPrompts
from SSLSegmentationLib.prompting.sam2 import Sam2, load_sam2
from SSLSegmentationLib.prompting.sam2_network import CONFIGS, build, recognise, settings_of
from Testing.prompting.networks import TINY, small_sam2, small_settings
from Testing.prompting.test_sam import SIZES, mixtures, scene

SIDE = 64
SHAPE = (72, 100)
COUNT = 20
TOLERANCE = 1e-4  # of logits of about one


@cache
def network():
    return small_sam2(side=SIDE)


@cache
def video_predictor():
    """The package's own predictor with the same weights."""
    from hydra.utils import instantiate

    settings = small_settings(SIDE)
    settings._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    predictor = instantiate(settings, _recursive_=True).eval()
    predictor.load_state_dict(network().state_dict())
    return predictor


def model(**options) -> Sam2:
    return Sam2(network(), "small", exact=True, **options)


def stack(count: int = COUNT) -> list[np.ndarray]:
    """A disc that moves and shrinks in noise."""
    rng = np.random.default_rng(7)
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    pictures = []
    for n in range(count):
        disc = (rows - 36 - n % 20) ** 2 + (columns - 40 - n % 20) ** 2 < (20 - (n % 20) / 3) ** 2
        pictures.append((rng.integers(0, 80, SHAPE) + 140 * disc).astype(np.uint8))
    return pictures


def painted(n: int, shift: int = 0) -> np.ndarray:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (rows - 36 - n + shift) ** 2 + (columns - 40 - n - shift) ** 2 < 300


def stock(monkeypatch, pictures, known, start: int, *, reverse: bool) -> dict[int, dict[str, np.ndarray]]:
    """What the package's video predictor finds in the same frames, given to it without JPEG."""
    frames = [Image.fromarray(p).convert("RGB").resize((SIDE, SIDE)) for p in pictures]
    images = torch.stack([torch.from_numpy(np.array(f) / 255.0).float().permute(2, 0, 1) for f in frames])
    images -= torch.tensor((0.485, 0.456, 0.406))[:, None, None]
    images /= torch.tensor((0.229, 0.224, 0.225))[:, None, None]
    predictor = video_predictor()
    monkeypatch.setattr("sam2.sam2_video_predictor.load_video_frames", lambda **_: (images, *SHAPE))
    state = predictor.init_state("memory")
    names = sorted({name for masks in known.values() for name in masks})
    for n, masks in sorted(known.items()):
        for name, mask in masks.items():
            predictor.add_new_mask(state, n, names.index(name), mask)
    found = {}
    for n, ids, logits in predictor.propagate_in_video(state, start_frame_idx=start, reverse=reverse):
        found[n] = {names[i]: logits[row, 0].numpy().copy() for row, i in enumerate(ids)}
    return found


SEEDS = {
    "one seed": {6: {"a": painted(6)}},
    "two seeds": {6: {"a": painted(6)}, 13: {"a": painted(13)}},
    "two segments": {6: {"a": painted(6), "b": painted(6, 20)}},
    "segments known on different slices": {6: {"a": painted(6), "b": painted(6, 20)}, 9: {"a": painted(9)}},
    "a segment that is empty where it is known": {6: {"a": painted(6), "b": np.zeros(SHAPE, bool)}},
}


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("seeds", SEEDS)
def test_spreading_finds_what_the_video_predictor_finds(monkeypatch, seeds, reverse):
    known, pictures = SEEDS[seeds], stack()
    start = 13 if reverse and 13 in known else 6
    theirs = stock(monkeypatch, pictures, known, start, reverse=reverse)
    order = list(range(start, -1, -1)) if reverse else list(range(start, COUNT))
    ours = dict(model().spread(pictures.__getitem__, order, known))
    assert list(ours) == order == list(theirs)
    present = 0
    for n in order:
        assert list(ours[n]) == sorted(theirs[n])
        for name, answer in ours[n].items():
            assert np.allclose(answer.logits, theirs[n][name], atol=TOLERANCE, rtol=TOLERANCE), (n, name)
            present += int(answer.score > 0)
            assert (answer.score > 0) == (answer.logits.max() > -1000)
    assert present > len(order) / 2  # else the comparison would be one of nothing with nothing


def test_a_segment_that_is_known_only_further_on_is_followed_from_there():
    pictures, known = stack(), {6: {"a": painted(6)}, 9: {"b": painted(9)}}
    found = dict(model().spread(pictures.__getitem__, range(6, 12), known))
    assert all(np.isfinite(answer.logits).all() for answers in found.values() for answer in answers.values())
    assert (found[9]["b"].mask == painted(9)).mean() > 0.97  # the network's resolution is half of the picture's


@pytest.mark.parametrize("count", [5, 9])
def test_a_short_stack_is_told_apart_if_its_length_is_said(monkeypatch, count):
    known, pictures = {1: {"a": painted(1)}}, stack(count)
    theirs = stock(monkeypatch, pictures, known, 1, reverse=False)
    ours = dict(model().spread(pictures.__getitem__, range(1, count), known, pictures=count))
    for n in range(1, count):
        assert np.allclose(ours[n]["a"].logits, theirs[n]["a"], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("seeds", ["two segments", "segments known on different slices"])
def test_segments_followed_in_one_pass_are_found_as_if_followed_alone(monkeypatch, seeds):
    from SSLSegmentationLib.prompting import sam2_spread

    known, pictures = SEEDS[seeds], stack()
    alone = dict(model().spread(pictures.__getitem__, range(6, COUNT), known))
    together = sam2_spread._together
    monkeypatch.setattr(sam2_spread, "_together", lambda known, **_: together(known, apart=False))
    assert len(sam2_spread._together(SEEDS["two segments"])) == 1
    for n, answers in model().spread(pictures.__getitem__, range(6, COUNT), known):
        for name, answer in answers.items():
            assert np.allclose(answer.logits, alone[n][name].logits, atol=2e-2), (n, name)


def test_memory_has_an_effect_in_the_networks_compared():
    pictures = stack()
    one, other = (
        dict(model().spread(pictures.__getitem__, range(6, 12), {6: {"a": mask}}))
        for mask in (painted(6), painted(6, 20))
    )
    assert np.abs(one[11]["a"].logits - other[11]["a"].logits).max() > 100 * TOLERANCE


def test_both_directions_and_a_correction_encode_each_picture_once():
    backend, pictures = model(), stack()
    known = {0: {"a": painted(0)}, COUNT - 1: {"a": painted(COUNT - 1)}}
    there = dict(backend.spread(pictures.__getitem__, range(COUNT), known))
    back = dict(backend.spread(pictures.__getitem__, range(COUNT - 1, -1, -1), known))
    corrected = known | {10: {"a": painted(10)}}
    again = dict(backend.spread(pictures.__getitem__, range(10, COUNT), corrected))
    assert (len(there), len(back), len(again)) == (COUNT, COUNT, COUNT - 10)
    assert backend._frames.encoded == COUNT


def test_dropping_old_memory_and_features_changes_no_result_and_bounds_the_space(monkeypatch):
    from SSLSegmentationLib.prompting import sam2_spread

    pictures, known = stack(60), {0: {"a": painted(0)}}
    tracks = []
    made = sam2_spread._Track.__init__
    monkeypatch.setattr(sam2_spread._Track, "__init__", lambda self, *a: (made(self, *a), tracks.append(self))[0])
    roomy, tight = model(), model(frame_bytes=0)
    whole = dict(roomy.spread(pictures.__getitem__, range(60), known))
    monkeypatch.setattr(network(), "max_obj_ptrs_in_encoder", 16)
    sizes = []
    for n, answers in tight.spread(pictures.__getitem__, range(60), known):
        sizes.append(len(tracks[-1].memory["non_cond_frame_outputs"]))
        assert np.array_equal(answers["a"].logits, whole[n]["a"].logits)
    assert tight._frames.bytes == 0
    assert max(sizes) == sizes[-1] <= 17
    kept = tracks[-1].memory["non_cond_frame_outputs"][59]
    assert not {"pred_masks", "pred_masks_high_res"} & set(kept)


def test_skipped_slices_are_steps_in_time_and_a_known_one_between_them_counts_in_proportion():
    from SSLSegmentationLib.prompting.sam2_spread import _times

    assert _times([10, 12, 14, 15], {10: {}, 13: {}, 4: {}, 17: {}}) == {
        10: 0, 12: 1, 14: 2, 15: 3, 13: 1.5, 4: -3, 17: 5,
    }  # fmt: skip
    assert _times([9, 6, 3], {12: {}, 7: {}}) == {9: 0, 6: 1, 3: 2, 12: -1, 7: pytest.approx(2 / 3)}
    assert _times([5], {8: {}}) == {5: 0, 8: -3}
    pictures = stack()
    every_other = dict(model().spread(lambda n: pictures[n // 2], range(12, 30, 2), {12: {"a": painted(6)}}))
    all_of_them = dict(model().spread(pictures.__getitem__, range(6, 15), {6: {"a": painted(6)}}))
    for n, answers in all_of_them.items():
        assert np.array_equal(answers["a"].logits, every_other[2 * n]["a"].logits)


def test_an_order_to_and_fro_is_a_mistake():
    pictures = stack()
    with pytest.raises(ValueError, match="to and fro"):
        next(model().spread(pictures.__getitem__, [3, 4, 2], {3: {"a": painted(3)}}))
    with pytest.raises(ValueError, match="twice"):
        next(model().spread(pictures.__getitem__, [3, 4, 3], {3: {"a": painted(3)}}))


def test_nothing_known_or_nothing_asked_gives_nothing():
    assert list(model().spread(stack().__getitem__, [], {3: {"a": painted(3)}})) == []
    assert list(model().spread(stack().__getitem__, [3, 4], {})) == []


def test_spreading_leaves_no_mode_of_torch_switched_on_between_its_steps():
    steps = Sam2(network(), "small").spread(stack().__getitem__, [6, 7, 8], {6: {"a": painted(6)}})
    for _ in steps:
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert torch.is_grad_enabled()


def test_spreading_can_be_cancelled_while_a_picture_is_encoded():
    backend, pictures = model(), stack()
    calls = []

    def tick(stage: str, part: float) -> None:
        calls.append(part)
        if len(calls) == 8:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(backend.spread(pictures.__getitem__, range(6, 12), {6: {"a": painted(6)}}, tick))
    assert len(calls) == 8
    assert backend._frames.encoded == 1


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # of the one compared with
@pytest.mark.parametrize("shape", SIZES)
def test_every_mixture_of_prompts_is_answered_as_by_the_image_predictor(shape):
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    backend, picture = model(), scene(shape)
    predictor = SAM2ImagePredictor(network())
    predictor._bb_feat_sizes = [(SIDE // stride,) * 2 for stride in (4, 8, 16)]  # it knows those of 1024 pixels only
    predictor.set_image(np.repeat(picture[..., None], 3, axis=2))
    prompts = mixtures(shape)
    answers = backend.decode(backend.encode(picture), list(prompts.values()))
    for (name, prompt), answer in zip(prompts.items(), answers, strict=True):
        alone = len(prompt.points) == 1 and prompt.box is None and prompt.mask is None
        mask = None if prompt.mask is None else backend._mask_logits(torch.from_numpy(prompt.mask).float()[None, None])
        logits, scores, _ = predictor.predict(
            point_coords=prompt.points if len(prompt.points) else None,
            point_labels=prompt.positive.astype(int) if len(prompt.points) else None,
            box=None if prompt.box is None else np.array(prompt.box),
            mask_input=None if mask is None else mask[0].numpy(),
            multimask_output=alone,
            return_logits=True,
        )
        best = int(np.argmax(scores))
        assert answer.logits.shape == shape, name
        assert np.allclose(answer.logits, logits[best], atol=2e-4, rtol=1e-3), name
        assert answer.score == pytest.approx(float(scores[best]), abs=1e-5), name


@pytest.mark.parametrize("at_once", [1, 8])
def test_many_prompts_at_once_are_answered_in_their_order(monkeypatch, at_once):
    monkeypatch.setattr("SSLSegmentationLib.prompting.batches._AT_ONCE_ON_CPU", at_once)
    backend = model()
    embedding = backend.encode(scene((90, 120)))
    rng = np.random.default_rng(5)
    prompts = [
        PixelPrompts(rng.uniform(0, 90, (1 + n % 3, 2)), rng.random(1 + n % 3) < 0.5, mask=rng.random((90, 120)) < 0.5)
        if n % 2
        else PixelPrompts(mask=rng.random((90, 120)) < 0.1 * n / 2)
        for n in range(12)
    ]
    for prompt, answer in zip(prompts, backend.decode(embedding, prompts), strict=True):
        [alone] = backend.decode(embedding, [prompt])
        assert np.allclose(answer.logits, alone.logits, atol=2e-4)


def test_the_configuration_of_512_pixels_fits_and_hydra_is_left_as_it_was():
    from hydra.core.global_hydra import GlobalHydra

    assert not GlobalHydra.instance().is_initialized()
    settings = settings_of(TINY, 512)
    assert settings.memory_attention.layer.self_attention.feat_sizes == [32, 32]
    assert settings.memory_attention.layer.cross_attention.feat_sizes == [32, 32]
    assert not GlobalHydra.instance().is_initialized()


def test_every_configuration_of_the_catalogue_may_be_built_and_no_other():
    from SSLSegmentationLib.models.catalogue import load_catalogue

    assert {entry.config for entry in load_catalogue().values() if entry.kind == "sam2"} <= set(CONFIGS)
    with pytest.raises(ValueError, match="none of"):
        settings_of("../../elsewhere.yaml")


def test_weights_are_recognised_and_loaded_without_being_told_what_they_are(tmp_path):
    weights = build(TINY, 512).state_dict()
    assert recognise(weights) == TINY
    path = tmp_path / "MedSAM2_mine.pt"
    torch.save({"model": weights}, path)
    loaded = load_sam2(path, path.name, exact=True)
    assert loaded._side == 512
    assert torch.equal(loaded._network.no_mem_embed, weights["no_mem_embed"])
    with pytest.raises(InputError, match=r"MedSAM2_mine.pt does not hold the weights of SAM 2.1 l: get the file"):
        load_sam2(path, "sam2.1-large", "configs/sam2.1/sam2.1_hiera_l.yaml")


def test_the_network_of_medsam2_works_at_its_512_pixels():
    """As MedSAM2's configuration has it: SAM 2.1 tiny, with feature maps of 128, 64 and 32 pixels."""
    size = 512
    settings = settings_of(TINY, size)
    attention = settings.memory_attention.layer
    assert list(attention.self_attention.feat_sizes) == list(attention.cross_attention.feat_sizes) == [32, 32]
    torch.manual_seed(0)
    backend = Sam2(build(TINY, size), "medsam2", exact=True)
    embedding = backend.encode(scene((90, 70)))
    assert [tuple(feature.shape[-2:]) for feature in embedding.features] == [(128, 128), (64, 64), (32, 32)]
    [answer] = backend.decode(embedding, [PixelPrompts(box=(20.0, 20.0, 50.0, 60.0))])
    assert answer.logits.shape == (90, 70)
    pictures, known = stack(2), {0: {"a": painted(0)}}
    found = dict(backend.spread(pictures.__getitem__, range(2), known))
    assert all(np.isfinite(answers["a"].logits).all() for answers in found.values())
