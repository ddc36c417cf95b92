"""The import home of the bundled plugins.

In an installed package the kinds lie in this folder. In a checkout they lie in `plugins/` at the top, and this package
looks there.
"""

from pathlib import Path

_HERE = Path(__file__).parent
if not (_HERE / "source").is_dir():
    __path__ = [str(_HERE.parent.parent / "plugins")]
