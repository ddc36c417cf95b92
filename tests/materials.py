"""Files as sources fetch them, with what lies beside them, for what verifies them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError
from reconciler.plugins.source._verify.material import NotThereError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class FolderMaterial:
    """The file `name` of a folder; what lies beside it are the other files there. `document` is for JSON pointers."""

    folder: Path
    name: str = "all.rules"
    version: str = "7"
    document: Any = None

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def url(self) -> str:
        return f"https://vendor.example/rules/{self.name}"

    def beside(self, reference: str, limit: int) -> bytes:
        place = self.folder / reference.removeprefix("https://vendor.example/rules/")
        if not place.is_file():
            raise NotThereError(f"{reference} isn't there")
        return place.read_bytes()[: limit + 1]

    def pointer(self, text: str) -> Any:
        found = self.document
        for part in text.split("/")[1:]:
            try:
                found = found[int(part) if isinstance(found, list) else part]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise NotThereError(f"nothing is at {text}") from error
        if found is None:
            raise SourceError("there is no document")
        return found


class Gpg:
    """A keyring of a vendor, with real keys of GnuPG; `close` ends its agent."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)

    def run(self, *command: Any, check: bool = True) -> bytes:
        """Run gpg without questions."""
        options = ["--homedir", self.home, "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback"]
        done = subprocess.run(
            [*map(str, ["gpg", *options, "--passphrase", "", *command])],
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, done.stderr.decode()
        return done.stdout

    def new(self, who: str, *, kind: str = "ed25519", time: str = "", expires: str = "never") -> str:
        """Make a key; give its fingerprint."""
        at = ["--faked-system-time", time] if time else []
        self.run(*at, "--quick-generate-key", who, kind, "sign", expires)
        lines = self.run("--with-colons", "--list-keys", who).decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def sign(self, path: Path, *keys: str, armour: bool = True, options: tuple[str, ...] = ()) -> Path:
        """Sign a file beside it."""
        place = path.with_name(f"{path.name}.{'asc' if armour else 'sig'}")
        users = [word for key in keys for word in ("--local-user", f"{key}!")]
        self.run(*users, *options, *(["--armor"] if armour else []), "--output", place, "--detach-sign", path)
        return place

    def export(self, place: Path, *keys: str, armour: bool = False) -> None:
        """Write a keyring."""
        place.write_bytes(self.run(*(["--armor"] if armour else []), "--export", *keys))

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)
        shutil.rmtree(self.home, ignore_errors=True)
