"""The signed repository for other sites: its folder, its keys and their ceremony, and what it offers."""
