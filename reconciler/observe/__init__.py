"""Everything that looks and nothing that decides: sources, store, inventories, clients."""
