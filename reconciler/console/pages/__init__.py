"""The pages of the console: each file has those of one business, as functions from a request to what is shown."""
