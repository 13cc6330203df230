"""Make events_tensorboardx.bin: the file tensorboardX writes for test_report_log.EVENTS.

Run from the repository root, where tensorboardX is installed: python -m tests.goldens.make_events
"""

import tempfile
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from tests.test_report_log import EVENTS, EVENTS_GOLDEN, OPENED


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = EventsWriter(f"{folder}/events")
        for step, values, wall_time in EVENTS:
            value = [Summary.Value(tag=tag, simple_value=number) for tag, number in values.items()]
            writer.write_event(Event(step=step, wall_time=wall_time, summary=Summary(value=value)))
        writer.close()
        (file,) = Path(folder).iterdir()
        written = file.read_bytes()
    # The version record alone, at a time of our choice, comes first in place of the one of this moment.
    with tempfile.TemporaryDirectory() as folder:
        writer = EventsWriter(f"{folder}/events")
        writer.write_event(Event(wall_time=OPENED, file_version="brain.Event:2"))
        writer.close()
        (file,) = Path(folder).iterdir()
        version = file.read_bytes()
    half = len(version) // 2
    EVENTS_GOLDEN.write_bytes(version[half:] + written[half:])


if __name__ == "__main__":
    main()
