"""Checkpoints: what is saved comes back or is named and set aside; the best is kept; a workdir has one run."""

import errno
import fcntl
import os
import resource
import shutil
import subprocess
import sys
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import runs
from jaxcv.errors import DataError, UserError
from jaxcv.mesh import make_mesh, replicated
from jaxcv.optim.optimizers import make_optimizer
from jaxcv.step import TrainState
from jaxcv.store import checkpoint
from jaxcv.store.checkpoint import Checkpoints, identities_in, restore_raw
from jaxcv.store.files import write_json
from jaxcv.store.folder import Folder
from jaxcv.store.manifest import identity

TX = make_optimizer("adam", lambda step: 0.1, ema_decay=0.9)


def state(step=0, *, classes=3, names=("kernel", "gain")):
    layout = replicated(make_mesh())
    params = {"layer1.0": {name: jnp.full((4, classes), step + 0.5) for name in names}}
    seen = np.random.default_rng(step).random((100, 100), np.float32)  # more than orbax keeps in its tables
    return jax.device_put(TrainState(jnp.int32(step), params, {"seen": seen}, TX.init(params)), layout)


def abstract(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def saved(folder, scores):
    """Checkpoints in which the states of these steps were saved, with these scores."""
    with closing(Checkpoints(Folder(folder))) as checkpoints:
        for step, score in scores.items():
            checkpoints.rank(step, score)
            checkpoints.save(step, state(step))
    return checkpoints


def restored(folder, like=None):
    """(step, state) of the latest checkpoint that is whole, or None."""
    with closing(Checkpoints(Folder(folder))) as checkpoints:
        return checkpoints.restore(checkpoints.latest, abstract(like or state()), otherwise="nothing is left")


def same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def kept(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_a_state_comes_back_bit_for_bit_in_its_own_types(tmp_path):
    saved(tmp_path, {3: None})
    step, new = restored(tmp_path)
    assert step == 3 and same(state(3), new)
    assert {x.sharding for x in jax.tree.leaves(new)} == {replicated(make_mesh())}
    raw = restore_raw(Folder(tmp_path))
    np.testing.assert_array_equal(raw["params"]["layer1.0"]["kernel"], state(3).params["layer1.0"]["kernel"])


@pytest.mark.parametrize("folder", sorted((runs.ROOT / "tests/goldens").glob("checkpoint-*")), ids=lambda x: x.name)
def test_what_each_version_has_saved_is_read(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "old")
    step, found = restored(tmp_path / "old")
    assert step == 7 and same(found, state(7))


def test_the_latest_two_and_the_best_are_kept(tmp_path):
    checkpoints = saved(tmp_path, {1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.5, 5: None, 6: float("inf")})
    assert kept(tmp_path) == ["2", "5", "6"]
    assert checkpoints.best() == 2 and checkpoints.latest() == 6


# Where orbax meets one array that cannot be read, it closes its event loop on those that are still being read.
noisy = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@noisy
def test_no_damage_to_any_file_gives_another_state(tmp_path, capsys):
    """A byte flipped, the file cut, emptied or deleted, for every file: the state is that which was saved, or the
    checkpoint is set aside, which is said in a line, and the one before it comes back."""
    saved(tmp_path / "whole", {3: None, 6: None})
    outcomes = {"identical": 0, "set aside": 0}
    for file in sorted((tmp_path / "whole/checkpoints/6").rglob("*")):
        for number in range(6 if file.is_file() else 0):
            run = tmp_path / "run"
            shutil.copytree(tmp_path / "whole", run)
            ways = list(runs.damages(run / file.relative_to(tmp_path / "whole")))
            if number < len(ways):
                ways[number]()
            step, new = restored(run)
            said = capsys.readouterr().out
            assert same(new, state(step)), file
            if step == 6:
                outcomes["identical"] += 1
                assert not said and kept(run) == ["3", "6"]
            else:
                outcomes["set aside"] += 1
                assert kept(run) == ["3", "6.corrupt"]
                assert said.startswith("Checkpoint 6 is damaged (") and said.count("\n") == 1, said
                assert said.endswith(") and was renamed 6.corrupt; step 3 is used.\n"), said
            shutil.rmtree(run)
    assert outcomes["set aside"] > 30 and outcomes["identical"] > 0, outcomes


def flip(folder, name):
    """Flips a bit in the array `name` of a checkpoint, which then is as whole as orbax can tell."""
    with closing(checkpoint.ocp.StandardCheckpointer()) as checkpointer:
        tree = checkpointer.restore(folder / "state")
        leaf = checkpoint.by_name(tree)[name]
        changed = np.array(leaf)
        changed.reshape(-1).view(np.uint8)[0] ^= 1
        shutil.rmtree(folder / "state")
        checkpointer.save(folder / "state", jax.tree.map(lambda x: changed if x is leaf else x, tree))


def test_a_flipped_bit_in_an_array_is_named(tmp_path, capsys):
    saved(tmp_path, {3: None, 6: None})
    flip(tmp_path / "checkpoints/6", "params/layer1.0/gain")
    with pytest.raises(
        UserError, match="checkpoints/6 is damaged: params.layer1.0.gain is not what was saved: its SHA"
    ):
        restore_raw(Folder(tmp_path))
    assert kept(tmp_path) == ["3", "6"]
    assert restored(tmp_path)[0] == 3
    assert "(params.layer1.0.gain is not what was saved: its SHA-256 differs)" in capsys.readouterr().out


def test_damaged_ones_keep_their_names_and_the_last_leaves_nothing(tmp_path, capsys):
    for name in ("6.corrupt", "6.corrupt.2"):
        saved(tmp_path, {6: None})
        (tmp_path / "checkpoints/6/state/_METADATA").write_text("")
        assert restored(tmp_path) is None
        said = capsys.readouterr().out
        assert said == (
            f"Checkpoint 6 is damaged (state/_METADATA cannot be read: no JSON) and was renamed {name}; "
            "nothing is left.\n"
        )
    assert kept(tmp_path) == ["6.corrupt", "6.corrupt.2"]


def test_a_run_that_was_set_back_saves_again(tmp_path):
    saved(tmp_path, {3: None, 6: None})
    (tmp_path / "checkpoints/6/record/metadata").unlink()
    with closing(Checkpoints(Folder(tmp_path))) as checkpoints:
        assert checkpoints.restore(checkpoints.latest, abstract(state()), otherwise="")[0] == 3
        checkpoints.save(6, state(6))
    assert kept(tmp_path) == ["3", "6", "6.corrupt"] and restored(tmp_path)[0] == 6


@noisy
def test_the_next_best_is_taken_where_the_best_is_damaged(tmp_path, capsys):
    checkpoints = saved(tmp_path, {2: 0.9, 4: 0.3, 6: 0.5})
    (tmp_path / "checkpoints/2/state/manifest.ocdbt").write_bytes(b"")
    step, new = checkpoints.restore(checkpoints.best, abstract(state()), otherwise="the last is used")
    assert step == 6 and same(new, state(6))
    assert "was renamed 2.corrupt; step 6 is used." in capsys.readouterr().out


def test_a_checkpoint_without_a_record_is_left_where_it_is(tmp_path):
    saved(tmp_path, {6: None})
    shutil.rmtree(tmp_path / "checkpoints/6/record")
    with pytest.raises(UserError, match="6 has no record of its arrays: an earlier version wrote it"):
        restored(tmp_path)
    assert kept(tmp_path) == ["6"]


def test_a_checkpoint_under_the_name_of_another_step_is_not_taken_for_it(tmp_path, capsys):
    saved(tmp_path, {3: None, 6: None})
    (tmp_path / "checkpoints/6").rename(tmp_path / "checkpoints/9")
    assert restored(tmp_path)[0] == 3
    assert "Checkpoint 9 is damaged (it is that of step 6)" in capsys.readouterr().out


def test_a_disk_that_is_too_small_is_told_before_a_save(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with closing(Checkpoints(Folder(tmp_path))) as checkpoints:
        checkpoints.save(3, state(3))
        checkpoints.wait()
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
        with pytest.raises(UserError, match=r"need 0\.0 MB and 0\.0 MB are free; the last good checkpoint is step 3\."):
            checkpoints.save(6, state(6))


FULL = """if True:
    import resource, sys, time
    sys.path.insert(0, "tests")
    import numpy as np
    from pathlib import Path
    from absl import logging
    from jaxcv.store.checkpoint import Checkpoints
    from jaxcv.errors import UserError
    from jaxcv.store.folder import Folder
    logging.set_verbosity(logging.FATAL)
    checkpoints = Checkpoints(Folder(sys.argv[1]))
    state = {"params": np.random.default_rng(0).random(100_000)}
    checkpoints.save(3, state)
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    checkpoints.save(6, state)
    try:
        while True:
            checkpoints.poll()
            time.sleep(0.01)
    except UserError as error:
        print(error)
    checkpoints.close()
"""


def test_a_save_that_fails_in_the_background_is_told_without_another_save(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=120, cwd=runs.ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "step 6 was NOT saved: File too large; the last good checkpoint is step 3. "
        f"Make room in {tmp_path} and run the same command again.\n"
    )
    Folder(tmp_path).clean()
    assert kept(tmp_path) == ["3"]


def test_any_file_without_room_is_one_line(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with (
            pytest.raises(UserError, match="cannot write in .*: File too large; make room and run the same command"),
            Folder(tmp_path).report_errors(),
        ):
            (tmp_path / "file").write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(FileNotFoundError), Folder(tmp_path / "run").report_errors():
        (tmp_path / "none").read_bytes()
    with pytest.raises(UserError, match="none was removed during the run; restore"), Folder(tmp_path).report_errors():
        (tmp_path / "none").read_bytes()


def test_remains_of_a_killed_run_are_removed(tmp_path):
    saved(tmp_path, {3: None})
    (tmp_path / "checkpoints/6.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "examples").mkdir()
    for name in (".config.json.tmp", "examples/.4.npz.tmp", "examples/4.npz"):
        (tmp_path / name).write_text("{")
    Folder(tmp_path).clean()
    assert restored(tmp_path)[0] == 3
    assert kept(tmp_path) == ["3"]
    assert [path.name for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".npz"))] == ["4.npz"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"classes": 7},
            r"3: params.layer1.0.\w+ is float32\[4, 3\] there, but float32\[4, 7\] in this config; use the config",
        ),
        (
            {"names": ("kernel", "gain", "bias")},
            "3 lacks opt_state..*.bias and 3 more, that this config needs; use the config",
        ),
        (
            {"names": ("kernel",)},
            "3 has opt_state..*.gain and 3 more, that this config does not have; use the config",
        ),
    ],
)
def test_a_checkpoint_of_another_model_is_named(tmp_path, other, message):
    saved(tmp_path, {3: None})
    with pytest.raises(UserError, match=message):
        restored(tmp_path, like=state(**other))
    assert kept(tmp_path) == ["3"]


def test_a_path_is_no_pattern(tmp_path):
    for name in ("xy[2]z\\b", "x*y", "x?y", "x-y"):  # the last is what the patterns before it match
        saved(tmp_path / name, {2: None, 3: None})
    for name in ("xy[2]z\\b", "x*y", "x?y"):
        assert same(restored(tmp_path / name)[1], state(3)) and kept(tmp_path / name) == ["2", "3"]
    (tmp_path / "x*y/checkpoints/3/state/_METADATA").write_bytes(b"")
    with pytest.raises(UserError, match=r"x\*y/checkpoints/3 is damaged: state/_METADATA cannot be read"):
        restore_raw(Folder(tmp_path / "x*y"))


def test_other_names_than_steps_are_left_alone_and_links_work(tmp_path):
    saved(tmp_path, {3: None, 10: None})
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(checkpoints / "3", checkpoints / "020")
    (checkpoints / "²").mkdir()
    (checkpoints / "3").rename(tmp_path / "elsewhere")
    (checkpoints / "3").symlink_to(tmp_path / "elsewhere")
    assert restored(tmp_path)[0] == 10
    assert restore_raw(Folder(tmp_path), 3)["step"] == 3
    saved(tmp_path, {12: None})  # the link is not kept; what it leads to is the user's
    assert kept(tmp_path) == ["020", "10", "12", "²"] and (tmp_path / "elsewhere/state").exists()


def test_a_checkpoint_of_another_run_is_not_taken_for_its_own(tmp_path, capsys):
    def saved_by(seed, step):
        run = Folder(tmp_path / str(seed))
        config, data = {"seed": seed, "data": {"workers": step}}, {"train": "ab12"}
        run.write_config(config)
        run.write_manifest({"data": data})
        with closing(Checkpoints(run, identity(config, data))) as checkpoints:
            checkpoints.save(step, state(step))
            return run, checkpoints

    saved_by(0, 3)
    run, checkpoints = saved_by(0, 6)  # another number of workers makes no other run
    saved_by(1, 6)
    shutil.rmtree(run.checkpoints / "6")
    shutil.copytree(tmp_path / "1/checkpoints/6", run.checkpoints / "6")
    with pytest.raises(UserError, match="6 is damaged: it is that of a run with another config or other data"):
        restore_raw(run)
    run.write_manifest({**run.read_manifest(), "overridden": sorted(identities_in(run.checkpoints))})
    assert restore_raw(run)
    run.write_manifest({"data": {"train": "ab12"}})
    assert checkpoints.restore(checkpoints.latest, abstract(state()), otherwise="")[0] == 3
    assert capsys.readouterr().out == (
        "Checkpoint 6 is damaged (it is that of a run with another config or other data) and was renamed 6.corrupt; "
        "step 3 is used.\n"
    )


@pytest.mark.parametrize(
    ("file", "text", "error", "stays"),
    [
        ("figures/views.png", "", UserError, False),
        ("metrics.jsonl", '{"step": 0, "val/loss": 1.0}', UserError, False),
        ("metrics.jsonl", '{"step": 1, "train/loss": 1.0}', UserError, True),
        ("checkpoints/2/digests.json", "", UserError, True),
        ("config.json", "", KeyError, True),  # a bug, whose traceback is kept there
    ],
)
def test_a_refused_run_leaves_nothing(file, text, error, stays, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/mine.txt").write_text("")
    for path in (tmp_path / "runs/new", tmp_path / "old"):
        with pytest.raises(error), Folder(path).locked():
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text(text)
            raise error
        assert (path / file).exists() == stays
    assert (tmp_path / "runs").exists() == stays and (tmp_path / "old/mine.txt").exists()
    assert stays or len(list((tmp_path / "old").iterdir())) == 1


def test_a_workdir_has_one_run_at_a_time(tmp_path):
    code = f"from jaxcv.store.folder import Folder\nwith Folder({str(tmp_path)!r}).locked(): pass"
    with Folder(tmp_path).locked():
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "is in use by another run (process " in other.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file/run", "Not a directory"), ("file", "Not a directory"), ("x" * 300, "File name too long")],
)
def test_a_workdir_that_cannot_be_written_to(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=f"cannot write to --workdir=.*{name}: {reason}; name a folder"),
        Folder(tmp_path / name).locked(),
    ):
        pass


def test_a_system_without_locks_is_told(tmp_path, monkeypatch, capsys):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with Folder(tmp_path).locked():
        assert f"{tmp_path} is not guarded against a second run" in (told := capsys.readouterr().out)
        assert told.endswith("at the same time: No locks available.\n")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with Folder(tmp_path).locked():
        assert capsys.readouterr().out.endswith("at the same time: this system has no file locks.\n")


def test_a_result_that_was_changed_is_named_and_evaluated_anew(tmp_path, capsys):
    folder = Folder(tmp_path)
    result = {"step": 8, "values": {"test/accuracy": 0.5, "val/loss": float("nan")}}

    def written():
        folder.write_result(result, {"test/confusion": np.eye(3)})
        assert folder.read_result(8)["values"]["test/accuracy"] == 0.5 and folder.read_result(4) is None

    def changed(file, content):
        written()
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"{file.name} is not what the run has written: delete it and run"):
            folder.read_result()
        folder.truncate(8)
        assert not folder.result.exists() and not folder.result_arrays.exists()
        told = capsys.readouterr().out
        assert f"{file.name} is not what" in told and told.endswith("It is evaluated anew.\n")

    written()
    text, arrays = folder.result.read_bytes(), folder.result_arrays.read_bytes()
    for content in (text.replace(b"0.5", b"0.9"), text[:40], b"[]"):
        changed(folder.result, content)
    for content in (arrays[:-1], arrays.replace(b"confusion", b"confusiom"), b""):
        changed(folder.result_arrays, content)
    write_json(folder.result, {"step": 8})  # as earlier versions did
    folder.result_arrays.write_bytes(b"")
    assert folder.read_result(8) == {"step": 8}
    with pytest.raises(DataError, match=r"result.npz cannot be read .*: restore or delete it, and run"):
        folder.read_result_arrays()


def test_a_manifest_that_was_changed_is_named(tmp_path):
    folder = Folder(tmp_path)
    folder.write_manifest({"seed": 3})
    folder.write_manifest(folder.read_manifest() | {"seed": 4})
    assert folder.read_manifest()["seed"] == 4
    folder.manifest.write_text(folder.manifest.read_text().replace("4", "5", 1))
    with pytest.raises(UserError, match=r"manifest.json is not what the run has written"):
        folder.read_manifest()
