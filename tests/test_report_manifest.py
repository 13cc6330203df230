"""The manifest of a run, in and out of a git checkout."""

import json
import platform
import shlex
import subprocess
import sys
from datetime import datetime
from importlib import metadata

import jaxcv
from jaxcv.store.files import write_json
from jaxcv.store.manifest import git, manifest


def command(folder, *args):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", folder, *identity, *args], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_manifest(tmp_path):
    made = manifest(seed=3, data={"train": "ab12"}, devices=["cpu:0"], workdir=tmp_path)
    assert made["versions"]["jaxcv"] == jaxcv.__version__
    assert made["versions"]["python"] == platform.python_version()
    for name in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy"):
        assert made["versions"][name] == metadata.version(name)
    assert (made["seed"], made["data"], made["workdir"]) == (3, {"train": "ab12"}, str(tmp_path))
    assert made["machine"]["devices"] == ["cpu:0"] and made["machine"]["hostname"] == platform.node()
    assert made["command"] == shlex.join(sys.orig_argv)
    assert abs(datetime.now().astimezone() - datetime.fromisoformat(made["time"]["start"])).seconds < 60
    write_json(tmp_path / "manifest.json", made)
    assert json.loads((tmp_path / "manifest.json").read_text()) == made


def test_all_but_the_time_is_the_same_twice(tmp_path):
    one, two = (manifest(seed=0, data={}, devices=[], workdir=tmp_path) for _ in range(2))
    assert one.pop("time").keys() == two.pop("time").keys() == {"start"}
    assert one == two


def test_git_tells_commit_and_changes(tmp_path, monkeypatch):
    assert git(tmp_path) is None  # no repository
    command(tmp_path, "init")
    (tmp_path / "jaxcv").mkdir()
    (tmp_path / "jaxcv" / "a.py").write_text("a = 1\n")
    assert git(tmp_path) is None  # a repository that does not hold the package
    command(tmp_path, "add", ".")
    assert git(tmp_path) is None  # no commit yet
    command(tmp_path, "commit", "-m", "one")
    commit = command(tmp_path, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook
    assert git(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "results.txt").write_text("no code\n")
    assert git(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / "jaxcv" / "b.py").write_text("a new file that nobody added\n")
    assert git(tmp_path) == {"commit": commit, "dirty": True}
    (tmp_path / "jaxcv" / "b.py").unlink()
    (tmp_path / "jaxcv" / "a.py").write_text("a = 2\n")
    assert git(tmp_path) == {"commit": commit, "dirty": True}
    monkeypatch.setenv("PATH", "")
    assert git(tmp_path) is None  # no git
