"""The text of the client script: what is sent of it."""

from reconciler.client.session import client_script, commented_script


def test_a_client_gets_the_script_without_comments_and_a_reader_with_its_rules():
    sent, read = (script.decode().splitlines() for script in (client_script(), commented_script()))
    assert [line for line in sent if line.lstrip().startswith("#")] == ["#!/bin/sh", "# end"]
    assert [line for line in read if not line.lstrip().startswith("#")] == [line for line in sent if line[:1] != "#"]
    assert sum(line.startswith("# 22 ") for line in read) == 1
