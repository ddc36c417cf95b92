"""Files that are made from templates: which version each client should have, and the bytes of them."""
