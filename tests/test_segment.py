"""Segmentation and colourisation: the losses a config can name, what is measured, and a whole run's figures."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from PIL import Image

import data_files
import runs
from jaxcv import predict
from jaxcv.data.source import Info, voc_palette
from jaxcv.errors import ConfigError, DataError, UserError
from jaxcv.experiment import build
from jaxcv.mesh import make_mesh
from jaxcv.models import fcn8s, pool_upsample
from jaxcv.report.masks import save_prediction
from jaxcv.run import train
from jaxcv.run.begin import pictures
from jaxcv.step import make_init
from jaxcv.store.files import read_arrays
from jaxcv.task import Setup
from jaxcv.tasks import colorize, segment
from jaxcv.tools.predict import load_run

INFO = Info("three", ("a", "b", "c"), (8, 8, 3), (0.5,) * 3, (0.25,) * 3, "", ignore=255)
MODEL = pool_upsample.Model(num_classes=3, width=4)
RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (4, 8, 8, 3), np.uint8),
    "mask": np.where(RNG.random((4, 8, 8)) < 0.1, 255, RNG.integers(0, 3, (4, 8, 8))).astype(np.uint8),
    "valid": np.ones(4, np.float32),
}


def make(info=INFO, model=MODEL, **options):
    return segment.make(Setup(lambda num_classes: model, info, {"order": ()}, total_steps=1), **options)


def started(task):
    return jax.jit(make_init(task, optax.sgd(0.1), seed=0))(BATCH)


def logits(state):
    x = (BATCH["image"] / np.float32(255) - 0.5) / 0.25
    return MODEL.apply({"params": state.params, **state.model_state}, x, train=True, mutable=["batch_stats"])[0][0]


def test_the_loss_is_the_weighted_mean_over_the_pixels_that_count():
    task = make(class_weight=(1.0, 2.0, 0.5))
    state = started(task)
    loss, (_, metrics) = task.loss(state.params, state.model_state, BATCH, jax.random.key(1))
    log_p = np.asarray(jax.nn.log_softmax(logits(state)), np.float64)
    counted = BATCH["mask"] < 3
    label = BATCH["mask"][counted]
    weight = np.array([1.0, 2.0, 0.5])[label]
    expected = -(weight * log_p[counted][np.arange(len(label)), label]).sum() / weight.sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["acc/pixel"], (log_p[counted].argmax(-1) == label).mean(), rtol=1e-6)


@pytest.mark.parametrize("loss", segment.LOSSES)
def test_every_loss_has_gradients_and_void_pixels_have_none_but_in_binary(loss):
    task = make(loss=loss)
    state = started(task)
    value_and_grad = jax.jit(jax.value_and_grad(lambda p: task.loss(p, state.model_state, BATCH, jax.random.key(1))[0]))
    value, grads = value_and_grad(state.params)
    assert np.isfinite(value) and optax.tree.norm(grads) > 1e-4
    per_pixel, x = segment.LOSSES[loss], logits(state)
    mask = jnp.asarray(BATCH["mask"], jnp.int32)
    weight = (mask < 3).astype(jnp.float32)
    mean = jax.grad(lambda x: (lambda value, weight: (value * weight).sum())(*per_pixel(x, mask, weight)))
    void = jnp.abs(mean(x))[np.asarray(mask) == 255]
    assert (void.max() > 0) == (loss == "binary")


def test_a_class_can_be_left_out_of_the_loss_and_still_be_measured():
    info = INFO._replace(ignore=2)
    task = make(info, ignore_in_loss=True)
    state = started(task)
    loss, _ = task.loss(state.params, state.model_state, BATCH, jax.random.key(1))
    log_p = np.asarray(jax.nn.log_softmax(logits(state)), np.float64)
    counted = BATCH["mask"] < 2
    expected = -log_p[counted][np.arange(counted.sum()), BATCH["mask"][counted]].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    values = task.summarize(jax.device_get(jax.jit(task.measure)(state.params, state.model_state, BATCH)))
    assert values["confusion"][2].sum() == (BATCH["mask"] == 2).sum()


def test_average_precision_is_measured_where_it_is_asked_for():
    task = make(average_precision=True)
    state = started(task)
    values = task.summarize(jax.device_get(jax.jit(task.measure)(state.params, state.model_state, BATCH)))
    assert 0 < values["ap/pixel_voc"] < 1 and values["class_ap"].shape == (3,)


def test_what_cannot_be():
    with pytest.raises(ConfigError, match="has 1 class; segmentation needs two, such as ground and object"):
        make(info=INFO._replace(classes=("a",)))
    with pytest.raises(ConfigError, match="config.task.loss='crossentropy' is unknown; choose one of cross_entropy"):
        make(loss="crossentropy")
    with pytest.raises(ConfigError, match="config.task.class_weight has 2 weights for 3 classes"):
        make(class_weight=(1.0, 2.0))
    task = make(model=fcn8s.Model(depth=11, num_classes=3, width=4, skips=False))
    odd = {"image": np.zeros((1, 33, 40, 3), np.uint8), "mask": np.zeros((1, 33, 40), np.uint8)}
    state = jax.eval_shape(make_init(task, optax.sgd(0.1), seed=0), odd)
    with pytest.raises(UserError, match="this network makes 32 x 32 pixels of 33 x 40; crop or resize"):
        jax.eval_shape(task.loss, state.params, state.model_state, odd, jax.eval_shape(lambda: jax.random.key(0)))


def test_colourisation_sees_the_mean_of_the_channels():
    image = np.array([[[[0, 30, 255]]]], np.uint8)
    seen = colorize.augment(None, {"image": image, "mask": np.zeros((1, 1, 1), np.uint8)})["image"]
    np.testing.assert_allclose(seen, np.full((1, 1, 1, 1), 95 / 256), rtol=1e-6)


def test_what_the_network_sees_is_drawn_with_its_masks():
    config = runs.load_config("unet", "tiny")
    config.augment = ConfigDict({"order": ("flip",), "flip": {"p": 1.0}})
    experiment = build(config)
    with experiment.data.open_batches(start=0) as batches:
        batch = next(batches)
    rows = pictures(experiment, batch, steps=2)
    masks = ("original mask", "augmented mask 0", "augmented mask 1")
    assert set(rows) == {"original", "augmented 0", "augmented 1", *masks}
    palette = np.array(voc_palette(11))
    for title, mask in zip(masks, (batch["mask"], batch["mask"][:, :, ::-1], batch["mask"][:, :, ::-1])):
        np.testing.assert_array_equal(rows[title], palette[mask])
    np.testing.assert_allclose(rows["augmented 1"], batch["image"][:, :, ::-1] / 255, atol=1e-5)


def test_a_whole_run_of_colourisation_draws_what_it_learned(tmp_path):
    config = runs.load_config("colorize", "tiny")
    values = train.run(config, tmp_path)
    assert 0 < values["test/acc/pixel"] < 1 and values["test/loss"] > 0
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"curves", "schedules", "views", "colors"}
    first = read_arrays(tmp_path / "examples" / "0.npz")
    assert first.keys() == {"prediction"} and first["prediction"].shape == (4, 32, 32)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A tiny run of the land-cover config on tiles whose upper half is one class and whose lower half another."""
    root = tmp_path_factory.mktemp("tiles")
    masks = []
    for i in range(8):
        mask = np.full((80, 80, 3), (60, 16, 152))
        mask[20 + 5 * i :] = (226, 169, 41)
        mask[:, :4] = (155, 155, 155)  # no class's colour
        masks.append(mask)
    for split in ("train", "validation"):
        data_files.land_cover(root / "dubai_512" / split, masks)
    config = runs.load_config("landcover", "dubai,tiny")
    config.data.dir = str(root)
    config.eval.named = ("0005", "0002")
    workdir = root / "run"
    return root, workdir, train.run(config, workdir)


@pytest.mark.slow  # colourisation is the task's whole run in the other tests
def test_a_whole_run_of_segmentation_draws_the_images_that_are_named(tiles):
    _, workdir, values = tiles
    assert 0 < values["test/acc/pixel"] <= 1 and 0 <= values["test/miou/pooled_nanmean"] <= 1
    figures = {path.stem for path in (workdir / "figures").iterdir()}
    assert figures == {"curves", "schedules", "views", "confusion", "class_iou", "masks", "overlays"}
    examples = [read_arrays(file)["prediction"] for file in sorted((workdir / "examples").iterdir())]
    assert {e.shape for e in examples} == {(2, 64, 64)} and len(examples) == 3
    confusion = read_arrays(workdir / "result.npz")["test/confusion"]
    void = 8 * 64 * round(64 * 4 / 80)
    assert confusion.sum() == 8 * 64 * 64 and confusion[-1].sum() == void


@pytest.mark.slow  # colourisation is the task's whole run in the other tests
def test_masks_are_predicted_from_the_workdir_alone(tiles, tmp_path):
    root, workdir, _ = tiles
    images = root / "dubai_512" / "validation"
    with pytest.raises(DataError, match="there is no folder"):
        next(predict.masks(load_run(workdir), tmp_path / "none"))
    code, out, err = runs.run("predict.py", f"--workdir={workdir}", f"--images={images}", f"--out={tmp_path / 'out'}")
    assert code == 0 and "masks of 16 images" in out, err
    assert len(list((tmp_path / "out").iterdir())) == 32
    code, out, err = runs.run("predict.py", f"--workdir={workdir}", f"--images={images}", "--out=x.csv")
    assert code == 1 and err == "error: give --out=DIR, a folder for the masks.\n"


def test_windows_cover_an_image_and_overlap():
    assert predict.windows(300, 200, 0) == [(0, 0, 300, 200)] == predict.windows(300, 200, 400)
    boxes = predict.windows(300, 200, 128)
    seen = np.zeros((300, 200), int)
    for top, left, bottom, right in boxes:
        assert bottom - top == right - left == 128
        seen[top:bottom, left:right] += 1
    assert seen.min() == 1
    for starts in (sorted({box[0] for box in boxes}), sorted({box[1] for box in boxes})):
        assert all(b - a <= 96 for a, b in itertools.pairwise(starts))


def test_masks_of_images_of_any_size(tmp_path):
    """A network that says of each pixel how it is: windows are put back where they were."""
    palette = ((0, 0, 0), (255, 0, 0))
    info = INFO._replace(classes=("dark", "light"), palette=palette, shape=(16, 16, 3))

    def run(image):
        light = image.astype(np.float32).mean(-1, keepdims=True) - 127.5
        return {"logits": np.concatenate([-light, light], -1)}

    trained = predict.Trained(info, make_mesh().size, 16, run, None)
    truth = np.zeros((40, 56), np.uint8)
    truth[8:24, 24:48] = 1
    (tmp_path / "in").mkdir()
    Image.fromarray(np.repeat(255 * truth[..., None], 3, -1)).save(tmp_path / "in" / "a.png")
    for tile in (None, 16, 24, 0):
        [(file, image, mask)] = predict.masks(trained, tmp_path / "in", tile=tile)
        assert file.name == "a.png" and image.shape == (40, 56, 3) and mask.dtype == np.uint8
        differs = (mask != truth).mean()
        assert differs == 0 if tile in (None, 16) else differs < 0.06
    save_prediction(truth, tmp_path / "out" / "a", image=image, palette=palette)
    with Image.open(tmp_path / "out" / "a.png") as saved, Image.open(tmp_path / "out" / "a_overlay.png") as over:
        assert saved.mode == "P" and np.array_equal(np.asarray(saved), truth) and over.size == (56, 40)
        assert np.array_equal(np.asarray(saved.convert("RGB")), np.array(palette)[truth])
