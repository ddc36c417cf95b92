"""updoser keeps endpoint-security components current on a fleet: plan, review, apply, converge."""

__version__ = "0.1.0"
SPEC_FILE = "updoser.yaml"
"""The desired state, where no other file is named."""
