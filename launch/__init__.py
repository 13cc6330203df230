"""The commands, installed as jaxcv.launch: one file each."""
