"""Samples of releases that are held: how large incrementals will be that aren't made yet.

* A quick patch of both files tells it, at a level that its codec has for that. Of large files parts are taken: places
  all over the new file, each with what lies around the same place of the old one.
* What a plan reads for that is bounded, and so is its time: READ bytes, counted with what is remembered, so that a plan
  doesn't hang on the plans before it. What isn't sampled is estimated by what was made before.
* Two contents have one answer for ever. It is remembered in the store's folder, and found out again where it is lost.
* It only tells: a file that isn't on this machine, or is damaged, is no reason for anything.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from reconciler.errors import StoreError, UpdoserError
from reconciler.model.delta import MIN_NEW, MIN_OLD, Sample
from reconciler.model.pairing import pair_files
from reconciler.planner.samples import worth_sampling
from reconciler.remembered import recall, remember

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.contracts import Codec
    from reconciler.model.release import ReleaseFile
    from reconciler.planner.inputs import Observed, Wanted
    from reconciler.planner.samples import Pair
    from reconciler.workspace import Workspace

READ = 512 * 2**20
"""Bytes that a plan reads of releases for samples."""
WHOLE = 32 * 2**20
"""Bytes up to which a file is sampled as a whole."""
PLACES = 24
PLACE = 2**20
"""Of how many places, and how many bytes of each, a larger file is sampled; as many lie on both sides of an old one."""
PACKED_PLACE = 2**16
MOST_FILES = 200
"""How many files of a release are sampled, the largest first; the others are taken for like them."""
KEPT = 2000
"""How many samples are remembered."""
_FILE = "samples.json"
_MAX_BYTES = 64 * 2**20
_LOG = logging.getLogger("updoser.samples")
Samples = dict[tuple[str, str], Sample]


def take_samples(work: Workspace, wanted: Wanted, observed: Observed, now: datetime) -> Samples:
    """Give samples of the incrementals that a plan of what is observed may want, as far as they can be had quickly."""
    pairs = worth_sampling(wanted, observed, now)
    if not pairs:
        return {}
    file = work.spec.server.store / _FILE
    before = recall(file, _MAX_BYTES, _LOG, _read) or {}
    found: Samples = {}
    left = READ
    for pair in pairs:
        left -= _cost(pair)
        if left < 0 or work.means.stop.is_set():
            break
        sample = before.get(pair.key) or _sample(work, pair, observed)
        if sample is not None:
            found[pair.key] = sample
    if not found.keys() <= before.keys():
        kept = {**{key: sample for key, sample in before.items() if key not in found}, **found}
        newest = list(kept.items())[-KEPT:]
        remember(file, [[*key, one.codec, [list(part) for part in one.parts]] for key, one in newest], _LOG)
    return found


def _read(content: Any) -> Samples:
    return {
        (str(before), str(after)): Sample(str(codec), tuple((int(whole), int(part)) for whole, part in parts))
        for before, after, codec, parts in content
    }


def _cost(pair: Pair) -> int:
    """Count the bytes that are read for a sample."""
    if pair.before is None:
        return sum(min(file.size, PLACES * PACKED_PLACE) for file in pair.after.files)
    most = PLACES * PLACE
    old = sum(file.size if file.size <= WHOLE else 3 * most for file in pair.before.files)
    return old + sum(file.size if file.size <= WHOLE else most for file in pair.after.files)


def _sample(work: Workspace, pair: Pair, observed: Observed) -> Sample | None:
    """Sample two releases; None where no codec is for that, or nothing can be told."""
    able = [
        (sample.pace, name)
        for name, traits in observed.codecs.items()
        if traits.based == (pair.before is not None) and (sample := traits.sample_for(pair.kind)) is not None
    ]
    if not able:
        return None
    _pace, name = min(able)
    level = observed.codecs[name].sample_for(pair.kind)
    assert level is not None
    try:
        sampler = Sampler(work, work.plugins.codec(name), level.level)
        parts = tuple(sampler.parts(pair))
    except (UpdoserError, MemoryError) as error:
        _LOG.debug("%s %s can't be sampled: %s", pair.after.component, pair.after.version, error)
        return None
    return Sample(name, parts)


class Sampler:
    """Makes quick patches with one codec."""

    def __init__(self, work: Workspace, codec: Codec, level: int) -> None:
        self._store = work.store
        self._codec = codec
        self._level = level

    def parts(self, pair: Pair) -> Iterator[tuple[int, int]]:
        """Give for each file that isn't kept its size, and what its patch should have.

        Raises:
            StoreError: a file isn't here or can't be read.
            PatchError: the codec can't make a patch.
        """
        before = {file.name: file for file in pair.before.files} if pair.before else {}
        pairs = pair_files(tuple(before.values()), pair.after.files)
        changed = sorted((file for file in pair.after.files if not pairs[file.name][1]), key=lambda file: -file.size)
        told = [(file.size, self.part(before.get(pairs[file.name][0]), file)) for file in changed[:MOST_FILES]]
        yield from told
        rest = sum(file.size for file in changed[MOST_FILES:])
        if rest:
            yield rest, rest * sum(part for _whole, part in told) // max(sum(whole for whole, _part in told), 1)

    def part(self, old: ReleaseFile | None, new: ReleaseFile) -> int:
        """Give the size that a patch of a file should have; None is packed by itself."""
        if old is None or new.size < MIN_NEW or old.size < MIN_OLD:
            taken, base = self._read(new, PACKED_PLACE), b""
        elif max(old.size, new.size) <= WHOLE:
            taken, base = self._read(new, new.size), self._read(old, old.size)
        else:
            taken, base = self._read(new, PLACE), self._read(old, PLACE, around=PLACE)
        if not taken:
            return 0
        patch = len(self._codec.make(base, taken, level=self._level))
        return min(patch * new.size // len(taken), new.size)

    def _read(self, file: ReleaseFile, piece: int, *, around: int = 0) -> bytes:
        """Read pieces all over a file, and so much more at both sides of each; what they share is read once.

        Raises:
            StoreError: it isn't on this machine, or can't be read.
        """
        most, parts, end = file.size - piece, [], 0
        try:
            with self._store.glance(file.sha256) as stream:
                for number in range(PLACES if most > 0 else 1):
                    start = max(most * number // (PLACES - 1) if most > 0 else 0, 0)
                    stream.seek(max(start - around, end))
                    end = min(start + piece + around, file.size)
                    parts.append(stream.read(max(end - stream.tell(), 0)))
        except OSError as error:
            raise StoreError(f"{file.name!r} can't be read: {error.strerror}") from error
        return b"".join(parts)
