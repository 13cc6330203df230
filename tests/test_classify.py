"""The classification task: its loss, what freezing leaves alone, and whole runs with their results and sweeps."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

import data_files
import runs
from jaxcv import predict
from jaxcv.config import call
from jaxcv.data.source import Info
from jaxcv.errors import ConfigError, UserError
from jaxcv.models import basenet
from jaxcv.optim.freeze import freeze
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.run import train
from jaxcv.step import make_init, make_update
from jaxcv.store.files import read_arrays
from jaxcv.store.folder import Folder
from jaxcv.task import Setup
from jaxcv.tasks import classify
from jaxcv.tools import sweep
from jaxcv.tools.predict import load_run

INFO = Info("two", ("a", "b", "c"), (16, 16, 1), (0.5,), (0.25,), "")
MODEL = basenet.Model(num_classes=3, channels=(4, 4), hidden=(8,), batch_norm=True)
RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (12, 16, 16, 1), np.uint8),
    "label": np.arange(12, dtype=np.int32) % 3,
    "valid": np.ones(12, np.float32),
}


def make(model=MODEL, info=INFO, **options):
    setup = Setup(lambda num_classes: model, info, {"order": ()}, total_steps=10)
    return call(classify.make, options, group="task", setup=setup)


def started(task, tx=None):
    return jax.jit(make_init(task, tx or optax.sgd(0.1), seed=0))(BATCH)


def test_labels_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match="needs two classes or more, and the images of two have one class alone, 'a'"):
        make(info=INFO._replace(classes=("a",)))
    several = {name: x for name, x in BATCH.items() if name != "label"} | {"labels": np.ones((12, 3), np.uint8)}
    with pytest.raises(ConfigError, match="needs one label for each image, .* set config.task.name='multilabel'"):
        jax.eval_shape(make().augment, jax.random.key(0), several)


def test_the_loss_is_the_mean_cross_entropy_of_the_normalised_images():
    task = make(label_smoothing=0.1)
    state = started(task)
    loss, (model_state, metrics) = jax.jit(task.loss)(state.params, state.model_state, BATCH, jax.random.key(1))
    x = (BATCH["image"] / np.float32(255) - 0.5) / 0.25
    variables = {"params": state.params, **state.model_state}
    (logits, _), moved = MODEL.apply(variables, x, train=True, mutable=["batch_stats"])
    log_p = np.asarray(jax.nn.log_softmax(logits))
    target = 0.9 * np.eye(3)[BATCH["label"]] + 0.1 / 3
    np.testing.assert_allclose(loss, -(target * log_p).sum(1).mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (log_p.argmax(1) == BATCH["label"]).mean())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), model_state["batch_stats"], moved["batch_stats"]
    )


def test_training_learns_and_mixup_gives_soft_targets():
    augment = classify.make_augment(INFO, order=("flip",), flip={"p": 0.5}, mix={"mixup_alpha": 1.0, "switch_p": 0.0})
    target = augment(jax.random.key(0), BATCH)["target"]
    np.testing.assert_allclose(target.sum(1), np.ones(12), rtol=1e-6)
    assert ((target > 0.01) & (target < 0.99)).any()
    task, tx = make(), make_optimizer("adam", lambda step: 0.01)
    state, update = started(task, tx), jax.jit(make_update(task, tx, seed=0))
    losses = []
    for _ in range(40):
        state, metrics = update(state, BATCH)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.3 * losses[0] and metrics["accuracy"] == 1
    sums = jax.jit(task.measure)(state.params, state.model_state, BATCH)
    values = task.summarize(jax.device_get(sums))
    assert values["accuracy"] > 0.5 and values["confusion"].sum() == 12


@pytest.mark.parametrize("statistics", [True, False])
def test_frozen_parameters_do_not_move_and_their_statistics_as_the_switch_says(statistics):
    task = make()
    patterns = ("conv1.*", "bn1.*")
    task = task._replace(loss=freeze(task.loss, patterns, statistics=statistics))
    tx = make_optimizer("adam", lambda step: 0.1, weight_decay=0.1, freeze=patterns)
    state, update = started(task, tx), jax.jit(make_update(task, tx, seed=0))
    before = jax.device_get(state)
    for _ in range(3):
        state, _ = update(state, BATCH)
    after = jax.device_get(state)
    for name in ("conv1", "bn1"):
        jax.tree.map(np.testing.assert_array_equal, before.params[name], after.params[name])
    for name in ("conv2", "bn2", "fc1", "fc2"):
        assert not np.array_equal(*(jax.tree.leaves(s.params[name])[-1] for s in (before, after)))
    stood_still = np.array_equal(*(s.model_state["batch_stats"]["bn1"]["mean"] for s in (before, after)))
    assert stood_still == statistics
    assert not np.array_equal(*(s.model_state["batch_stats"]["bn2"]["mean"] for s in (before, after)))
    slots = sum(leaf.size for leaf in jax.tree.leaves(after.opt_state))
    trained = sum(x.size for name in ("conv2", "bn2", "fc1", "fc2") for x in jax.tree.leaves(after.params[name]))
    assert 2 * trained <= slots <= 2 * trained + 4  # two moments, and counters


def test_a_frozen_batch_norm_normalises_as_in_evaluation():
    task = make()
    state = started(task)
    params = state.params
    frozen = freeze(task.loss, ("bn*",))
    loss, _ = frozen(params, state.model_state, BATCH, jax.random.key(1))
    x = (BATCH["image"] / np.float32(255) - 0.5) / 0.25
    logits, _ = MODEL.apply({"params": params, **state.model_state}, x, train=False)
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, BATCH["label"]).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_one_logit_for_two_classes():
    info = INFO._replace(classes=("no", "yes"))
    model = MODEL.clone(num_classes=1)
    given = classify.make_predict(model, info, loss="sigmoid")
    task = make(model, info, loss="sigmoid")
    batch = BATCH | {"label": BATCH["label"] % 2}
    state = jax.jit(make_init(task, optax.sgd(0.1), seed=0))(batch)
    out = given(state.params, state.model_state, batch["image"])
    np.testing.assert_allclose(out["probability"][:, 1], jax.nn.sigmoid(out["logits"][:, 0]), rtol=1e-6)
    np.testing.assert_allclose(out["probability"].sum(1), jnp.ones(12), rtol=1e-6)
    values = task.summarize(jax.device_get(task.measure(state.params, state.model_state, batch)))
    assert values["accuracy"] == np.mean((out["logits"][:, 0] > 0) == batch["label"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "softmaxx"}, "config.task.loss='softmaxx' is unknown; did you mean 'softmax'"),
        ({"label_smoothing": 1.0}, r"config.task.label_smoothing=1.0 must be in \[0, 1\)"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_a_stage_that_is_not_there():
    given = classify.make_predict(MODEL, INFO, stage="layer9")
    state = started(make())
    with pytest.raises(
        ConfigError, match="config.eval.stage='layer9' is no stage of this network; choose one of pool1"
    ):
        given(state.params, state.model_state, BATCH["image"])


# ------------------------------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The sweep of Fashion-MNIST in its tiny form on images drawn here: two rows, one seed."""
    root = tmp_path_factory.mktemp("data")
    data_files.fashion_mnist(root, train=80, test=24)
    one = runs.load_config("fashion_mnist", "ablation,tiny")
    one.data.update({"dir": str(root), "holdout": 16})
    one.sweep.update({"rows": (one.sweep.rows[0], one.sweep.rows[4]), "seeds": (0,), "epochs": (0, 2)})
    one.lock()
    return one


@pytest.fixture(scope="module")
def swept(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    sweep.run(config, folder)
    return folder


def test_a_sweep_runs_every_row_writes_its_table_and_runs_nothing_twice(config, swept):
    results = {name: json.loads((swept / name / "0" / "result.json").read_text()) for name in ("baseline", "improved")}
    with (swept / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["baseline", "improved"]
    for row in rows:
        assert float(row["test/accuracy_mean"]) == results[row["row"]]["values"]["test/accuracy"]
        assert row["test/accuracy_n"] == "1"
    assert rows[0]["reference test/accuracy"] == "0.635"
    assert "| baseline |" in (swept / "table.md").read_text() and "baseline &" in (swept / "table.tex").read_text()
    with (swept / "epochs.csv").open() as file:
        epochs = list(csv.DictReader(file))
    for row in epochs:
        seen = [r["val/accuracy"] for r in Folder(swept / row["row"] / "0").read_metrics() if "val/accuracy" in r]
        assert [float(row[f"val/accuracy, epoch {n}_mean"]) for n in (0, 2)] == [seen[0], seen[2]]
    for name in ("test_accuracy.png", "class_accuracy.png", "curves.png"):
        assert (swept / name).stat().st_size > 1000
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("metrics.jsonl")}
    sweep.run(config, swept)
    other = config.copy_and_resolve_references()
    other.optim.lr, other.data.workers = 0.5, 1
    rows = [swept / name / "0" for name in ("baseline", "improved")]
    both = rf"{rows[0]} holds a run of another config \(optim.lr: \S+ -> 0.5\); .*: {rows[0]}, {rows[1]}\."
    with pytest.raises(UserError, match=both):
        sweep.run(other, swept)
    other.optim.lr = config.optim.lr
    sweep.run(other, swept)  # the number of workers changes no result
    assert before == {path: path.stat().st_mtime_ns for path in swept.rglob("metrics.jsonl")}


def test_the_test_split_is_seen_at_the_best_checkpoint(swept):
    workdir = swept / "improved" / "0"
    result = json.loads((workdir / "result.json").read_text())
    scores = {
        row["step"]: row["val/accuracy"]
        for row in Folder(workdir).read_metrics()
        if "val/accuracy" in row and row["step"]
    }
    assert scores[result["reported_step"]] == max(scores.values()) == result["values"]["val/accuracy"]
    arrays = read_arrays(workdir / "result.npz")
    assert arrays["test/confusion"].sum() == 24
    np.testing.assert_allclose(np.trace(arrays["test/confusion"]) / 24, result["values"]["test/accuracy"])
    figures = {path.stem for path in (workdir / "figures").iterdir()}
    assert figures == {"curves", "schedules", "views", "confusion", "class_accuracy", "pca", "tsne", "worst"}


def test_predictions_of_a_folder_are_those_of_the_checkpoint_alone(swept, tmp_path):
    data_files.class_folders(tmp_path / "images", {"x": 2, "y": 1})
    trained = load_run(swept / "baseline" / "0")
    predict.write_probabilities(trained, tmp_path / "images", str(tmp_path / "out.json"))
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["file"] for row in rows] == ["x/000.png", "x/001.png", "y/000.png"]
    for row in rows:
        probability = {name: p for name, p in row.items() if name not in ("file", "class")}
        assert len(probability) == 10 and sum(probability.values()) == pytest.approx(1, rel=1e-5)
        assert row["class"] == max(probability, key=probability.get)
    with pytest.raises(UserError, match="there is no folder"):
        predict.write_probabilities(trained, tmp_path / "none", "")
    with pytest.raises(UserError, match="is not the workdir of a run"):
        load_run(tmp_path)


def test_patience_ends_a_run_that_gets_no_better_and_going_on_changes_nothing(config, tmp_path):
    one = ConfigDict({name: value for name, value in config.items() if name != "sweep"}).copy_and_resolve_references()
    one.optim.lr = 0.0  # but for the batch statistics nothing changes
    one.model.batch_norm = False
    one.train.update({"patience": 1, "total_epochs": 5.0})
    arrays = len(jax.live_arrays())
    values = train.run(one, tmp_path)
    assert len(jax.live_arrays()) <= arrays  # nothing on the devices outlives a run
    steps = [row["step"] for row in Folder(tmp_path).read_metrics() if "val/accuracy" in row]
    per_epoch = steps[1]
    assert steps == [0, per_epoch] and json.loads((tmp_path / "result.json").read_text())["step"] == per_epoch
    metrics = (tmp_path / "metrics.jsonl").read_bytes()
    assert train.run(one, tmp_path) == values
    assert (tmp_path / "metrics.jsonl").read_bytes() == metrics


def test_a_sweep_names_the_row_that_cannot_be_set(config, tmp_path):
    one = config.copy_and_resolve_references()
    one.sweep.rows = ({"name": "odd", "set": {"model": {"chanels": (1,)}}},)
    with pytest.raises(ConfigError, match="config.sweep: the row 'odd' cannot be set: .*chanels"):
        sweep.run(one, tmp_path)


def test_a_sweep_whose_runs_are_all_refused_leaves_nothing(config, tmp_path):
    one = config.copy_and_resolve_references()
    one.data.dir = "/nowhere"
    with pytest.raises(UserError, match="2 of 2 runs failed"):
        sweep.run(one, tmp_path / "sweep")
    assert not list(tmp_path.iterdir())


def test_the_best_metric_must_exist(config, tmp_path):
    one = ConfigDict({name: value for name, value in config.items() if name != "sweep"}).copy_and_resolve_references()
    one.eval.best = "val/acuracy"
    with pytest.raises(
        ConfigError, match=r"config.eval.best='val/acuracy' is no metric .* did you mean 'val/accuracy'"
    ):
        train.run(one, tmp_path / "run")
    assert not list(tmp_path.iterdir())  # although the network was evaluated by then
