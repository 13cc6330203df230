"""The record of a run: cut back on resume, strict JSON, and event files as tensorboardX writes them."""

import itertools
import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from jaxcv.errors import DataError
from jaxcv.store import events
from jaxcv.store.files import write_atomic, write_json
from jaxcv.store.folder import Folder
from jaxcv.store.log import Series, open_log, read_metrics

EVENTS_GOLDEN = Path(__file__).parent / "goldens" / "events_tensorboardx.bin"
OPENED = 1.7e9
EVENTS = [
    (0, {"train/loss": 2.302585, "train/zero": 0.0}, 1700000001.125),
    (127, {"val/accuracy": math.nan}, 1700000002.5),
    (128, {"a": math.inf, "b": -math.inf, "c": -1.5e-30}, 1700000003.0),
    (3_000_000_000, {f"train/a_long_name_{i}": i / 7 for i in range(40)}, 1700000004.0),
]


def _field(name, number, kind, label=1, type_name=None):
    return {"name": name, "number": number, "type": kind, "label": label, "type_name": type_name}


def _event_class():
    """Event of event.proto with the fields we use, parsed by Google's protobuf, not by us."""
    double, float_, int64, string, message = 1, 2, 3, 9, 11
    messages = {
        "Value": [_field("tag", 1, string), _field("simple_value", 2, float_)],
        "Summary": [_field("value", 1, message, 3, ".t.Value")],
        "Event": [
            _field("wall_time", 1, double),
            _field("step", 2, int64),
            _field("file_version", 3, string),
            _field("summary", 5, message, 1, ".t.Summary"),
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    for name, fields in messages.items():
        file.message_type.add(name=name, field=[descriptor_pb2.FieldDescriptorProto(**f) for f in fields])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


_Event = _event_class()


def read_events(workdir):
    """[(step, tag, value)] of the one event file of a workdir."""
    (path,) = (workdir / "tensorboard").iterdir()
    assert "tfevents" in path.name  # by this TensorBoard finds it
    content, out = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event = _Event.FromString(content[12 : 12 + length])
        out += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        content = content[length + 16 :]
    return out


def untimed(workdir):
    """The bytes of metrics.jsonl without the fields of the wall clock."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]
    return "".join(json.dumps(row) + "\n" for row in rows)


def files(workdir):
    folder = Folder(workdir)
    return folder.metrics, folder.events


def run(workdir, *, restored, steps, clock=None):
    with open_log(*files(workdir), step=restored, **({"clock": clock} if clock else {})) as log:
        for step in range(restored + 1, steps + 1):
            if step % 2 == 0:
                log.write(step, {"train/loss": np.float32(1) / (step + 1), "time/images_per_second": step})
            if step % 10 == 0:
                log.write(step, {"test/accuracy": math.nan if step == 20 else step / 100})


def test_event_file_is_the_one_tensorboardx_writes():
    made = events.opening(OPENED) + b"".join(events.scalars(*event) for event in EVENTS)
    assert made == EVENTS_GOLDEN.read_bytes()


def test_event_values_beyond_float32_are_infinite():
    assert events.scalars(1, {"a": 1e300, "b": -1e300}, 0.0) == events.scalars(1, {"a": math.inf, "b": -math.inf}, 0.0)


def test_interrupted_run_leaves_the_files_of_an_uninterrupted_one(tmp_path):
    ticks = itertools.count(1.7e9, 0.25)
    run(tmp_path / "whole", restored=-1, steps=40)
    run(tmp_path / "cut", restored=-1, steps=27, clock=lambda: next(ticks))
    with (tmp_path / "cut" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 28, "train/lo')  # killed while it wrote
    run(tmp_path / "cut", restored=20, steps=33, clock=lambda: next(ticks))
    run(tmp_path / "cut", restored=30, steps=40, clock=lambda: next(ticks))
    assert untimed(tmp_path / "cut") == untimed(tmp_path / "whole")
    assert len(read_metrics(Folder(tmp_path / "cut").metrics)) == 26
    scalars, whole = read_events(tmp_path / "cut"), read_events(tmp_path / "whole")
    np.testing.assert_equal(scalars, whole)  # nan equals nan
    loss = [(step, value) for step, tag, value in whole if tag == "train/loss"]
    assert loss == [(step, float(np.float32(1) / (step + 1))) for step in range(0, 41, 2)]
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_cut_back_keeps_bytes_and_times(tmp_path):
    ticks = itertools.count(5.0)
    run(tmp_path, restored=-1, steps=20, clock=lambda: next(ticks))
    before = (tmp_path / "metrics.jsonl").read_bytes()
    event_file = tmp_path / "tensorboard" / "events.out.tfevents.jaxcv"
    events_before = event_file.read_bytes()
    open_log(*files(tmp_path), step=20, clock=lambda: 5.0).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert event_file.read_bytes() == events_before


def logged(workdir):
    """The lines of a run to step 20 and on to 24, and the digests of the log at step 20."""
    ticks = itertools.count(5.0)
    with open_log(*files(workdir), step=-1, clock=lambda: next(ticks)) as log:
        for step in range(1, 25):
            log.write(step, {"train/loss": step / 7})
            if step % 10 == 0:
                log.write(step, {"val/loss": step / 9})
            if step == 20:
                saved = log.digests()
    lines = (workdir / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    return lines, saved


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines,
        lambda lines: [*lines[:5], *lines[3:]],  # doubled
        lambda lines: [*lines[:3], lines[5], lines[4], lines[3], *lines[6:]],  # in another order
        lambda lines: [*lines[:9], lines[10], lines[9], *lines[11:]],  # the lines of one step
        lambda lines: [*lines[:3], b"{}\n", b"\n", *lines[3:]],  # with others between them
        lambda lines: lines[:22],  # the run was killed before it went on
    ],
)
def test_a_log_that_has_all_saved_lines_is_mended(tmp_path, damage):
    lines, saved = logged(tmp_path)
    event_file = Folder(tmp_path).events
    events_before = event_file.read_bytes()[: saved["events"][0]]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(damage(lines)))
    with open_log(*files(tmp_path), step=20, saved=saved) as log:
        assert log.digests() == saved
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(lines[:22])
    assert event_file.read_bytes() == events_before
    event_file.write_bytes(events_before.replace(b"loss", b"lost"))
    open_log(*files(tmp_path), step=20, saved=saved, clock=lambda: 5.0).close()
    assert event_file.read_bytes() == events_before


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[1:],
        lambda lines: lines[:21],
        lambda lines: [*lines[:4], lines[4].replace(b"0.", b"1."), *lines[5:]],
        lambda lines: [],
    ],
)
def test_a_log_that_lacks_saved_lines_is_named_and_left_as_it_is(tmp_path, damage):
    lines, saved = logged(tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(b"".join(damage(lines)))
    with pytest.raises(DataError, match=r"metrics\.jsonl is not what was logged up to step 20: lines"):
        open_log(*files(tmp_path), step=20, saved=saved)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(damage(lines))


def test_what_follows_the_saved_lines_at_the_same_step_is_kept(tmp_path):
    """An evaluation that a signal prevented is made, and logged, when the run resumes."""
    lines, saved = logged(tmp_path)
    extra = b'{"step": 20, "val/accuracy": 0.5}\n'
    (tmp_path / "metrics.jsonl").write_bytes(b"".join([*lines[:22], extra, *lines[22:]]))
    open_log(*files(tmp_path), step=20, saved=saved).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join([*lines[:22], extra])
    assert read_events(tmp_path)[-1] == (20, "val/accuracy", 0.5)
    assert [row["step"] for row in Folder(tmp_path).read_evaluations()] == [10, 20, 20]


def test_a_new_run_drops_what_was_there(tmp_path):
    run(tmp_path, restored=-1, steps=10)
    open_log(*files(tmp_path), step=-1).close()
    assert read_metrics(Folder(tmp_path).metrics) == []
    assert read_events(tmp_path) == []


def test_written_lines_are_there_at_once(tmp_path):
    with open_log(*files(tmp_path), step=-1) as log:
        log.write(3, {"train/loss": 1.5})
        assert read_metrics(Folder(tmp_path).metrics)[0]["train/loss"] == 1.5
        assert read_events(tmp_path) == [(3, "train/loss", 1.5)]


@pytest.mark.parametrize("half", [b'{"step": 9, "a": 1.0', b'{"step": 9, "a": 1.0}', b'{"ste\n', b"\0\0\n", b"7\n"])
def test_half_written_last_line_is_dropped(tmp_path, half):
    whole = b'{"step": 1, "a": 2.0}\n'
    (tmp_path / "metrics.jsonl").write_bytes(whole + half)
    assert read_metrics(Folder(tmp_path).metrics) == [{"step": 1, "a": 2.0}]
    open_log(*files(tmp_path), step=100).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


@pytest.mark.parametrize("bad", ["{", "[1]", '{"a": 1}', '{"step": 2, "a": "many"}', '{"step": "2"}'])
def test_bad_line_is_named(tmp_path, bad):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{bad}\n{{"step": 3}}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl line 2 "):
        read_metrics(Folder(tmp_path).metrics)


def test_no_metrics_is_said(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.jsonl does not exist"):
        read_metrics(Folder(tmp_path).metrics)


def test_nonfinite_values_survive_as_strict_json(tmp_path, caplog, capfd):
    with open_log(*files(tmp_path), step=-1) as log:
        log.write(1, {"a": math.nan, "b": math.inf, "c": np.float32(-np.inf), "d": np.float64(0.1)})
    text = (tmp_path / "metrics.jsonl").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    (row,) = read_metrics(Folder(tmp_path).metrics)
    assert math.isnan(row["a"]) and (row["b"], row["c"], row["d"]) == (math.inf, -math.inf, 0.1)
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_values_are_exact_and_sorted(tmp_path):
    with open_log(*files(tmp_path), step=-1, clock=lambda: 12.3456) as log:
        log.write(7, {"b": 0.1 + 0.2, "a": np.float32(0.1)})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert line == '{"step": 7, "a": 0.10000000149011612, "b": 0.30000000000000004, "time/unix": 12.346}\n'


def test_reserved_keys_are_refused(tmp_path):
    with open_log(*files(tmp_path), step=-1) as log, pytest.raises(ValueError, match="'step'"):
        log.write(1, {"step": 2.0})


def test_series_of_a_log_that_grows(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1, "a": 2.0}\n{"step": 1, "b": 5.0}\n{"step": 4, "a": "nan"}\n{"step": 5, "a"')
    series = Series(log)
    found = series.read()
    steps, values = found["a"]
    assert steps.dtype == np.int64 and values.dtype == np.float64 and found.keys() == {"a", "b"}
    np.testing.assert_equal((steps, values), ([1, 4], [2.0, math.nan]))
    with log.open("a") as file:
        file.write(": 7.0}\n")
    log.write_bytes(log.read_bytes().replace(b"2.0", b"3.0"))  # what is read is not read again
    np.testing.assert_equal(series.read()["a"], ([1, 4, 5], [2.0, math.nan, 7.0]))
    with log.open("a") as file:
        file.write("{\n{}\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl line 5 "):
        series.read()


def test_write_json(tmp_path):
    obj = {
        "b": (1, np.int64(2)),
        "a": {"x": math.nan, "path": Path("p")},
        "c": np.eye(2),
        "d": None,
        "é": True,
    }
    write_json(tmp_path / "new" / "x.json", obj)
    text = (tmp_path / "new" / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {
        "a": {"path": "p", "x": "nan"},
        "b": [1, 2],
        "c": [[1, 0], [0, 1]],
        "d": None,
        "é": True,
    }
    assert text.startswith('{\n  "a": {\n    "path"') and text.endswith("}\n")


def test_failed_write_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"new": object()})
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "x.json", "text, not bytes")
    assert json.loads((tmp_path / "x.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_report_is_light():
    """Neither JAX nor a second framework is loaded to draw a figure or to open a log."""
    code = (
        "import sys; from jaxcv.report import confusion, curves, embedding, images, masks, progress, tables;"
        "from jaxcv.store import files, folder, log, manifest;"
        "print([m for m in ('jax', 'torch', 'tensorflow', 'matplotlib.pyplot', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
