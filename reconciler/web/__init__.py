"""Servers of the web asked for files, for all that do: streams that go on after cuts, proxies, TLS, cool-downs."""
