"""Whole runs of the main job: what they leave, and that nothing that happens to them changes a bit."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import runs
from jaxcv.errors import UserError
from jaxcv.run import plan, train
from jaxcv.run.monitor import Monitor
from jaxcv.run.run import Run
from jaxcv.store.folder import Folder
from jaxcv.store.stop import never

TINY = runs.TINY


def same_run(a, b):
    assert runs.lines(a / "metrics.jsonl") == runs.lines(b / "metrics.jsonl")
    assert runs.digest(a, 8) == runs.digest(b, 8)


def test_what_a_run_leaves(whole):
    workdir, out = whole
    for name in (
        "config.json",
        "manifest.json",
        "metrics.jsonl",
        *(f"figures/{x}.png" for x in ("curves", "schedules", "views", "pca", "tsne")),
    ):
        assert (workdir / name).stat().st_size > 0
    assert list((workdir / "tensorboard").iterdir())
    config, manifest = (json.loads((workdir / f"{x}.json").read_text()) for x in ("config", "manifest"))
    assert config["train"]["total_steps"] == 8 and config["data"]["name"] == "shapes"
    assert manifest["seed"] == 0 and len(set(manifest["data"].values())) == 3
    rows = runs.lines(workdir / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == list(range(1, 9))
    assert [row["step"] for row in rows if "val/knn_accuracy" in row] == [0, 4, 8]
    # The test split is seen at the start, and when all is over.
    assert [row["step"] for row in rows if "test/probe_accuracy" in row] == [0]
    result = json.loads((workdir / "result.json").read_text())
    assert (result["step"], result["reported_step"]) == (8, 8) and "test/probe_accuracy" in result["values"]
    assert {path.name for path in (workdir / "examples").iterdir()} == {"0.npz", "4.npz", "8.npz"}
    first = next(row for row in rows if "train/loss" in row)
    assert {
        "train/feature_std",
        "train/effective_rank",
        "train/online_target_cosine",
        "train/tau",
        "train/grad_norm",
    } <= set(first)
    assert first["train/learning_rate"] == 0 and first["train/tau"] == pytest.approx(0.95)
    assert "at initialisation" in out and "test/knn_accuracy" in out and "chance" in out
    kept = {int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()}
    scores = {row["step"]: row["val/knn_accuracy"] for row in rows if "val/knn_accuracy" in row}
    assert kept == {6, 8, 4 if scores[4] > scores[8] else 8}  # the latest two and the best


@pytest.mark.slow  # the tests of interrupted runs say as much
def test_the_same_command_gives_the_same_bits(whole, tmp_path, cache):
    code, _, err = runs.run("main.py", TINY, f"--workdir={tmp_path}", cache=cache)
    assert code == 0, err
    same_run(whole[0], tmp_path)


@pytest.mark.slow  # tests/test_faults.py kills a smaller run
def test_kill_9_and_resume_give_the_same_bits(whole, tmp_path, cache):
    for step in (2, 5):  # before the first checkpoint, and after it
        process = runs.start("main.py", TINY, f"--workdir={tmp_path}", cache=cache)
        runs.until(process, tmp_path, step)
        process.kill()
        runs.finish(process)
        assert not any("test/loss" in row for row in runs.lines(tmp_path / "metrics.jsonl"))
    code, _, err = runs.run("main.py", TINY, f"--workdir={tmp_path}", cache=cache)
    assert code == 0, err
    same_run(whole[0], tmp_path)


def test_a_finished_run_is_told_again(whole, tmp_path, cache):
    shutil.copytree(whole[0], tmp_path / "run")
    folder = Folder(tmp_path / "run")
    folder.write_manifest({**folder.read_manifest(), "from_scratch": "from scratch: no weights"})
    code, out, err = runs.run("main.py", TINY, f"--workdir={tmp_path / 'run'}", cache=cache)
    assert code == 0, err
    assert "at initialisation" in out and ": 8 steps; from scratch: no weights\n" in out
    assert "The data are unchanged since this run began.\n" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--config.optim.weight_decai=1"],
            "unknown config key --config.optim.weight_decai: there is no 'weight_decai'; did you mean 'weight_decay'?",
        ),
        (
            ["--config.optim.lr=fast"],
            "--config.optim.lr=fast must be a number; it is 0.1 now.",
        ),
        (
            ["--config.train.batch_size=5000"],
            "config.train.batch_size=5000 is more than shapes's 64 training images.",
        ),
        (["--config.model.depth=20"], "config.model.depth=20 is unknown; choose one of 101, 152, 18, 34, 50."),
        (
            ["--config.model.name=resnext"],
            "config.model.name='resnext' is not in jaxcv/models; did you mean 'resnet'?",
        ),
    ],
)
def test_mistakes_get_one_line(flags, message, tmp_path):
    code, out, err = runs.run("main.py", TINY, *flags, f"--workdir={tmp_path / 'run'}")
    assert code == 1
    assert err == f"error: {message}\n"
    assert not out


def test_mistakes_of_the_place_get_one_line(whole, tmp_path, cache):
    """Absent data, a workdir that cannot be made, devices that do not fit, another config or model in the workdir."""
    (tmp_path / "file").write_text("")
    shutil.copytree(whole[0], tmp_path / "other")
    other = f"{tmp_path / 'other'} holds a run of another config (model.width: 4 -> 8); resume it with"
    cases = [
        (
            ["--config=configs/byol.py:cifar10,tiny", "--config.data.dir=/nowhere"],
            {},
            "there is no folder /nowhere/cifar-10-batches-py",
        ),
        (
            [TINY, f"--workdir={tmp_path}/file/run"],
            {},
            f"cannot write to --workdir={tmp_path}/file/run: Not a directory",
        ),
        (
            [TINY],
            {"devices": 3},
            "config.train.batch_size=16 cannot be split over 3 devices; use a multiple of 3, such as 15.",
        ),
        ([TINY, f"--workdir={tmp_path / 'other'}", "--config.model.width=8"], {}, other),
        (["--config=configs/byol.py:tinny"], {}, "configs/byol.py has no variant 'tinny'"),
        (["--config=configs/bjol.py"], {}, "; did you mean 'configs/byol.py'?"),
    ]
    for flags, options, message in cases:
        if not any(flag.startswith("--workdir") for flag in flags):
            flags = [*flags, f"--workdir={tmp_path / 'run'}"]
        code, _, err = runs.run("main.py", *flags, **options)
        assert code == 1 and err.startswith("error: ") and err.count("\n") == 1 and message in err, err


def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(tmp_path):
    flags = ["--config=configs/colorize.py:tiny", "--config.optim.lr=1e38", f"--workdir={tmp_path}"]
    code, out, err = runs.run("main.py", *flags)
    assert code == 1, out
    assert "the loss is nan at step" in err and err.count("\n") == 1, err
    assert not any(path.name.isdigit() for path in (tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("values", [{"loss": float("inf"), "grad_norm": 1.0}, {"loss": 1.0, "grad_norm": float("nan")}])
def test_neither_loss_nor_gradient_may_be_infinite(values):
    settings = SimpleNamespace(train=SimpleNamespace(log_every_steps=10, stop_on_collapse=False))
    run = Run(None, None, SimpleNamespace(settings=settings), SimpleNamespace(latest=lambda: 5), never)
    monitor = Monitor(run, None, None)
    monitor.read(7, {"loss": 1.0, "grad_norm": 1.0}, always=True)
    with pytest.raises(UserError, match="(the loss is inf|the gradient's norm is nan) at step 7; the last good .* 5"):
        monitor.read(7, values, always=True)


def test_what_is_done_at_most_every_so_many_seconds(monkeypatch):
    now, done = [5.0], []
    monkeypatch.setattr(plan, "time", SimpleNamespace(monotonic=lambda: now[0]))
    draw = plan.at_most_every(30.0, lambda: done.append(now[0]))
    for now[0] in (5.0, 34.0, 35.0, 36.0, 64.9, 65.0, 200.0, 200.0):
        draw()
    assert done == [35.0, 65.0, 200.0]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to see memory")
def test_memory_that_is_free_is_given_back():
    def resident():  # pages of 4 KiB
        return int(Path("/proc/self/statm").read_text().split()[1])

    parts = [bytes(100_000) for _ in range(3000)]
    with train.memory_given_back():
        parts, before = parts[-1:], resident()  # what is in use lies behind what is free
    assert before - resident() > 50_000, "of 75,000 pages that are free"
    assert len(parts) == 1
