"""The repository that a spec comes from: a bare mirror of it on this machine, and which of its commits is believed.

* What decides whom to believe is given by who runs updoser, and never read from the repository.
* git runs nothing that the repository names: there are no hooks, no work tree, no filters and no submodules, and it
  may connect by the one protocol of the URL only. It asks nobody for a password.
* A signature counts where git says `G`, by a key that is trusted fully: whoever else's is none (`U`), and so is one for
  which there is no list of keys. A tag counts by its own name, and not by the one that it lies under.
* What comes after the commit in force is taken: the newest that is believed. Whatever doesn't come after it is a
  rewind, which somebody who may push could use to bring back what was mended.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from reconciler.errors import UpdoserError, UsageError, printable
from reconciler.specfile.objects import SAFE, Repository, environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from threading import Event

    from reconciler.model.controller import Verify

PATIENCE = 300.0
"""Seconds that a fetch may take."""
MAX_FETCHED = 2**30
"""Bytes that may come at once."""
_BLOCK = 512
_MAX_COMMITS = 10_000
_MAX_LOG = 2**24
_MAX_PACKS = 50
_SHOWN = 12
_BRANCH, _TAGS, _IN_FORCE = "refs/updoser/branch", "refs/updoser/tags", "refs/updoser/in-force"
_PROTOCOLS = ("ssh", "https", "file", "http", "git")
_OPEN = ("http", "git")
_LIMITED = ("sh", "-c", 'ulimit -f "$0" && exec git "$@"')
_SSH = "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=30 -oServerAliveInterval=15"
_USERS_OWN = ("GIT_CONFIG_", "GIT_SSL_", "GIT_HTTP_")
_NOBODYS = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
_QUIET = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.askPass=", "gc.auto=0", "maintenance.auto=false"),
    *("fetch.unpackLimit=1", "fetch.fsckObjects=true", "fetch.recurseSubmodules=no", "versionsort.suffix=-"),
)
_REF = re.compile(r"(?!-)[\w./+@#=-]{1,200}")
_SIGNER = re.compile(r'^Good "git" signature for (\S+) with|^\[GNUPG:\] GOODSIG \S+ (.+)$', re.MULTILINE)
"""Who signed a tag, for showing; whether the signature is good says git's exit status."""
_SAID = {
    "N": "isn't signed, or not in a way that is allowed",
    "B": "has a signature of other bytes",
    "X": "is signed by a signature that has expired",
    "Y": "is signed by a key that has expired",
    "R": "is signed by a key that was revoked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOptions:
    """Where a spec comes from, and whose signatures count: the newest commit of a `branch`, or of tags like `tag`.

    `path` is the spec's in the repository. `verify`: `head` the signature of the commit that is taken, `all` those of
    all commits since the one in force, `tag` that of the tag. `signers` is a file as ssh-keygen has it
    (ALLOWED SIGNERS), `gpg_home` a folder of GnuPG.
    """

    url: str
    branch: str = ""
    tag: str = ""
    path: str = "updoser.yaml"
    verify: Verify = "none"
    signers: Path | None = None
    gpg_home: Path | None = None
    allow_rewind: bool = False
    folder: Path

    @property
    def where(self) -> str:
        """The branch or tags, in words."""
        return f"the branch {self.branch}" if self.branch else f"tags like {self.tag}"

    @property
    def protocol(self) -> str:
        """The one protocol that git may use.

        Raises:
            UsageError: the URL has none that may be used.
        """
        scheme, named, _rest = self.url.partition("://")
        if not named:
            scheme = "ssh" if ":" in self.url.partition("/")[0] else "file"
        if not self.url or self.url.startswith("-") or "::" in self.url or scheme not in _PROTOCOLS:
            hint = "such as ssh://git@host/path.git, https://host/path.git or a folder"
            raise UsageError(f"--from-git {self.url}: that is no URL of a repository", hint=hint)
        return scheme

    def check(self) -> None:
        """Refuse what can't be before anything is begun.

        Raises:
            UsageError: options don't fit together.
        """
        if bool(self.branch) == bool(self.tag):
            raise UsageError("--from-git needs one of --branch and --tag", hint="--branch main")
        for option, name in (("--branch", self.branch), ("--tag", self.tag.translate(_GLOB))):
            if name and (not _REF.fullmatch(name) or ".." in name or name.endswith((".lock", "/"))):
                raise UsageError(f"{option} {name}: no branch or tag can have that name")
        if not self.path or self.path.startswith("/") or {"", ".", ".."} & set(self.path.split("/")):
            raise UsageError(f"--spec-path {self.path}: that is no path in a repository", hint="such as updoser.yaml")
        if self.verify == "tag" and not self.tag:
            raise UsageError("--verify tag needs --tag", hint="for a branch: --verify head, or all")
        if self.verify != "none" and self.signers is None and self.gpg_home is None:
            raise UsageError(
                f"--verify {self.verify} needs to know whom to believe",
                hint="--allowed-signers FILE for SSH keys, --gpg-home DIR for GnuPG",
            )
        if self.protocol in _OPEN and self.verify == "none":
            raise UsageError(
                f"--from-git {self.url}: anybody on the way could write this spec", hint="https, ssh, or --verify"
            )
        if "://" in self.url and urlsplit(self.url).password:
            raise UsageError(
                "--from-git: a password in the URL can be seen by all on this machine",
                hint="put it into ~/.netrc, or set up a credential helper of git",
            )


_GLOB = str.maketrans("*?[]!", "-----")


class Pick(NamedTuple):
    """A commit to take, and who signed it; no commit where none is to be taken. `problems` say what was passed over."""

    commit: str
    signer: str = ""
    problems: tuple[str, ...] = ()


class _Signature(NamedTuple):
    """What git says of a signature: `G` for a good one, and in words what is wrong with another one."""

    good: bool
    signer: str
    wrong: str


class Mirror:
    """The mirror of a repository; one process at a time works with it."""

    def __init__(self, options: GitOptions) -> None:
        """Touch nothing yet."""
        self._options = options
        self._folder = options.folder / "mirror"
        shown = tuple(word for setting in (*_QUIET, *self._trust()) for word in ("-c", setting))
        home = {"GNUPGHOME": str((options.gpg_home or options.folder / "no-keys").absolute())}
        self.git = Repository(
            options.folder,
            f"{printable(options.url)}",
            environ={**environment(()), **_NOBODYS, **home},
            options=("--git-dir", str(self._folder.absolute()), *shown),
        )

    def _trust(self) -> Iterable[str]:
        signers, home = self._options.signers, self._options.gpg_home
        yield f"gpg.ssh.allowedSignersFile={signers.absolute() if signers else os.devnull}"
        yield f"gpg.ssh.program={'ssh-keygen' if signers else '/bin/false'}"
        yield f"gpg.openpgp.program={'gpg' if home else '/bin/false'}"
        yield "gpg.x509.program=/bin/false"
        yield "gpg.minTrustLevel=fully"

    def fetch(self, stop: Event) -> None:
        """Bring the mirror to where the repository is.

        Raises:
            UpdoserError: it can't be reached in time, hasn't what is asked for, or sends too much.
        """
        options = self._options
        if not (self._folder / "HEAD").is_file():
            self.git.ask("init", "--bare", "--quiet", "--template=", failure="a mirror of it can't be made")
        self._sweep()
        what = f"+refs/heads/{options.branch}:{_BRANCH}" if options.branch else f"+refs/tags/*:{_TAGS}/*"
        url = options.url if options.protocol != "file" or "://" in options.url else os.path.abspath(options.url)  # noqa: PTH100 - as it was named
        # What the user has set up for git (proxies, certificates, credentials) counts for the way there only.
        way = {"GIT_ALLOW_PROTOCOL": options.protocol, "GIT_SSH_COMMAND": _SSH, "GIT_ASKPASS": ""}
        limited = (*_LIMITED, str(MAX_FETCHED // _BLOCK))
        git = replace(self.git, environ={**environment(_USERS_OWN), **SAFE, **way}, program=limited)
        quiet = ("--quiet", "--no-tags", "--prune", "--force", "--no-write-fetch-head", "--no-auto-maintenance")
        try:
            git.ask("fetch", *quiet, "--", url, what, failure="it can't be fetched", timeout=PATIENCE, stop=stop)
        except UpdoserError:
            self._sweep()
            raise
        if len(list(self._folder.glob("objects/pack/*.pack"))) > _MAX_PACKS:
            self.git.ask("gc", "--quiet", "--prune=now", failure="its mirror can't be packed", timeout=PATIENCE)

    def _sweep(self) -> None:
        """Remove what a git that was killed left behind: it would be in the way for good, or fill the disk."""
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/*.lock"):
            for path in self._folder.glob(pattern):
                path.unlink(missing_ok=True)

    def keep(self, commit: str) -> None:
        """Keep a commit as the one in force, whatever becomes of its branch."""
        self.git.ask("update-ref", _IN_FORCE, commit, failure="the commit in force can't be noted")

    def pick(self, before: str) -> Pick:
        """Choose the commit to take after the one in force (empty: none is yet).

        Raises:
            UpdoserError: git fails, or it can't be known whom to believe.
        """
        self._check_trust()
        if before and not self._has(before):  # also not in a mirror that was made anew
            if not self._options.allow_rewind:
                told = f"{self.git.label} has {before[:_SHOWN]}, the commit in force, no more: nothing else is taken"
                return Pick("", problems=(f"{told} (--allow-rewind does)",))
            before = ""
        return self._of_branch(before) if self._options.branch else self._of_tags(before)

    def _check_trust(self) -> None:
        """Refuse to judge without a list of those to believe: git takes that for a signature of a stranger's key."""
        if self._options.verify == "none":
            return
        for option, path in (("--allowed-signers", self._options.signers), ("--gpg-home", self._options.gpg_home)):
            if path is not None and not os.access(path, os.R_OK):
                raise UpdoserError(f"{option} {path} can't be read, so no signature is believed")

    def _of_branch(self, before: str) -> Pick:
        options, tip = self._options, self._commit(_BRANCH)
        if tip == before:
            return Pick("")
        if before and not options.allow_rewind and not self._comes_after(tip, before):
            return Pick("", problems=(self._rewound(options.where, tip, before),))
        if options.verify == "none":
            return Pick(tip)
        first = self._signatures([tip], walk=False)[tip]
        if options.verify == "head" or not before:
            if first.good:
                return Pick(tip, first.signer)
            line = self._line(before, tip)[1:] if before else []
            signed = self._signatures(line, walk=False)
            told = (self._unbelieved(options.where, tip, first),)
            good = (Pick(name, signed[name].signer, told) for name in line if signed[name].good)
            return next(good, Pick("", "", told))
        return self._all_since(before, tip, options.where)

    def _all_since(self, before: str, tip: str, where: str) -> Pick:
        """Take the newest commit before which, since the one in force, all are signed."""
        signed = self._signatures([tip, f"^{before}"], walk=True)
        if tip not in signed:  # it is rewound to, and was believed once
            signed |= self._signatures([tip], walk=False)
        bad = {name: signature for name, signature in signed.items() if not signature.good}
        if not bad:
            return Pick(tip, signed[tip].signer)
        told = (self._unbelieved(where, *next(iter(bad.items()))),)
        line = self._line(before, tip)
        low, high = 0, len(line)  # all from `high` on are believed, none before `low` is
        while low < high:
            middle = (low + high) // 2
            if bad.keys() & set(self._between(before, line[middle])):
                low = middle + 1
            else:
                high = middle
        return Pick(line[low], signed[line[low]].signer, told) if low < len(line) else Pick("", "", told)

    def _of_tags(self, before: str) -> Pick:
        options, problems = self._options, []
        found = [tag for tag in self._tags() if fnmatchcase(tag[0], options.tag)]
        if not found:
            return Pick("", problems=(f"{self.git.label} has no {options.where}",))
        for name, ref, inner, commit in found:
            where = f"the tag {printable(name)}"
            if commit == before:
                break
            if before and not options.allow_rewind and not self._comes_after(commit, before):
                if not self._comes_after(before, commit):
                    problems.append(self._rewound(where, commit, before))
                continue
            if options.verify == "none":
                return Pick(commit, "", tuple(problems))
            if options.verify == "all" and before:
                pick = self._all_since(before, commit, where)
                if pick.commit == commit:
                    return pick._replace(problems=(*problems, *pick.problems))
                problems += pick.problems
                continue
            signature = self._tagged(name, inner, ref) if options.verify == "tag" else None
            signature = signature or self._signatures([commit], walk=False)[commit]
            if signature.good:
                return Pick(commit, signature.signer, tuple(problems))
            problems.append(self._unbelieved(where, commit, signature))
        return Pick("", problems=tuple(problems))

    # --- what git knows -----------------------------------------------------------------------------------------------

    def _has(self, commit: str) -> bool:
        try:
            self.git.ask("cat-file", "-e", f"{commit}^{{commit}}", failure="")
        except UpdoserError:
            return False
        return True

    def _commit(self, name: str) -> str:
        failure = f"it has no {self._options.where}"
        return self.git.ask("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", failure=failure)

    def _comes_after(self, one: str, other: str) -> bool:
        """Say whether all of another commit is in one."""
        return not self.git.ask("rev-list", "-n1", other, f"^{one}", failure="its history can't be read")

    def _line(self, before: str, tip: str) -> list[str]:
        """Give the commits of a branch itself, without those that were merged into it, newest first."""
        wanted = ("--first-parent", f"--max-count={_MAX_COMMITS}", tip, f"^{before}")
        return self.git.ask("rev-list", *wanted, failure="its history can't be read", limit=_MAX_LOG).split()

    def _between(self, before: str, tip: str) -> list[str]:
        return self.git.ask("rev-list", tip, f"^{before}", failure="its history can't be read", limit=_MAX_LOG).split()

    def _tags(self) -> list[tuple[str, str, str, str]]:
        """Give tags as (name, ref, name in the tag itself, commit), highest first; without those of anything else."""
        parts = ("refname:lstrip=3", "refname", "tag", "objecttype", "objectname", "*objecttype", "*objectname")
        listing = ("--sort=-version:refname", f"--format={'%00'.join(f'%({part})' for part in parts)}", _TAGS)
        found = self.git.ask("for-each-ref", *listing, failure="its tags can't be listed", limit=_MAX_LOG)
        tags = []
        for line in found.splitlines():
            name, ref, inner, kind, own, of_what, target = line.split("\0")
            if "commit" in {kind, of_what}:
                tags.append((name, ref, inner, own if kind == "commit" else target))
        return tags

    def _tagged(self, name: str, inner: str, ref: str) -> _Signature:
        """Judge the signature of a tag; one that lies under another name than its own isn't that tag."""
        if not inner:
            return _Signature(good=False, signer="", wrong="has no signature: it is only a name for a commit")
        if inner != name:
            return _Signature(good=False, signer="", wrong=f"was signed as {printable(inner)}, and renamed")
        try:
            said = self.git.ask("verify-tag", "--raw", ref, failure="", errors=True)
        except UpdoserError:
            return _Signature(good=False, signer="", wrong="isn't signed by a key that is allowed")
        named = _SIGNER.search(said)
        return _Signature(good=True, signer=_shown(named[1] or named[2]) if named else "", wrong="")

    def _signatures(self, names: Sequence[str], *, walk: bool) -> dict[str, _Signature]:
        """Judge the signatures of commits, or of all that come of them."""
        if not names:
            return {}
        how = (f"--max-count={_MAX_COMMITS}",) if walk else ("--no-walk=unsorted",)
        said = self._log(("%H", "%G?", "%GS"), (*how, *names))
        trusted = {commit: True for commit, letter, _signer in said if letter == "G"}
        if (
            self._options.gpg_home and trusted
        ):  # git says G for keys that are trusted a little, too, and GT of good ones only
            levels = self._log(("%H", "%GT"), ("--no-walk=unsorted", *trusted))
            trusted = {commit: level in {"fully", "ultimate"} for commit, level in levels}
        found = {}
        for commit, letter, signer in said:
            good = trusted.get(commit, False)
            wrong = _SAID.get(letter, "isn't signed by a key that is allowed")
            found[commit] = _Signature(good, _shown(signer) if good else "", "" if good else wrong)
        if walk and len(found) >= _MAX_COMMITS:
            raise UpdoserError(f"{self.git.label}: more than {_MAX_COMMITS} commits came at once to be checked")
        return found

    def _log(self, parts: Sequence[str], which: Sequence[str]) -> list[tuple[str, ...]]:
        """Have git say something of commits."""
        form = "-z", f"--format=tformat:{'%x00'.join(parts)}"
        failure = "its signatures can't be checked"
        said = self.git.ask("log", *form, *which, "--", failure=failure, limit=_MAX_LOG, timeout=PATIENCE)
        words = said.removesuffix("\0").split("\0") if said else []
        return list(zip(*(words[at :: len(parts)] for at in range(len(parts))), strict=True))

    def _rewound(self, where: str, tip: str, before: str) -> str:
        return (
            f"{where} of {self.git.label} is at {tip[:_SHOWN]}, which doesn't come after {before[:_SHOWN]}, the "
            "commit in force: it isn't taken (--allow-rewind takes it)"
        )

    def _unbelieved(self, where: str, commit: str, signature: _Signature) -> str:
        return f"{where} of {self.git.label} isn't taken as it is: {commit[:_SHOWN]} {signature.wrong}"


def _shown(signer: str) -> str:
    return printable(signer)[:200]
