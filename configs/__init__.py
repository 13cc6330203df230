"""Experiments as data, installed as jaxcv.configs: one file each."""
