"""SAM behind the protocol: the same answers as its own predictor, and refusals of wrong files."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from SSLSegmentationLib.errors import Cancelled, InputError
from SSLSegmentationLib.prompting.protocol import PixelPrompts
from SSLSegmentationLib.prompting.sam import MedSam, Sam, load_sam
from Testing.prompting.networks import small_sam

SIZES = [(128, 128), (200, 90), (61, 173), (33, 32)]


@cache
def network():
    return small_sam()


def sam() -> Sam:
    return Sam(network(), "small", exact=True)


def scene(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    disc = (rows - shape[0] / 2) ** 2 + (columns - shape[1] / 3) ** 2 < (min(shape) / 4) ** 2
    noise = np.random.default_rng(0).integers(0, 60, shape)
    return (noise + 150 * disc).astype(np.uint8)


def mixtures(shape: tuple[int, int]) -> dict[str, PixelPrompts]:
    rows, columns = shape
    one = np.array([[columns * 0.3, rows * 0.5]])
    three = np.array([[columns * 0.3, rows * 0.5], [columns * 0.9, rows * 0.1], [columns * 0.25, rows * 0.6]])
    signs = np.array([True, False, True])
    box = (columns * 0.1, rows * 0.2, columns * 0.7, rows * 0.8)
    mask = scene(shape) > 100
    return {
        "one point": PixelPrompts(one, signs[:1]),
        "points": PixelPrompts(three, signs),
        "box": PixelPrompts(box=box),
        "mask": PixelPrompts(mask=mask),
        "points and box": PixelPrompts(three, signs, box),
        "box and mask": PixelPrompts(box=box, mask=mask),
        "all": PixelPrompts(three, signs, box, mask),
    }


def expected(predictor, prompts: PixelPrompts, model: Sam) -> tuple[np.ndarray, float]:
    """What SAM's own predictor says: the best of three for a single point, else one mask."""
    alone = len(prompts.points) == 1 and prompts.box is None and prompts.mask is None
    mask = None if prompts.mask is None else model._mask_logits(torch.from_numpy(prompts.mask).float()[None, None])[0]
    logits, scores, _ = predictor.predict(
        point_coords=prompts.points if len(prompts.points) else None,
        point_labels=prompts.positive.astype(int) if len(prompts.points) else None,
        box=None if prompts.box is None else np.array(prompts.box),
        mask_input=None if mask is None else mask.numpy(),
        multimask_output=alone,
        return_logits=True,
    )
    best = int(np.argmax(scores))
    return logits[best], float(np.clip(scores[best], 0, 1))


@pytest.mark.parametrize("shape", SIZES)
def test_every_mixture_of_prompts_is_answered_as_by_the_predictor_of_sam(shape):
    from segment_anything import SamPredictor

    model, predictor, picture = sam(), SamPredictor(network()), scene(shape)
    predictor.set_image(np.repeat(picture[..., None], 3, axis=2))
    embedding = model.encode(picture)
    prompts = mixtures(shape)
    # All at once against one after the other.
    for name, prompt, answer in zip(
        prompts, prompts.values(), model.decode(embedding, list(prompts.values())), strict=True
    ):
        logits, score = expected(predictor, prompt, model)
        assert answer.logits.shape == shape, name
        assert np.allclose(answer.logits, logits, atol=2e-4, rtol=1e-4), name
        assert answer.score == pytest.approx(score, abs=1e-5), name


@pytest.mark.parametrize("at_once", [1, 8])
def test_many_prompts_at_once_are_answered_in_their_order(monkeypatch, at_once):
    monkeypatch.setattr("SSLSegmentationLib.prompting.batches._AT_ONCE_ON_CPU", at_once)
    model, picture = sam(), scene((90, 120))
    embedding = model.encode(picture)
    rng = np.random.default_rng(5)
    prompts = []
    for number in range(21):
        points = rng.uniform(0, 90, (1 + number % 3, 2))
        box = (10.0, 10.0, 40.0 + number, 60.0) if number % 2 else None
        prompts.append(PixelPrompts(points, rng.random(len(points)) < 0.5, box))
    together = model.decode(embedding, prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        [alone] = model.decode(embedding, [prompt])
        assert np.allclose(answer.logits, alone.logits, atol=2e-4)
        assert answer.score == pytest.approx(alone.score, abs=1e-5)


def test_a_mask_prompt_keeps_its_place_under_padding():
    model = sam()
    mask = np.zeros((60, 120), dtype=bool)
    mask[30:, :60] = True  # the lower left quarter of a picture whose lower half is padding
    logits = model._mask_logits(torch.from_numpy(mask).float()[None, None])[0, 0]
    rows, columns = logits.shape
    painted = np.zeros((rows, columns), dtype=bool)
    painted[rows // 4 : rows // 2, : columns // 2] = True
    assert np.array_equal(logits.numpy() > 0, painted)


def test_an_empty_set_of_prompts_and_a_mask_of_another_size_are_mistakes():
    model = sam()
    embedding = model.encode(scene((40, 50)))
    with pytest.raises(ValueError, match="empty"):
        model.decode(embedding, [PixelPrompts()])
    with pytest.raises(ValueError, match="does not fit"):
        model.decode(embedding, [PixelPrompts(mask=np.ones((50, 40), bool))])


def test_encoding_can_be_cancelled_between_blocks_and_leaves_no_trace():
    model, picture = sam(), scene((64, 64))
    before = model.encode(picture)
    parts = []

    def tick(stage: str, part: float) -> None:
        parts.append(part)
        if len(parts) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        model.encode(picture, tick)
    assert len(parts) == 2
    after = model.encode(picture)
    assert len(parts) == 2
    assert torch.equal(before.features[0], after.features[0])


def test_the_compiled_encoder_gives_the_features_of_the_exact_one_and_can_be_cancelled(monkeypatch):
    from SSLSegmentationLib.inference.predictors import openvino_is_installed

    if not openvino_is_installed():
        pytest.skip("OpenVINO is not installed")
    from SSLSegmentationLib.prompting.encoders import OpenVinoEncoder
    from SSLSegmentationLib.prompting.sam import _as_tuple

    model = sam()
    compiled = OpenVinoEncoder(_as_tuple(network().image_encoder), 128, "f32")
    image = model._image(scene((100, 128)))
    [exact], [fast] = model._encoder(image, lambda *_: None), compiled(image)
    assert torch.allclose(exact, fast, atol=1e-4)
    monkeypatch.setattr("SSLSegmentationLib.prompting.encoders._PATIENCE_MS", 0)

    def cancel(stage: str, part: float) -> None:
        raise Cancelled

    def encode_until_cancelled() -> None:
        for _ in range(1000):  # one that is done at the first look is not cancelled
            compiled(image, cancel)

    with pytest.raises(Cancelled):
        encode_until_cancelled()
    [again] = compiled(image)
    assert torch.equal(again, fast)


def test_an_embedding_read_back_answers_as_before():
    model, picture = sam(), scene((50, 70))
    embedding = model.encode(picture)
    again = model.from_arrays(model.arrays_of(embedding))
    prompts = list(mixtures((50, 70)).values())
    for one, other in zip(model.decode(embedding, prompts), model.decode(again, prompts), strict=True):
        assert np.array_equal(one.logits, other.logits)


def test_medsam_stretches_its_picture_and_answers_boxes_as_its_own_program_does():
    model = MedSam(network(), "small", exact=True)
    shape = (60, 130)
    picture = scene(shape)
    image = model._image(picture)
    assert image.shape == (1, 3, 128, 128)
    assert (float(image.min()), float(image.max())) == (0.0, 1.0)
    box = (12.0, 9.0, 80.0, 50.0)
    with torch.inference_mode():
        features = network().image_encoder(image)
        sparse, dense = network().prompt_encoder(
            points=None,
            boxes=torch.tensor([[[12 / 130, 9 / 60, 80 / 130, 50 / 60]]]) * 128,
            masks=None,
        )
        low, _ = network().mask_decoder(
            image_embeddings=features,
            image_pe=network().prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        inside = torch.nn.functional.interpolate(low.sigmoid(), shape, mode="bilinear", align_corners=False)[0, 0]
    [answer] = model.decode(model.encode(picture), [PixelPrompts(box=box)])
    assert np.allclose(1 / (1 + np.exp(-answer.logits)), inside.numpy(), atol=1e-5)


def test_a_constant_picture_is_encoded_without_a_warning():
    picture = np.full((30, 40), 7, dtype=np.uint8)
    for model in (sam(), MedSam(network(), "small", exact=True)):
        assert torch.isfinite(model.encode(picture).features[0]).all()


def test_a_file_of_another_network_is_refused_with_its_name(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"encoder.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=r"weights\.pth does not hold the weights of SAM ViT-B"):
        load_sam(path, "sam-vit-b", "vit_b")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"run": print}, path)
    with pytest.raises(InputError, match="could run code"):
        load_sam(path, "sam-vit-b", "vit_b")
