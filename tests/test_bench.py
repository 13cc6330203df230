"""The benchmark runs, adds up, and nothing recompiles while it times. It asserts no speed."""

import json
from importlib import import_module

import pytest

import runs


def test_bench_prints_its_table_and_writes_its_numbers(tmp_path, cache):
    path = tmp_path / "bench.json"
    flags = ["--config=configs/colorize.py:tiny", "--steps=3", f"--json={path}"]
    code, out, err = runs.run("bench.py", *flags, cache=cache)
    assert code == 0, err
    for row in (
        "images/s",
        "bare step",
        "data wait",
        "augmentation",
        "MFU",
        "first step after",
        "growth",
        "peak memory",
    ):
        assert row in out
    numbers = json.loads(path.read_text())
    assert numbers["recompilations"] == [] and any("update" in name for name in numbers["compilations"])
    assert numbers["flops_per_step"] > 1e6 and numbers["memory/peak"] > 1e7
    assert 0 < numbers["flops_per_step"] / numbers["time/bare_step"] < numbers["matmul_peak_flops"]
    assert 0 <= numbers["time/data_wait"] < numbers["time/step"]
    assert numbers["images_per_second"] * numbers["time/step"] == pytest.approx(16)
    start = numbers["start"]
    assert set(start) == {"import", "build", "data", "init", "compile", "first step", "all"}
    assert sum(start.values()) == pytest.approx(2 * start["all"]) and min(start.values()) >= 0
    assert set(numbers["time/evaluation"]) == {"measure"} and 0 < numbers["evaluation_share"] < 1


def test_how_time_grows_is_the_exponent_of_a_power():
    bench = import_module("jaxcv.launch.bench")
    found = [{"train.batch_size": str(n), "time/step": 0.01 * n**1.5} for n in (8, 16, 64)]
    assert bench.exponent("train.batch_size", found) == pytest.approx(1.5)
    with pytest.raises(ValueError):
        bench.exponent("optim.schedule", [{"optim.schedule": "cosine", "time/step": 1.0}])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=colorize:tiny", "--peer=tensorflow"], "--peer=tensorflow is unknown; it must be torch."),
        (["--config=colorize:tiny", "--sweep=train.batch_size"], "--sweep=train.batch_size must look like --sweep=tr"),
        (["--config=colorize:tiny", "--convolutions"], "--convolutions measures no config and writes no file"),
    ],
)
def test_mistakes_are_told(flags, message, capsys):
    assert import_module("jaxcv.launch.bench").main(flags) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
