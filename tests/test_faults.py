"""What can happen to a run: a stop, a kill, a damaged file, another config or data. It ends as if nothing had, or in
one line that says why not."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import runs
from jaxcv.errors import UserError
from jaxcv.experiment import build
from jaxcv.report import figures
from jaxcv.run import resume, train
from jaxcv.run.begin import describe
from jaxcv.run.run import Run
from jaxcv.store.files import write_json
from jaxcv.store.folder import Folder
from jaxcv.store.stop import never

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def whole_runs(whole, tmp_path_factory, cache):
    """f(name) -> (flags, workdir) of an uninterrupted run; nobody changes it."""
    root, known = tmp_path_factory.mktemp("data") / "root", {"byol": ([runs.TINY], whole[0])}

    def get(name):
        if name not in known:
            flags, workdir = runs.flags_of(name, root), tmp_path_factory.mktemp(name)
            code, _, err = runs.run("main.py", *flags, f"--workdir={workdir}", cache=cache)
            assert code == 0, err
            known[name] = flags, workdir
        return known[name]

    return get


def damage(checkpoint):
    """Flips a bit in the largest file of a checkpoint."""
    file = max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "early", "evaluated", "late"),
    [
        ("colorize", 1, 2, 3),
        pytest.param("byol", 1, 4, 5, marks=slow),
        pytest.param("fashion_mnist", 1, 4, 5, marks=slow),
    ],
)
def test_killed_stopped_and_damaged_it_ends_as_if_nothing_had_been(
    name, early, evaluated, late, whole_runs, tmp_path, cache
):
    flags, whole = whole_runs(name)
    command = ["main.py", *flags, f"--workdir={tmp_path}"]

    process = runs.start(*command, cache=cache)
    runs.until(process, tmp_path, early)
    process.kill()
    runs.finish(process)

    for step in (evaluated, late):  # where a step is logged that is evaluated, its evaluation follows
        process = runs.start(*command, cache=cache)
        runs.until(process, tmp_path, step)
        process.send_signal(signal.SIGTERM)
        code, out, err = runs.finish(process)
        assert code == 0, err
        assert f"Stopped at step {runs.steps(tmp_path)[-1]} of" in out and f"--workdir={tmp_path}" in out, out
        assert (tmp_path / "figures/curves.png").exists()
    last = runs.steps(tmp_path)[-1]
    damage(tmp_path / "checkpoints" / str(last))

    code, out, err = runs.run(*command, cache=cache)
    assert code == 0, err
    assert f"Checkpoint {last} is damaged (" in out and f"was renamed {last}.corrupt; " in out, out
    runs.assert_same_run(whole, tmp_path)


def should_stop_after(condition):
    """should_stop() that is true from the first time on that the condition is."""
    came = []

    def should_stop():
        if not came and condition():
            came.append(True)
        return bool(came)

    return should_stop


def test_a_stop_in_set_up_in_any_evaluation_and_at_the_end(tmp_path, capsys, monkeypatch):
    """In one process, so that the moment is known; pictures are drawn in the other tests."""
    for name in ("curves", "schedules", "image_rows"):
        monkeypatch.setattr(figures, name, lambda *_, **__: None)
    config, log, calls = runs.load_config("colorize", "tiny"), tmp_path / "metrics.jsonl", itertools.count()

    def evaluations():
        return [row["step"] for row in runs.lines(log) if "val/loss" in row] if log.exists() else []

    def losses():
        return [row["step"] for row in runs.lines(log) if "train/loss" in row] if log.exists() else []

    moments = [
        (lambda: True, "before the first step", [], []),
        (log.exists, "before the first step", [], []),  # in the first evaluation
        (lambda: losses() == [1, 2], "at step 2 of 4", [2], [0]),  # in the second one
        (lambda: 4 in evaluations(), "at step 4 of 4", [2, 4], [0, 2, 4]),
        (lambda: next(calls) > 0, "at step 4 of 4", [2, 4], [0, 2, 4]),  # while the test split is evaluated
    ]
    for condition, told, saved, done in moments:
        assert train.run(config, tmp_path, should_stop=should_stop_after(condition)) == {}
        assert f"Stopped {told}" in capsys.readouterr().out
        assert (runs.steps(tmp_path), evaluations()) == (saved, done)
        assert not (tmp_path / "result.json").exists()
        assert not list(tmp_path.rglob(".*.tmp"))
    assert train.run(config, tmp_path)
    assert train.run(config, tmp_path / "whole")
    runs.assert_same_run(tmp_path / "whole", tmp_path)


def test_a_second_signal_ends_a_run_at_once(tmp_path):
    process = runs.start("main.py", "--config=configs/colorize.py:tiny", f"--workdir={tmp_path}")
    for _ in range(6000):
        if (tmp_path / "lock").exists():
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert "once more to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == -signal.SIGTERM
    process.communicate()


@slow
def test_a_killed_run_leaves_no_worker_behind(tmp_path, cache):
    flags = ["--config=configs/colorize.py:tiny", "--config.data.workers=2", f"--workdir={tmp_path}"]
    process = runs.start("main.py", *flags, cache=cache)
    runs.until(process, tmp_path, 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        children += (task / "children").read_text().split()
    assert children
    process.kill()
    process.communicate()
    for _ in range(1000):
        alive = [pid for pid in children if Path(f"/proc/{pid}").exists()]
        if not alive:
            return
        time.sleep(0.01)
    raise AssertionError(f"processes {alive} live on")


@slow
@pytest.mark.parametrize("what", ["--kills=8", "--snapshots=8", "--damages=8"])
def test_interrupted_and_damaged_at_any_moment(what):
    done = subprocess.run(
        [sys.executable, str(runs.ROOT / "tests/soak.py"), what], env=runs.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@slow
def test_a_full_disk_ends_a_run_in_one_line(tmp_path, cache):
    code = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    code += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, "launch/main.py", "--config=configs/colorize.py:tiny"]
    done = subprocess.run(
        [*command, f"--workdir={tmp_path}"], env=runs.environment(), cwd=runs.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "File too large; make room and run the same command again" in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run that has begun, as far as the guard looks."""
    config, folder = runs.load_config("colorize", "tiny"), Folder(tmp_path_factory.mktemp("begun"))
    experiment = build(config)
    folder.write_config(json.loads(config.to_json()))
    folder.write_manifest({**describe(experiment, folder), "frozen_sha256": "abc"})
    return Run(config, folder, experiment, checkpoints=None, should_stop=never)


def rewritten(begun, tmp_path, **changed):
    """A copy of that run whose manifest differs."""
    shutil.copytree(begun.folder.path, tmp_path / "run")
    folder = Folder(tmp_path / "run")
    folder.write_manifest({**folder.read_manifest(), **changed})
    return begun._replace(config=begun.config.copy_and_resolve_references(), folder=folder)


def test_the_same_config_goes_on_without_a_word(begun, capsys):
    resume.guard(begun)()
    assert capsys.readouterr().out == ""


def test_another_config_stops_and_override_keeps_the_old_one(begun, tmp_path, capsys):
    run = rewritten(begun, tmp_path)
    config, workdir = run.config, run.folder.path
    old = (workdir / "config.json").read_text()
    config.optim.lr, config.seed = 0.5, 3
    with pytest.raises(UserError, match=r"another config \(optim.lr: 0.001 -> 0.5 and 1 more\); .* --override"):
        resume.guard(run)
    assert (workdir / "config.json").read_text() == old
    resume.guard(run._replace(override=True))()
    assert capsys.readouterr().out == "Overridden: optim.lr: 0.001 -> 0.5\nOverridden: seed: 0 -> 3\n"
    assert (workdir / "config.json.1").read_text() == old
    assert json.loads((workdir / "config.json").read_text())["optim"]["lr"] == 0.5
    assert json.loads((workdir / "manifest.json").read_text())["frozen_sha256"] == "abc"
    resume.guard(run)()


def test_a_log_with_lost_lines_stops_and_override_goes_on(begun, tmp_path, capsys):
    folder = Folder(tmp_path)
    with folder.open_log(step=-1) as log:
        for step in (1, 2):
            log.write(step, {"train/loss": 0.5})
        saved = log.digests()
    run = begun._replace(folder=folder, checkpoints=SimpleNamespace(saved_log=lambda step: saved))
    folder.metrics.write_bytes(folder.metrics.read_bytes().split(b"\n", 1)[1])
    with pytest.raises(UserError, match=r"metrics.jsonl is not .* up to step 2: .*; restore the file, .* --override"):
        resume.resumed_log(run, 2)
    with resume.resumed_log(run._replace(override=True), 2):
        assert [row["step"] for row in folder.read_metrics()] == [2]
    assert capsys.readouterr().out.startswith("Overridden: ")


def test_an_override_that_cannot_be_leaves_the_run_as_it_was(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    config = runs.load_config("byol", "tiny")
    config.model.width = 8
    files = ("config.json", "manifest.json", "metrics.jsonl", "result.json")
    before = [(tmp_path / "run" / name).read_bytes() for name in files]
    with pytest.raises(UserError, match="is float32.* there, but float32.* in this config"):
        train.run(config, tmp_path / "run", override=True)
    assert [(tmp_path / "run" / name).read_bytes() for name in files] == before
    assert not list((tmp_path / "run").glob("*.1"))


def test_keys_that_change_no_bit_pass(begun, tmp_path, capsys):
    run = rewritten(begun, tmp_path)
    config, workdir = run.config, run.folder.path
    config.data.workers, config.train.save_every_epochs = 2, 0.5
    resume.guard(run)()
    told = capsys.readouterr().out
    assert "without an effect on its results: data.workers: 0 -> 2, train.save_every_epochs: 1.0 -> 0.5." in told
    assert json.loads((workdir / "config.json").read_text())["data"]["workers"] == 2


def test_other_data_stop_and_other_versions_are_told(begun, tmp_path, capsys):
    manifest = begun.folder.read_manifest()
    changed = {"data": manifest["data"] | {"val": "0123"}, "versions": manifest["versions"] | {"jax": "0.1"}}
    changed |= {"git": {"commit": "0123", "dirty": True}}
    run = rewritten(begun, tmp_path, **changed)
    with pytest.raises(
        UserError, match="other data .fingerprint of the split val: 0123 -> [0-9a-f]{16}.; .*--override"
    ):
        resume.guard(run)
    told = capsys.readouterr().out
    assert "Since this run began, commit: 0123 with uncommitted changes -> " in told and "; jax: 0.1 -> " in told
    resume.guard(run._replace(override=True))()
    assert "Overridden: data of the split val: 0123 -> " in capsys.readouterr().out
    resume.guard(run)()


@pytest.mark.parametrize("content", ["", "{", "[]", None])
def test_a_config_that_cannot_be_read_stops(begun, tmp_path, content):
    run = rewritten(begun, tmp_path)
    workdir = run.folder.path
    (workdir / "config.json").unlink() if content is None else (workdir / "config.json").write_text(content)
    with pytest.raises(UserError, match="no readable config.json, so the run there is unknown; restore"):
        resume.guard(run)
    resume.guard(run._replace(override=True))()
    assert json.loads((workdir / "config.json").read_text())["seed"] == 0


def test_what_comes_after_the_restored_step_does_not_mislead(tmp_path):
    for name in ("0", "4", "8"):
        (tmp_path / "examples").mkdir(exist_ok=True)
        (tmp_path / f"examples/{name}.npz").write_text("")
    (tmp_path / "result.npz").write_text("")
    write_json(tmp_path / "result.json", {"step": 8})
    Folder(tmp_path).truncate(8)
    assert len(list(tmp_path.rglob("*.npz"))) == 4
    Folder(tmp_path).truncate(4)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["0.npz", "4.npz"]
    Folder(tmp_path).truncate(None)
    assert not list(tmp_path.rglob("*.*"))


BUG = """if True:
    import sys
    from pathlib import Path
    from jaxcv.tools import command
    from jaxcv.errors import UserError
    kind, folder = sys.argv.pop(), Path(sys.argv.pop())
    def work(args):
        raise {"bug": KeyError("x"), "user": UserError("no such thing.")}[kind]
    sys.exit(command.run(work, doc="", add_flags=lambda parser: None, workdir=lambda args: folder))
"""


@pytest.mark.parametrize(
    ("kind", "said", "kept"),
    [
        ("bug", "error: this is a bug: KeyError: 'x', whose traceback is in {}.\n", "KeyError: 'x'"),
        ("user", "error: no such thing.\n", "jaxcv.errors.UserError: no such thing."),
    ],
)
def test_a_traceback_is_kept_and_one_line_said(kind, said, kept, tmp_path):
    done = subprocess.run([sys.executable, "-c", BUG, str(tmp_path), kind], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == said.format(tmp_path / "error.log")
    content = (tmp_path / "error.log").read_text()
    assert kept in content and "Traceback (most recent call last)" in content and "jax 0." in content
    missing = subprocess.run([sys.executable, "-c", BUG, "/nowhere", "bug"], capture_output=True, text=True)
    assert missing.returncode != 0 and "Traceback" in missing.stderr


def test_a_run_is_verified_and_an_altered_one_is_not(whole, tmp_path, cache):
    """By the losses that it logged, the states it saved, and its files."""
    altered = tmp_path / "altered"
    shutil.copytree(whole[0], altered)
    lines = (altered / "metrics.jsonl").read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if json.loads(line)["step"] == 7)
    row = json.loads(lines[at])
    lines[at] = json.dumps(row | {"train/loss": np.nextafter(row["train/loss"], 9)}) + "\n"
    (altered / "metrics.jsonl").write_text("".join(lines))
    before = {path: path.stat().st_mtime_ns for path in whole[0].rglob("*")}

    code, out, err = runs.run("verify.py", f"--workdir={whole[0]}", cache=cache)
    assert code == 0 and not err, err
    assert [cell.strip() for cell in out.splitlines()[-2].split("|")[1:-1]] == ["6", "whole", "2", "identical"], out
    assert {path: path.stat().st_mtime_ns for path in whole[0].rglob("*")} == before

    damage(altered / "checkpoints/8")
    with (altered / "metrics.jsonl").open("a") as file:
        file.write("{")
    code, out, err = runs.run("verify.py", f"--workdir={altered}", "--steps=1", cache=cache)
    assert code == 1 and err.count("\n") == 1, err
    assert "checkpoint 6: step 7: train/loss is " in err and " in the log" in err
    assert "checkpoint 8: " in err and "metrics.jsonl ends in half a line" in err
