"""What carries batches out, in whatever process: it knows clients and content, and neither spec, store nor state."""
