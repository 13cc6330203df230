"""TensorBoard event files. Scalars need few protobuf fields, and the common writers import torch if it is installed,
which a JAX process on a GPU should not do.

A file is a series of TFRecords (https://www.tensorflow.org/tutorials/load_data/tfrecord) with the messages of
tensorboard/compat/proto/event.proto and summary.proto.
"""

import struct
from collections.abc import Mapping
from functools import cache


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C (RFC 3720, B.4), masked as in TFRecord; 4 bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache  # events of the same metrics have the same length
def _header(length: int) -> bytes:
    packed = struct.pack("<Q", length)
    return packed + _masked_crc(packed)


def _record(data: bytes) -> bytes:
    return _header(len(data)) + data + _masked_crc(data)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _wall_time(seconds: float) -> bytes:
    return b"\x09" + struct.pack("<d", seconds)  # Event.wall_time = 1, double


def opening(wall_time: float) -> bytes:
    """The event that a file starts with, its version; `wall_time` is in seconds since 1970."""
    return _record(_wall_time(wall_time) + _bytes(3, b"brain.Event:2"))  # Event.file_version = 3


def scalars(step: int, values: Mapping[str, float], wall_time: float) -> bytes:
    """One event with float32 `values` by tag at `step` >= 0; `wall_time` is in seconds since 1970."""
    summary = b""
    for tag, value in values.items():
        number = b"\x15" + _float32(value)  # Summary.Value.simple_value = 2, float
        summary += _bytes(1, _bytes(1, tag.encode()) + number)  # Summary.value = 1, Summary.Value.tag = 1
    at_step = b"\x10" + _varint(step) if step else b""  # Event.step = 2; proto3 omits zeros
    return _record(_wall_time(wall_time) + at_step + _bytes(5, summary))  # Event.summary = 5


def _float32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:  # finite, but beyond float32
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))
