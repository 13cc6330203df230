"""Experiments, installed as jaxcv.configs: one file each, and base.py, which they share."""
