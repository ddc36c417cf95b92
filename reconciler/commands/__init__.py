"""One module for each command, or family of them, whose function reads as the flow: look, decide, show, act.

Each function gives the exit code that its command ends with; errors own theirs.
"""
