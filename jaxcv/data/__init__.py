"""Data sets, one file each, found by its name: `source(split, **options)` returns a `source.Source`.

It may also have `outline(**options)`, the `source.Info` that is known without the data. Batches: `pipeline`.
"""
