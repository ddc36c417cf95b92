"""From YAML to Spec: read with lines kept, render, validate, build."""
