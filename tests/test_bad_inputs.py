"""The tables of docs/reliability.md are what the commands print: a sample of their rows."""

import itertools

import bad_inputs


def test_a_sample_of_the_table_is_what_is_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(bad_inputs.runs.ROOT)
    monkeypatch.delenv("JAXCV_DATA", raising=False)
    rows = {*bad_inputs.DOCUMENT.read_text().splitlines()}
    assert sum(row.startswith("| ") for row in rows) > 200
    some = [bad_inputs.of_the_command_line(), bad_inputs.of_a_config_file(tmp_path), bad_inputs.of_ranges()]
    (tmp_path / "csv_files").mkdir()
    for title, command in itertools.islice(
        itertools.chain(*some, bad_inputs.csv_files(tmp_path / "csv_files")), 0, None, 4
    ):
        said, good = bad_inputs.answer(command, tmp_path)
        assert good and bad_inputs.line(title, said) in rows, (title, said)
