"""Writing releases for others to take: no part of carrying out a plan."""
