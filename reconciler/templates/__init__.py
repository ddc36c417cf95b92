"""Text made from templates, in one sandbox: that of the spec, and the files of settings."""
