"""Connections to other hosts: through proxies, over either address family."""
