"""What the client script answers to a look, read as bytes from a stranger: nothing is believed that doesn't fit.

Most clients of a fleet have the same, and say so in the same lines. What these say is read once for all of them; what
is another thing at each look, as free space is, is read for each.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from reconciler.client.protocol import FIRST, KIB, MAX_LISTED, NUMBER, TOKEN, answer_lines, clean, loaded_of, value_of
from reconciler.errors import ProtocolError
from reconciler.model.client import MAX_INSTALLED, Facts, Installed, Profile, Same
from reconciler.model.mark import MARK, compares
from reconciler.model.release import COMPONENT_ID, PLATFORM, SHA256, VERSION_NAME

if TYPE_CHECKING:
    from reconciler.contracts import Completed

_MACHINE = re.compile(r"[0-9a-fA-F-]{32,36} [0-9]{1,20}:[0-9]{1,20} .*")
_UPTIME = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_NOW = {"free", "memory", "began", "machine", "mark"}
"""What is another thing at each look, or on each machine."""
_FACTS = {
    *("platform", "tool", "selinux", "apparmor", "user", "controller", "installed"),
    *("unmanaged", "kept", "lacks", "unmade", "loaded"),
}
_LAST = {"unmanaged", "lacks", "unmade"}
"""What is said at the end: behind names that others gave to files nothing is believed of what is installed."""
_TICKS = 100.0
"""Clock ticks in a second as /proc shows times, on every Linux that runs on hardware of today."""
_NOTHING = hashlib.sha256(b"").hexdigest()
"""The mark of a client that could list nothing."""
_REMEMBERED = 256
"""Answers that are remembered, of at most _SHORT characters: whoever answers can't fill the memory."""
_SHORT = 64 * 1024


def read_look(done: Completed, asked: str) -> Facts | Same:
    """Read the answer of a client that was asked for its mark.

    Raises:
        ClientError: the client says that it can't.
        ProtocolError: the answer is malformed or cut short.
    """
    first = FIRST.search(done.stdout)
    if first is None or first[2] != b"same" or not compares(asked):
        return read_facts(done)
    word, _, free = " ".join(answer_lines(done, "same")).partition(" ")
    if word != "free" or not NUMBER.fullmatch(free):
        raise ProtocolError("the client says that it is the same, and not what room it has")
    return Same(int(free) * KIB)


def read_facts(done: Completed) -> Facts:
    """Read the answer to a look.

    What it says of what a client has is read once for all that say the same: most of a fleet does.

    Raises:
        ClientError: the client says that it can't.
        ProtocolError: the answer is malformed or cut short.
    """
    now, lasting, others = _NowReader(), [], False
    for line in answer_lines(done, "facts"):
        word, _, rest = line.partition(" ")
        others = others or word == "unmanaged"
        if word in _NOW and not others:
            now.take(line, word, rest)
        else:
            lasting.append(line)
    read = _lasting if sum(map(len, lasting)) <= _SHORT else _lasting.__wrapped__
    said = read(tuple(lasting), now.memory)
    return replace(said, free=now.free, seconds=now.seconds, machine=now.machine, mark=now.mark)


@lru_cache(maxsize=_REMEMBERED)
def _lasting(lines: tuple[str, ...], memory: int) -> Facts:
    """Read what doesn't differ from look to look, in its order."""
    reader = _FactsReader()
    for line in lines:
        reader.take(line)
    return reader.result(memory)


class _NowReader:
    """Collects what is another thing at each look, or on each machine."""

    def __init__(self) -> None:
        self.free = 0
        self.memory = 0
        self.seconds = 0.0
        self.machine = ""
        self.mark = ""

    def take(self, line: str, word: str, rest: str) -> None:
        if not getattr(self, f"_take_{word}")(rest):
            raise _no_such_line(line)

    def _take_free(self, rest: str) -> bool:
        self.free = int(rest) * KIB if NUMBER.fullmatch(rest) else -1
        return self.free >= 0

    def _take_memory(self, rest: str) -> bool:
        """Read the memory in KiB; machines of one kind differ by what their kernel took, so a power of 2 is kept."""
        mebibytes = int(rest) // KIB if NUMBER.fullmatch(rest) else -1
        self.memory = 1 << mebibytes.bit_length() - 1 if mebibytes > 0 else 0
        return mebibytes >= 0

    def _take_began(self, rest: str) -> bool:
        """Read the start of the login shell's process in ticks, and the uptime in seconds."""
        begun, _, now = rest.partition(" ")
        if not NUMBER.fullmatch(begun) or not _UPTIME.fullmatch(now):
            return False
        self.seconds = max(0.0, float(now) - int(begun) / _TICKS)
        return True

    def _take_machine(self, rest: str) -> bool:
        """Read boot, device and inode, and what of the path isn't there yet; their digest is enough to compare."""
        self.machine = hashlib.sha256(rest.encode()).hexdigest()[:32]
        return _MACHINE.fullmatch(rest) is not None

    def _take_mark(self, rest: str) -> bool:
        """Read the SHA-256 of what `mark.sh` lists, and whether there is anything outside of install_root."""
        digest, _, outer = rest.partition(" ")
        if digest != _NOTHING:
            self.mark = digest[:MARK] + outer.rstrip("-")
        return SHA256.fullmatch(digest) is not None and outer in {"+", "-"}


class _FactsReader:
    """Collects the lines of facts."""

    def __init__(self) -> None:
        self._platform = ""
        self._selinux = False
        self._apparmor = False
        self._user = 0
        self._controller = ("", 0)
        self._installed: dict[str, Installed] = {}
        self._kept: dict[str, set[tuple[str, str]]] = {}
        self._tools: set[str] = set()
        self._unmanaged: set[str] = set()
        self._lacks: list[str] = []
        self._unmade = ""

    def take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        reader = getattr(self, f"_take_{word}", None) if word in (_LAST if self._unmanaged else _FACTS) else None
        if reader is None or not reader(rest):
            raise _no_such_line(line)

    def _take_platform(self, rest: str) -> bool:
        self._platform = rest.replace(" ", "-").replace("/", "_").lower()
        return PLATFORM.fullmatch(self._platform) is not None

    def _take_tool(self, rest: str) -> bool:
        self._tools.add(rest)
        return TOKEN.fullmatch(rest) is not None and len(self._tools) < MAX_LISTED

    def _take_selinux(self, rest: str) -> bool:
        self._selinux = rest == "1"
        return rest in {"0", "1"}

    def _take_apparmor(self, rest: str) -> bool:
        self._apparmor = rest == "1"
        return rest in {"0", "1"}

    def _take_user(self, rest: str) -> bool:
        self._user = int(rest) if NUMBER.fullmatch(rest) else -1
        return self._user >= 0

    def _take_controller(self, rest: str) -> bool:
        lineage, _, epoch = rest.partition(" ")
        if not TOKEN.fullmatch(lineage) or not NUMBER.fullmatch(epoch):
            return False
        self._controller = lineage, int(epoch)
        return True

    def _take_installed(self, rest: str) -> bool:
        entry = _installed(rest)
        known = len(self._installed)
        self._installed[entry.component] = entry
        return known < len(self._installed) <= MAX_INSTALLED

    def _take_kept(self, rest: str) -> bool:
        """Read another version of a component that was named before."""
        component, _, version_and_digest = rest.partition(" ")
        version, _, digest = version_and_digest.partition(" ")
        if not VERSION_NAME.fullmatch(version) or not SHA256.fullmatch(digest):
            return False
        kept = self._kept.setdefault(component, set())
        kept.add((version, digest))
        return len(kept) <= MAX_LISTED and component in self._installed

    def _take_loaded(self, rest: str) -> bool:
        """Read what the engine of a component that was named before says."""
        component, _, said = rest.partition(" ")
        entry = self._installed.get(component)
        if entry is None or entry.loaded or entry.unsaid:
            return False
        loaded, unsaid = loaded_of(said)
        self._installed[component] = replace(entry, loaded=loaded, unsaid=unsaid)
        return True

    def _take_unmanaged(self, rest: str) -> bool:
        self._unmanaged.add(clean(rest))
        return len(self._unmanaged) <= MAX_LISTED

    def _take_lacks(self, rest: str) -> bool:
        self._lacks.append(clean(rest))
        return bool(rest) and len(self._lacks) <= MAX_LISTED

    def _take_unmade(self, rest: str) -> bool:
        self._unmade = clean(rest)
        return bool(rest)

    def result(self, memory: int) -> Facts:
        if not self._platform:
            raise ProtocolError("the client names no platform")
        lineage, epoch = self._controller
        installed = [
            replace(entry, kept=tuple(sorted(self._kept.get(entry.component, ()))))
            for entry in self._installed.values()
        ]
        profile = Profile(
            platform=self._platform,
            installed=tuple(sorted(installed)),
            tools=tuple(sorted(self._tools)),
            lineage=lineage,
            epoch=epoch,
            selinux=self._selinux,
            unmanaged=tuple(sorted(self._unmanaged)),
            memory=memory,
        )
        return Facts(
            profile=profile,
            free=0,
            user=self._user,
            apparmor=self._apparmor,
            lacks=tuple(self._lacks),
            unmade=self._unmade,
        )


def _no_such_line(line: str) -> ProtocolError:
    return ProtocolError(f"the client's answer has a line that no client writes: {clean(line)!r}")


def _installed(rest: str) -> Installed:
    fields = rest.split(" ", 5)
    if len(fields) < 6:
        raise ProtocolError(f"the client's answer has a malformed line: {clean(rest)!r}")
    component, version, digest, previous, layout, damage = fields
    if not (
        COMPONENT_ID.fullmatch(component)
        and VERSION_NAME.fullmatch(version)
        and (digest == "-" or SHA256.fullmatch(digest))
        and (previous == "-" or VERSION_NAME.fullmatch(previous))
        and (layout == "-" or TOKEN.fullmatch(layout))
        and (digest != "-" or damage)
    ):
        raise ProtocolError(f"the client's answer has a malformed line: {clean(rest)!r}")
    return Installed(
        component, version, value_of(digest), previous=value_of(previous), layout=value_of(layout), damage=clean(damage)
    )
