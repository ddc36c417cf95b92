"""The API: the documents that the commands give with `--format json`, and what people ask of the controller."""
