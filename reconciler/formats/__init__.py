"""Texts and files of a form of their own, read and written: bytes in, facts out, nothing looked up."""
