"""Work on clients in batches: made as there is room, given to crews, answered for once, written down together."""
