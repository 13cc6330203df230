"""Data sets, one file each: `source(split, **options)` of "train", "val" or "test". Batches: `pipeline`."""
