"""Data sets, one file each, found by name: `source(split, **options)` returns a `Source` (see source.py).

A file may also have `outline(**options)`: the `Info` that is known without the data. pipeline.py makes batches.
"""
