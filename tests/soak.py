"""Kills runs at random, lets them go on, and compares what they end with: not one bit may differ.

python tests/soak.py --kills=100 [--seed=0] [--configs=colorize,byol,fashion_mnist,camvid]
python tests/soak.py --damage [--configs=...]      every file of a real run's last checkpoint flipped, cut, deleted
"""

import argparse
import contextlib
import io
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

import runs
from jaxcv.store.folder import Folder
from jaxcv.tools import command

TARGETS = ("any", "any", "set-up", "compile", "step", "evaluation", "save")  # when a kill is aimed at


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configs", default="colorize,byol,fashion_mnist,camvid")
    parser.add_argument("--damage", action="store_true")
    options = parser.parse_args()
    command.quiet()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        whole = {name: run_whole(name, root) for name in options.configs.split(",")}
        differ = damage(whole, root) if options.damage else soak(whole, root, options.kills, options.seed)
    raise SystemExit(bool(differ))


def start(name, root, workdir):
    flags = runs.flags_of(name, root / "data")
    return runs.start("main.py", *flags, f"--workdir={workdir}", cache=root / "cache")


def run_whole(name, root):
    """(workdir, seconds) of an uninterrupted run, the second one, which finds everything compiled."""
    for workdir in (root / name / "first", root / name / "whole"):
        began = time.monotonic()
        code, _, err = runs.finish(start(name, root, workdir), timeout=3600)
        assert code == 0, err
    runs.assert_same_run(root / name / "first", workdir)
    return workdir, time.monotonic() - began


def soak(whole, root, kills, seed):
    """Runs that differ from the uninterrupted one, after so many kills in all."""
    rng, hit, differ, count = random.Random(seed), Counter(), [], 0
    while hit.total() < kills:
        name = list(whole)[count % len(whole)]
        workdir, count = root / name / str(count), count + 1
        for _ in range(min(rng.randint(1, 5), kills - hit.total())):
            phase = kill(name, root, workdir, whole[name], rng)
            if phase is None:  # the run was quicker
                break
            hit[phase] += 1
        code, out, err = runs.finish(start(name, root, workdir), timeout=3600)
        try:
            assert code == 0, err
            assert "damaged" not in out, out
            runs.assert_same_run(whole[name][0], workdir)
        except AssertionError as error:
            differ.append(str(workdir))
            print(f"{workdir} DIFFERS: {error}", flush=True)
        else:
            shutil.rmtree(workdir)
        print(f"{count} runs, {hit.total()} kills: {dict(hit)}; {len(differ)} differ", flush=True)
    return differ


def kill(name, root, workdir, whole, rng):
    """Starts the run and kills it at a random moment; the phase in which that was, None if it had ended."""
    target, began = rng.choice(TARGETS), time.time()
    latest = began + (rng.uniform(0, whole[1]) if target == "any" else 3600)
    process = start(name, root, workdir)
    due = {row["step"] for row in runs.lines(whole[0] / "metrics.jsonl") if any(k.startswith("val/") for k in row)}
    while process.poll() is None and time.time() < latest:
        if target != "any" and phase_of(workdir, began, due) == target:
            time.sleep(rng.uniform(0, 0.05))
            break
        time.sleep(0.002)
    phase = phase_of(workdir, began, due)
    process.kill()
    process.communicate()
    return phase if process.returncode else None


def phase_of(workdir, began, due):
    """What a run does that was started at `began`, as far as its folder tells."""
    with contextlib.suppress(FileNotFoundError):  # it is renamed at any moment
        if any(x.stat().st_mtime > began for x in (workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*")):
            return "save"
    events = workdir / "tensorboard/events.out.tfevents.jaxcv"
    if not events.exists() or events.stat().st_mtime < began:
        return "set-up"
    text = (workdir / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    evaluated = {row["step"] for row in rows if any(key.startswith("val/") for key in row)}
    if max(due) in evaluated:
        return "finish"
    if (rows[-1]["step"] if rows else 0) in due - evaluated:
        return "evaluation"
    return "step" if rows[-1]["time/unix"] > began and "train/loss" in rows[-1] else "compile"


def damage(whole, root):
    """Files whose damage gave another state; none if each was harmless, or noticed and the step before used."""
    from jaxcv.experiment import build
    from jaxcv.run.pretrained import read_config
    from jaxcv.store.checkpoint import Checkpoints, read_checkpoint
    from jaxcv.store.digests import by_name

    def bits(state):
        return {name: np.asarray(leaf).tobytes() for name, leaf in by_name(state).items()}

    differ, outcomes = [], Counter()
    for name, (workdir, _) in whole.items():
        experiment, last = build(read_config(Folder(workdir))), runs.steps(workdir)[-1]
        copy, folder = root / name / "copy", (workdir / "checkpoints").absolute()
        known = {
            step: bits(read_checkpoint(folder / str(step), experiment.compiled.abstract))
            for step in runs.steps(workdir)
        }
        for file in sorted((workdir / "checkpoints" / str(last)).rglob("*")):
            for number in range(6 if file.is_file() and file.stat().st_size else 0):
                shutil.copytree(workdir / "checkpoints", copy / "checkpoints")
                list(runs.damages(copy / file.relative_to(workdir)))[number]()
                checkpoints = Checkpoints(copy)
                with contextlib.redirect_stdout(io.StringIO()) as said:
                    step, state = checkpoints.restore(checkpoints.latest, experiment.compiled.abstract, otherwise="")
                checkpoints.close()
                outcome = "identical" if step == last else "set aside"
                told = said.getvalue().count("\n") == (step != last)
                if known[step] != bits(state) or not told:
                    differ.append(file)
                    outcome = "DIFFERENT"
                outcomes[outcome] += 1
                shutil.rmtree(copy)
        print(f"{name}: {dict(outcomes)}", flush=True)
    return differ


if __name__ == "__main__":
    main()
