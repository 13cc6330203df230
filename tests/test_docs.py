"""What the documents say can be done: links, files and commands exist, configs load, keys and values are right."""

import itertools
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

import data_files
import runs
from jaxcv.__main__ import commands
from jaxcv.contract import check_contract
from jaxcv.experiment import build

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
IMAGE_BYTES = 1_500_000  # of all pictures together
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"\blaunch/\w+\.py")
JAXCV = re.compile(r"\bjaxcv (\w+)(?: --|`)")
CONFIG = re.compile(r"\bconfigs/([a-z]\w*)\.py(?::([a-z][\w,]*))?(?![\w.:])")
NAMED_CONFIG = re.compile(r"--config=([a-z]\w*)(?::([a-z][\w,]*))?(?![\w./:])")
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(page):
    return page.relative_to(ROOT).as_posix()


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def load(config, variants):
    """What --config=CONFIG:VARIANTS gives."""
    return import_module(f"jaxcv.configs.{config}").get_config(*filter(None, [variants]))


def set_values(words):
    """The config of --config=... with all --config.KEY=VALUE of `words` set; an unknown key or a wrong type raises."""
    (config, variants), *_ = [found for word in words for found in CONFIG.findall(word) + NAMED_CONFIG.findall(word)]
    arguments = ["command", *(word for word in words if word.startswith("--config."))]
    values = flags.FlagValues()
    with mock.patch.object(sys, "argv", arguments):  # from which ml_collections reads what is to be set
        config_flags.DEFINE_config_dict("config", load(config, variants), flag_values=values, lock_config=True)
        values(arguments)
    return values.config


def command_lines(page):
    """(line, words) of each line of a page's shell blocks that names a config of the project, its flags alone."""
    for block in SHELL.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            words = [word for word in shlex.split(line, comments=True) if word.startswith("--config")]
            if any(CONFIG.search(word) or NAMED_CONFIG.fullmatch(word) for word in words):
                yield line, words


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{name(page)} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}, which has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_configs_exist(page):
    text = page.read_text().partition("## What odd input")[0]  # whose tables have wrong names
    for command in COMMAND.findall(text):
        assert (ROOT / command).is_file(), f"{name(page)} names {command}, which is not there"
    for command in JAXCV.findall(text):
        assert command in commands(), f"{name(page)} names jaxcv {command}, which is not there"
    for config, variants in CONFIG.findall(text) + NAMED_CONFIG.findall(text):
        assert (ROOT / "configs" / f"{config}.py").is_file(), (
            f"{name(page)} names the config {config}, which does not exist"
        )
        if config != "base":  # what the configs share
            load(config, variants)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_command_lines_set_keys_that_are_there(page):
    for line, words in command_lines(page):
        try:
            set_values(words)
        except Exception as error:
            pytest.fail(f"{name(page)}: {line.strip()}: {error!r}")


def test_command_lines_are_found_and_a_mistake_in_one_is_seen():
    assert len([line for page in PAGES for line, _ in command_lines(page)]) > 20
    assert set_values(["--config=configs/byol.py:cifar10,small", "--config.optim.lr=0.5"]).optim.lr == 0.5
    assert set_values(["--config=byol:tiny", "--config.seed=3"]).seed == 3
    with pytest.raises(Exception, match="lrr"):
        set_values(["--config=byol:tiny", "--config.optim.lrr=0.5"])


def test_the_config_that_is_printed_for_own_data_can_be_built(tmp_path):
    """On masks that are black on the left and white on the right."""
    (code,) = PYTHON.findall((ROOT / "docs/own_data.md").read_text())
    module = {}
    exec(code, module)
    config = module["get_config"]("tiny")
    for split, count in (("train", 20), ("val", 4), ("test", 4)):
        for i in range(count):
            data_files.picture(tmp_path / f"scans/images/{split}/{i:03d}.jpg", seed=i)
            data_files.mask(tmp_path / f"scans/masks/{split}/{i:03d}.png", np.repeat([[0, 255]], 20, 0).repeat(10, 1))
    config.data.update({"dir": str(tmp_path), "workers": 0})
    experiment = build(config)
    assert experiment.info.classes == ("background", "organ")
    assert set(experiment.data.sources["train"][0]["mask"].ravel().tolist()) == {0, 1}


def test_the_commands_for_own_classes_can_be_built(tmp_path):
    """On class folders with CSVs beside them, in the tiny form of each command."""
    for split, number in (("train", 12), ("val", 2)):
        data_files.class_folders(tmp_path / "photos" / split, {"cat": number, "dog": number})
        rows = [f"{name}/{i:03d}.png,{name}" for name in ("cat", "dog") for i in range(number)]
        rows[0] = "cat/000.png,cat dog"
        text = "\n".join(["filename,label", *rows])
        (tmp_path / f"photos/{split}.csv").write_text(text if split == "train" else text.replace("cat dog", "cat"))
    built = {}
    for line, words in command_lines(ROOT / "docs/own_data.md"):
        if "own_classes" in line:
            config = set_values([word.replace("small", "tiny") for word in words])
            config.data.dir = str(tmp_path)
            experiment = build(config)
            check_contract(experiment, name=config.task.name)
            built[config.task.name, config.data.labels] = experiment
    assert built.keys() == {("classify", ""), ("classify", "{folder}.csv"), ("multilabel", "{folder}.csv")}
    assert [built[key].info.classes for key in sorted(built)] == [
        ("cat", "dog"),
        ("cat", "cat dog", "dog"),
        ("cat", "dog"),
    ]
    assert any("data.separator=' '" in note for note in built["classify", "{folder}.csv"].notes)


def test_the_commands_for_masks_run(tmp_path, cache):
    """Those of docs/own_data.md, with the variant tiny: masks that are black and white, then masks of two colours."""
    for split, i in itertools.product(("train", "val"), range(8)):
        corner = np.zeros((20, 20, 3))
        corner[:5, :10, 0] = 255
        data_files.picture(tmp_path / f"cells/{split}/{i:03d}.jpg", seed=i)
        data_files.mask(tmp_path / f"cells/{split}annot/{i:03d}.png", corner[..., 0])
        data_files.picture(tmp_path / f"tiles/{split}/{i:03d}_sat.jpg", seed=i)
        data_files.mask(tmp_path / f"tiles/{split}/{i:03d}_mask.png", corner)
    data_files.picture(tmp_path / "new/a.jpg", size=(30, 20))
    section = (ROOT / "docs/own_data.md").read_text().partition("\n## Masks\n")[2].partition("\n## ")[0]
    lines = "".join(SHELL.findall(section)).replace("\\\n", " ").splitlines()
    out = {}
    for line in lines:
        for old, new in (("DIR", str(tmp_path)), ("runs/", f"{tmp_path}/"), ("=masks", f"={tmp_path}/masks")):
            line = line.replace(old, new)
        program, command, *words = shlex.split(line.replace(":small", ":tiny"))
        code, out[words[-1]], err = runs.run(commands()[command].name, *words, cache=cache)
        assert (program, code) == ("jaxcv", 0), err
    inspected, cells, _, tiles = out.values()
    assert "0 is read as 'background', 255 as 'foreground'" in inspected
    assert "\ntrain: 6 images, 32x32 px, mean colour (" in inspected and "background 87.5 %, foreground" in cells
    assert "NOTE: 6 images of the split 'test' are in 'train' too: 000 is 000." in inspected
    row = next(line.split() for line in cells.splitlines() if line.startswith("test/acc/pixel "))
    assert row[-1] == "0.8750" and "chance" in cells  # background everywhere
    assert "; ground 87.5 %, roof 12.5 %" in tiles
    assert len(list((tmp_path / "masks").rglob("a*"))) == 2


def test_every_config_is_in_the_readme():
    named = {config for config, _ in NAMED_CONFIG.findall((ROOT / "README.md").read_text())}
    assert named >= {path.stem for path in ROOT.glob("configs/[!_]*.py")} - {"base"}


def test_the_readme_is_short_and_counts_the_core():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    files = [*(ROOT / "jaxcv" / f"{part}.py" for part in ("step", "task", "experiment")), *ROOT.glob("jaxcv/run/*.py")]
    lines = sum(len(file.read_text().splitlines()) for file in files)
    said = int(re.search(r"([\d,]+) lines", text)[1].replace(",", ""))
    assert abs(said - lines) <= 0.1 * lines, f"README.md says that the core has {said} lines; it has {lines}"


def test_pictures_are_small_and_all_are_shown():
    pictures = list((ROOT / "docs/img").iterdir())
    assert sum(file.stat().st_size for file in pictures) < IMAGE_BYTES
    shown = {(page.parent / link).resolve() for page in PAGES for link in LINK.findall(page.read_text())}
    assert {file.resolve() for file in pictures} <= shown
