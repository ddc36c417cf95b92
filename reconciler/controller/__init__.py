"""Keeps a fleet current without anybody's asking: who leads, when to look, and what a round may do."""
