"""Frozen dataclasses: what updoser talks about. No I/O."""
