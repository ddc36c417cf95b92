"""The web console: it shows what the controller made, and takes down what people want.

It has no keys, and changes nothing itself.
"""
