"""Weights from files and runs, and out of them: formats, refusals, and that a run begins with what it was given."""

import json

import jax
import numpy as np
import pytest

import runs
from jaxcv.errors import UserError
from jaxcv.models.weights import to_torch
from jaxcv.run import train
from jaxcv.run.pretrained import from_scratch, read_state, read_task, read_weights
from jaxcv.store.checkpoint import restore_raw
from jaxcv.store.folder import Folder
from jaxcv.store.weights import write

TINY = runs.TINY
STATE = {"conv1.weight": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3), "bn1.running_mean": np.ones(2, np.float32)}


def network(workdir):
    """The variables that a run has trained."""
    folder = Folder(workdir)
    return read_task(folder).get_network(*read_state(folder))


def test_safetensors_come_back_bit_for_bit(tmp_path):
    file = tmp_path / "new" / "w.safetensors"
    write(file, STATE)
    back = read_weights(file)
    assert back.keys() == STATE.keys()
    for name, value in STATE.items():
        np.testing.assert_array_equal(back[name], value)
    assert [path.name for path in file.parent.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"not a tensor", "is not a readable .safetensors file"),
        ("w.h5", b"", "is none of .safetensors, .pth, .pt, .bin, nor the workdir of a run"),
        ("absent.pth", None, "there are no weights at .*absent.pth; name a .safetensors or .pth file, or the workdir"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path / name)


def test_a_truncated_file_and_a_folder_that_is_no_run(tmp_path):
    file = tmp_path / "w.safetensors"
    write(file, STATE)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match="w.safetensors is not a readable .safetensors file"):
        read_weights(file)
    with pytest.raises(UserError, match="is not the workdir of a run: it has no readable config.json"):
        read_weights(tmp_path)
    with pytest.raises(UserError, match="its name must end in that"):
        write(tmp_path / "w.pth", STATE)
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot write .*taken"):
        write(tmp_path / "taken" / "w.safetensors", STATE)


def test_pth_files_are_read_by_torch_and_only_as_data(tmp_path):
    torch = pytest.importorskip("torch")
    inner = {f"module.{name}": torch.from_numpy(value) for name, value in STATE.items()}
    inner["module.half"] = torch.ones(2, dtype=torch.bfloat16)
    torch.save({"state_dict": inner, "epoch": 3}, tmp_path / "w.pth")
    back = read_weights(tmp_path / "w.pth")
    assert back.keys() == {*STATE, "half"} and back["half"].dtype == np.float32
    np.testing.assert_array_equal(back["conv1.weight"], STATE["conv1.weight"])
    torch.save({"state_dict": {"a": 1}}, tmp_path / "odd.pth")
    with pytest.raises(UserError, match="odd.pth holds no state_dict"):
        read_weights(tmp_path / "odd.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(UserError, match="code.pth is not a file of weights that torch can load safely"):
        read_weights(tmp_path / "code.pth")


def test_out_of_a_run_into_another_and_back(whole, tmp_path, cache):
    """export -> convert -> init_from, through the commands; the bits are the same at each stage."""
    first, second, third = whole[0], tmp_path / "second", tmp_path / "third"
    file = tmp_path / "encoder.safetensors"
    code, out, err = runs.run("convert.py", f"--workdir={first}", f"--export={file}")
    assert code == 0, err
    encoder = to_torch(network(first))
    assert all(np.array_equal(read_weights(file)[name], value) for name, value in encoder.items())
    assert not any("projector" in name for name in encoder) and f"{len(encoder)} tensors" in out

    code, out, err = runs.run("convert.py", TINY, f"--weights={file}", f"--workdir={second}", cache=cache)
    assert code == 0 and out.count("matched") == len(encoder), err
    state = restore_raw(Folder(second), 0)
    for params in (state["params"]["backbone"], state["model_state"]["target"]["params"]["backbone"]):
        placed = to_torch({"params": params})
        assert all(np.array_equal(encoder[name], value) for name, value in placed.items())
    with pytest.raises(UserError, match=f"{second} already holds a run"):
        train.start(None, second, None, None)

    frozen = ["--config.optim.freeze=('backbone.*',)", f"--config.init_from={first}"]
    frozen += ["--config.optim.sgd.momentum=0.5"]
    one_step = ["--config.train.total_steps=1", "--config.optim.warmup_steps=0", "--config.eval.every_steps=0"]
    code, out, err = runs.run("main.py", TINY, *one_step, *frozen, f"--workdir={third}", cache=cache)
    assert code == 0 and f"Weights of {first}: {len(encoder)} matched" in out, err
    trained = to_torch(network(third))
    assert all(np.array_equal(trained[name], value) for name, value in encoder.items())  # statistics too
    result, manifest = (json.loads((third / f"{name}.json").read_text()) for name in ("result", "manifest"))
    told = "config.optim.sgd.momentum has no effect: config.optim.name is 'adamw', config.optim.schedule is 'cosine'."
    assert told in out.splitlines() and manifest["notes"] == [told] and manifest["from_scratch"] == ""
    assert result["frozen_sha256"] == manifest["frozen_sha256"] != ""
    assert "as at the start" in out and "NOT" not in out
    assert not np.array_equal(
        *(jax.tree.leaves(restore_raw(Folder(w))["params"]["projector"])[1] for w in (first, third))
    )


def test_a_config_for_pretrained_weights_without_them_is_from_scratch():
    config = runs.load_config("transfer", "tiny")
    assert from_scratch(config) == "from scratch: config.init_from is empty"
    config.init_from = "resnet50.pth"
    assert from_scratch(config) == from_scratch(runs.load_config("byol", "tiny")) == ""


def test_weights_that_do_not_fit_are_refused_before_anything_is_written(tmp_path):
    file = tmp_path / "w.safetensors"
    write(file, STATE)
    for command in (
        ("convert.py", TINY, f"--weights={file}", f"--workdir={tmp_path / 'run'}"),
        ("main.py", TINY, f"--config.init_from={file}", f"--workdir={tmp_path / 'run'}"),
    ):
        code, _, err = runs.run(*command)
        assert code == 1 and f"{file} lack" in err and "may be missing or unused" in err, err
        assert "Traceback" not in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
