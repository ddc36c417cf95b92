"""One block says how a source's files are proven: what passes, and what each kind of forgery is refused with."""

from __future__ import annotations

import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from reconciler.contracts import Traits
from reconciler.errors import SourceError
from reconciler.formats.defaults import completed
from reconciler.formats.minisign import new_secret_key, prehash, sign
from reconciler.model.release import SignedBy
from reconciler.plugins.source._verify.material import NotThereError, filled
from reconciler.plugins.source._verify.options import (
    VERIFY,
    signed_by_options,
    some_signed_by_options,
    verifying,
)
from reconciler.plugins.source._verify.verification import Verification, signed_by
from tests.clam_signer import Authority
from tests.fakes import fake_context
from tests.materials import FolderMaterial, Gpg
from tests.pages import example
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = b"alert tcp any any" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
KEY = new_secret_key()
MINISIGN = {"minisign": {"key": "vendor.pub"}}
GPG = {"gpg": {"keyring": "vendor.gpg"}}
SUMS = {"sha256": {"sums": "SHA256SUMS"}}


class Case:
    """A folder with a file, the operator's keys, and what lies beside the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.material = FolderMaterial(folder)
        self.put("all.rules", CONTENT)
        self.put("vendor.pub", KEY.public.text.encode())

    def put(self, name: str, content: bytes | str) -> None:
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def minisign(self, content: bytes = CONTENT, name: str = "all.rules", comment: str = "") -> None:
        self.put(f"{name}.minisig", sign(KEY, prehash(iter([content])), trusted=comment or f"file:{name}"))

    def verification(self, verify: Any) -> Verification:
        schema = {"type": "object", "properties": {"verify": VERIFY}}
        options = completed({"verify": verify}, schema)
        Draft202012Validator(schema).validate(options)
        return Verification(options["verify"], fake_context(self.folder))

    def check(self, *verify: Any) -> list[tuple[str, str]]:
        asked = verify[0] if len(verify) == 1 and "any" in verify[0] else list(verify)
        return [(proof.scheme, proof.key) for proof in self.verification(asked).check(self.material)]

    def refused(self, *verify: Any) -> str:
        with pytest.raises(SourceError) as caught:
            self.check(*verify)
        return str(caught.value)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


# --- sha256 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        DIGEST,
        f"{DIGEST.upper()}\r\n",
        f"{DIGEST}  all.rules\n",
        f"{DIGEST} *./rules/all.rules\n",
        f"SHA256 (all.rules) = {DIGEST}\n",
        f"{DIGEST}  -\n",
        f"{'0' * 64}  other.rules\n{DIGEST}  all.rules\n",
    ],
)
def test_a_file_of_one_digest_is_read_as_vendors_write_it(case: Case, content: str) -> None:
    case.put("all.rules.sha256", content)
    assert case.check({"sha256": {"file": "{url}.sha256"}}) == [("sha256", "")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("0" * 64, f"all.rules can't be verified: all.rules has the sha256 {DIGEST}, and {{}} says {'0' * 64}"),
        ("<html>", "all.rules can't be verified: {} isn't a sha256, and no line of a sums file: '<html>'"),
        (f"{DIGEST}  other.rules", "all.rules can't be verified: {} doesn't list all.rules"),
        ("", "all.rules can't be verified: {} doesn't list all.rules"),
    ],
)
def test_a_digest_that_isnt_the_files_is_told_with_both(case: Case, content: str, says: str) -> None:
    case.put("all.rules.sha256", content)
    said = case.refused({"sha256": {"file": "{url}.sha256"}})
    assert said == says.format("https://vendor.example/rules/all.rules.sha256")


def test_a_sums_file_that_lists_the_file_twice_is_refused(case: Case) -> None:
    case.put("SHA256SUMS", f"{DIGEST}  a/all.rules\n{'0' * 64}  b/all.rules\n")
    assert "lists all.rules twice, with different digests" in case.refused(SUMS)


def test_what_a_server_calls_a_file_is_no_placeholder(case: Case) -> None:
    case.put("{version}.rules", CONTENT)
    material = FolderMaterial(case.folder, "{version}.rules")
    assert filled("sums/{name}", material) == "sums/{version}.rules"


@pytest.mark.parametrize("digest", [DIGEST, f"sha256:{DIGEST}"])
def test_a_json_pointer_leads_to_a_digest_with_and_without_its_kind(case: Case, digest: str) -> None:
    case.material.document = {"assets": [{"digest": digest}]}
    assert case.check({"sha256": {"json": "/assets/0/digest"}}) == [("sha256", "")]


@pytest.mark.parametrize("found", ["0" * 64, "md5:abc", 7, {"a": 1}])
def test_what_a_json_pointer_leads_to_must_be_the_files_sha256(case: Case, found: Any) -> None:
    case.material.document = {"assets": [{"digest": found}]}
    assert "/assets/0/digest" in case.refused({"sha256": {"json": "/assets/0/digest"}})


# --- minisign ---------------------------------------------------------------------------------------------------------


def test_a_good_signature_of_minisign_names_its_key(case: Case) -> None:
    case.minisign()
    assert case.check(MINISIGN) == [("minisign", KEY.public.name)]
    line = KEY.public.text.splitlines()[1]
    assert case.check({"minisign": {"key": line, "signature": "{name}.minisig"}}) == [("minisign", KEY.public.name)]


def test_a_signed_sums_file_proves_what_it_lists(case: Case) -> None:
    sums = f"{DIGEST}  all.rules\n".encode()
    case.put("SHA256SUMS", sums)
    case.minisign(sums, "SHA256SUMS")
    signed = {"minisign": {"key": "vendor.pub", "sums": "SHA256SUMS"}}
    assert case.check(signed) == [("minisign", KEY.public.name)]
    case.put("all.rules", CONTENT + b"x")
    assert "SHA256SUMS says" in case.refused(signed)
    case.put("SHA256SUMS", sums + b"#")
    assert "isn't what the key" in case.refused(signed)


def test_a_minisign_signature_over_other_bytes_or_by_another_key_is_refused(case: Case) -> None:
    case.minisign(CONTENT + b"x")
    assert f"isn't what the key {KEY.public.name} signed" in case.refused(MINISIGN)
    case.minisign()
    case.put("vendor.pub", new_secret_key().public.text)
    assert f"it is by the key {KEY.public.name}, and not by" in case.refused(MINISIGN)


def test_a_genuine_signature_of_an_older_file_is_refused_by_its_trusted_comment(case: Case) -> None:
    case.minisign(comment="file:all.rules version:6")
    assert "good for something else: it was made for the version 6, and not for 7" in case.refused(MINISIGN)
    case.minisign(comment="file:old.rules")
    assert "made for the file old.rules" in case.refused(MINISIGN)


def test_a_key_that_cant_be_read_is_told_by_its_name(case: Case) -> None:
    case.minisign()
    assert "missing.pub can't be read" in case.refused({"minisign": {"key": "missing.pub"}})
    case.put("vendor.pub", "no key")
    assert "the key vendor.pub: " in case.refused(MINISIGN)


# --- gpg --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    with tempfile.TemporaryDirectory(prefix="g", dir="/tmp") as folder:  # the path of its agent's socket must be short
        made = Gpg(Path(folder) / "h")
        yield made
        made.close()


@pytest.fixture(scope="module")
def signer(gpg: Gpg) -> str:
    return gpg.new("signer@vendor.example")


pgp = pytest.mark.needs("gpg", "gpgv")


@pgp
@pytest.mark.parametrize("armour", [True, False])
def test_a_good_signature_of_openpgp_names_its_key_armoured_or_not(
    case: Case, gpg: Gpg, signer: str, armour: bool
) -> None:
    gpg.export(case.folder / "vendor.gpg", signer, armour=armour)
    place = gpg.sign(case.material.path, signer, armour=armour)
    way = {"gpg": {"keyring": "vendor.gpg", "signature": f"{{url}}{place.suffix}"}}
    assert case.check(way) == [("gpg", signer)]
    (key,) = case.verification([way]).keys()
    assert (key.place, key.fingerprint, key.about) == ("vendor.gpg", signer, "signer@vendor.example")


@pgp
def test_a_signature_of_openpgp_over_other_bytes_is_refused(case: Case, gpg: Gpg, signer: str) -> None:
    gpg.export(case.folder / "vendor.gpg", signer)
    gpg.sign(case.material.path, signer)
    case.put("all.rules", CONTENT + b"x")
    assert "isn't good: it isn't what the key" in case.refused(GPG)


@pgp
def test_a_key_that_the_keyring_hasnt_says_nothing_alone_and_harms_nothing_beside_a_good_one(
    case: Case, gpg: Gpg, signer: str
) -> None:
    other = gpg.new("other@vendor.example")
    gpg.export(case.folder / "vendor.gpg", signer)
    gpg.sign(case.material.path, other)
    assert f"it is by the key {other[-16:]}, which the keyring hasn't" in case.refused(GPG)
    gpg.sign(case.material.path, other, signer)
    assert case.check(GPG) == [("gpg", signer)]


@pgp
def test_one_wrong_signature_of_two_is_refused_though_the_other_is_good(case: Case, gpg: Gpg, signer: str) -> None:
    second = gpg.new("second@vendor.example")
    gpg.export(case.folder / "vendor.gpg", signer, second)
    good = gpg.sign(case.material.path, signer, armour=False).read_bytes()
    other = case.folder / "other"
    other.write_bytes(b"other")
    wrong = gpg.sign(other, second, armour=False).read_bytes()
    way = {"gpg": {"keyring": "vendor.gpg", "signature": "both.sig"}}
    for both in (good + wrong, wrong + good):
        case.put("both.sig", both)
        assert f"it isn't what the key {second[-16:]} signed" in case.refused(way)


@pgp
def test_a_key_that_has_expired_or_was_revoked_signs_no_more(case: Case, gpg: Gpg) -> None:
    old = gpg.new("old@vendor.example", time="20200101T000000", expires="1y")
    gpg.export(case.folder / "vendor.gpg", old)
    gpg.sign(case.material.path, old, options=("--faked-system-time", "20200601T000000"))
    assert f"the key {old[-16:]} has expired" in case.refused(GPG)
    gone = gpg.new("gone@vendor.example")
    gpg.sign(case.material.path, gone)
    gpg.export(case.folder / "vendor.gpg", gone)
    before = case.verification([GPG]).mark
    revocation = gpg.home / "openpgp-revocs.d" / f"{gone}.rev"
    revocation.write_text(revocation.read_text().replace(":-----BEGIN", "-----BEGIN"))
    gpg.run("--import", revocation)
    gpg.export(case.folder / "vendor.gpg", gone)
    assert f"the key {gone[-16:]} was revoked" in case.refused(GPG)
    assert case.verification([GPG]).mark != before  # so that what it signed is proven anew


@pgp
def test_a_signature_over_text_or_with_a_weak_hash_doesnt_count(case: Case, gpg: Gpg) -> None:
    rsa = gpg.new("rsa@vendor.example", kind="rsa2048")
    gpg.export(case.folder / "vendor.gpg", rsa)
    gpg.sign(case.material.path, rsa, options=("--digest-algo", "SHA1"))
    assert "a hash that is too weak" in case.refused(GPG)
    gpg.sign(case.material.path, rsa, options=("--textmode",))
    assert "signed it as text" in case.refused(GPG)


@pgp
def test_a_message_that_brings_its_own_content_is_no_detached_signature(case: Case, gpg: Gpg, signer: str) -> None:
    gpg.export(case.folder / "vendor.gpg", signer)
    gpg.run("--local-user", signer, "--output", case.folder / "all.rules.asc", "--sign", case.material.path)
    assert "all.rules.asc is malformed" in case.refused(GPG)
    case.put("all.rules.asc", (case.folder / "vendor.gpg").read_bytes())
    assert "isn't a detached signature" in case.refused(GPG)
    gpg.run("--local-user", signer, "--output", case.folder / "all.rules.asc", "--clear-sign", case.material.path)
    assert "another block of PGP than SIGNATURE" in case.refused(GPG)


@pgp
@pytest.mark.parametrize("damage", ["", "-----BEGIN PGP SIGNATURE-----\n", "\x88\x01\x04", "no signature"])
def test_what_is_no_signature_is_told_as_that(case: Case, gpg: Gpg, signer: str, damage: str) -> None:
    gpg.export(case.folder / "vendor.gpg", signer)
    case.put("all.rules.asc", damage.encode("latin-1"))
    assert "the signature https://vendor.example/rules/all.rules.asc " in case.refused(GPG)


def test_a_machine_without_gpgv_is_told_what_to_install(
    case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    case.put("vendor.gpg", b"\xc6\x06\x04\0\0\0\0\x16")  # packets of a public key and a signature
    case.put("all.rules.asc", b"\x88\x01\x04")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    said = case.refused(GPG)
    assert "the program gpgv can't be run" in said
    assert "install it: apt-get install gpgv" in said


# --- clamsign ---------------------------------------------------------------------------------------------------------


def test_a_signature_beside_a_file_as_clamav_has_it_must_lead_to_a_certificate_that_is_given(case: Case) -> None:
    authority, way = Authority(), {"clamsign": {"certificates": "root.pem"}}
    case.put("root.pem", authority.pem)
    assert "all.rules.sign isn't there" in case.refused(way)
    case.put("all.rules.sign", authority.sign(CONTENT))
    assert case.check(way) == [("clamsign", "Test_datafiles_release")]
    (key,) = case.verification([way]).keys()
    assert (key.place, key.about, len(key.fingerprint)) == ("root.pem", "CN=updoser Test Root", 64)
    for wrong in (authority.sign(CONTENT + b"x"), Authority("Another Root").sign(CONTENT), b"#clamsign-1.0\n"):
        case.put("all.rules.sign", wrong)
        assert "the signature https://vendor.example/rules/all.rules.sign isn't good" in case.refused(way)


# --- tuf --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def vendor(case: Case) -> Vendor:
    made = Vendor(case.folder / "tuf", datetime.now(UTC))
    made.set_target("rules/all.rules", CONTENT)
    made.sign()
    case.put("root.json", (made.metadata / "1.root.json").read_bytes())
    return made


def tuf(case: Case, target: str = "rules/{name}") -> dict[str, Any]:
    return {"tuf": {"url": f"file://{case.folder}/tuf", "trusted_root": "root.json", "target": target}}


def test_a_target_of_a_signed_repository_proves_a_file_that_others_serve(case: Case, vendor: Vendor) -> None:
    ((scheme, key),) = case.check(tuf(case))
    assert (scheme, key) == ("tuf", vendor.keys["targets"][0].public_key.keyid)
    (root,) = case.verification([tuf(case)]).keys()
    assert (root.place, root.fingerprint) == ("root.json", vendor.keys["root"][0].public_key.keyid)
    assert "1 of 1 must sign, until" in root.about


def test_a_file_that_isnt_the_target_or_that_nobody_signed_is_refused(case: Case, vendor: Vendor) -> None:
    assert "has no target rules/other" in case.refused(tuf(case, "rules/other"))
    case.put("all.rules", CONTENT[:-1] + b"?")
    assert "all.rules isn't the target rules/all.rules" in case.refused(tuf(case))


def test_an_older_state_of_a_signed_repository_is_refused(case: Case, vendor: Vendor) -> None:
    kept = {path: path.read_bytes() for path in vendor.metadata.iterdir()}
    vendor.sign()
    case.check(tuf(case))
    for path, content in kept.items():
        path.write_bytes(content)
    assert "older than before" in case.refused(tuf(case))


# --- all and any ------------------------------------------------------------------------------------------------------


def test_all_ways_of_a_list_must_pass(case: Case) -> None:
    case.put("SHA256SUMS", f"{DIGEST}  all.rules\n")
    assert "all.rules.minisig isn't there" in case.refused(MINISIGN, SUMS)
    case.minisign()
    assert case.check(MINISIGN, SUMS) == [("minisign", KEY.public.name), ("sha256", "")]
    case.put("SHA256SUMS", f"{'0' * 64}  all.rules\n")
    assert "SHA256SUMS says" in case.refused(MINISIGN, SUMS)


def test_of_any_ways_the_first_that_is_there_decides(case: Case) -> None:
    asked = {"any": [MINISIGN, SUMS]}
    assert "all.rules.minisig isn't there" in case.refused(asked)
    assert "SHA256SUMS isn't there" in case.refused(asked)
    case.put("SHA256SUMS", f"{DIGEST}  all.rules\n")
    assert case.check(asked) == [("sha256", "")]
    case.minisign()
    assert case.check(asked) == [("minisign", KEY.public.name)]


def test_a_signature_that_is_there_and_wrong_is_refused_though_another_way_would_pass(case: Case) -> None:
    case.put("SHA256SUMS", f"{DIGEST}  all.rules\n")
    case.minisign(b"other")
    assert "isn't what the key" in case.refused({"any": [MINISIGN, SUMS]})
    case.put("all.rules.minisig", b"half")
    assert "is malformed" in case.refused({"any": [MINISIGN, SUMS]})


def test_a_signature_that_cant_be_had_at_the_moment_isnt_passed_over(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.put("SHA256SUMS", f"{DIGEST}  all.rules\n")

    def cut(_material: FolderMaterial, _reference: str, _limit: int) -> bytes:
        raise SourceError("the connection broke")

    monkeypatch.setattr(FolderMaterial, "beside", cut)
    with pytest.raises(SourceError, match="the connection broke") as caught:
        case.check({"any": [MINISIGN, SUMS]})
    assert not isinstance(caught.value, NotThereError)


@pytest.mark.parametrize(
    ("verify", "signed", "some"),
    [
        (None, False, False),
        ([SUMS], False, False),
        ([MINISIGN], True, True),
        ([SUMS, MINISIGN], True, True),
        ({"all": [SUMS, GPG]}, True, True),
        ({"any": [SUMS, MINISIGN]}, False, True),
        ({"any": [GPG, MINISIGN]}, True, True),
        ({"any": [SUMS]}, False, False),
    ],
)
def test_a_source_is_signed_when_all_that_can_pass_has_a_signature(verify: Any, signed: bool, some: bool) -> None:
    options = {} if verify is None else {"verify": verify}
    assert signed_by_options(options) is signed
    assert some_signed_by_options(options) is some


def test_a_source_does_what_its_ways_to_verify_do() -> None:
    away = {"tuf": {"url": "https://tuf.example", "trusted_root": "root.json"}}
    assert verifying(Traits(url="x"), [GPG]) == Traits(url="x", signed=True, vouches=True, programs=True)
    assert verifying(Traits(), {"any": [SUMS, away]}) == Traits(vouches=True, network=True)
    assert verifying(Traits(), [MINISIGN], None) == Traits(vouches=True)
    assert verifying(Traits(network=True)) == Traits(network=True)


@pytest.mark.parametrize(
    ("verify", "good"),
    [
        ([MINISIGN], True),
        ({"any": [MINISIGN, GPG]}, True),
        ([], False),
        ({}, False),
        ({"any": [MINISIGN], "all": [GPG]}, False),
        ([{**MINISIGN, **GPG}], False),
        ([{"sha256": {}}], False),
        ([{"sha256": {"sums": "a", "file": "b"}}], False),
        ([{"rot13": {}}], False),
        (MINISIGN, False),
    ],
)
def test_the_schema_takes_one_way_at_a_time_and_no_empty_lists(verify: Any, good: bool) -> None:
    assert Draft202012Validator(VERIFY).is_valid(verify) is good


@pgp
@pytest.mark.parametrize("source", yaml.safe_load(example("spec:ways").text)["sources"], ids=lambda one: one["name"])
def test_each_way_of_the_page_passes_what_its_publisher_laid_down_and_nothing_else(
    source: Any, tmp_path: Path, gpg: Gpg, signer: str
) -> None:
    (tmp_path / "trust").mkdir()
    case, authority = Case(tmp_path), Authority()
    vendor = Vendor(tmp_path / "tuf", datetime.now(UTC))
    vendor.set_target("rules/all.rules", CONTENT)
    vendor.sign()
    sums = f"{DIGEST}  all.rules\n"
    for name, content in (
        ("trust/vendor.pub", KEY.public.text),
        ("trust/certificates", authority.pem),
        ("trust/root.json", (vendor.metadata / "1.root.json").read_bytes()),
        ("SHA256SUMS", sums),
        ("all.rules.sha256", DIGEST),
        ("all.rules.sign", authority.sign(CONTENT)),
    ):
        case.put(name, content)
    case.minisign()
    case.minisign(sums.encode(), "SHA256SUMS")
    gpg.export(tmp_path / "trust/vendor.gpg", signer)
    gpg.sign(case.material.path, signer)
    verify = json.loads(json.dumps(source["verify"]).replace("https://vendor.example/tuf", f"file://{tmp_path}/tuf"))
    assert case.verification(verify).check(case.material)
    case.put("all.rules", CONTENT + b"x")
    with pytest.raises(SourceError):
        case.verification(verify).check(case.material)


def test_who_signed_is_said_with_scheme_and_keys(case: Case, tmp_path: Path) -> None:
    case.minisign()
    case.put("SHA256SUMS", f"{DIGEST}  all.rules\n")
    proofs = case.verification([MINISIGN, SUMS]).check(case.material)
    found = signed_by(proofs)
    assert found == SignedBy(scheme="minisign", keys=(KEY.public.name,))
    assert SignedBy("vendor", scheme="minisign", keys=found.keys).text == f"signed by vendor (minisign {found.keys[0]})"
    assert signed_by(case.verification([SUMS]).check(case.material)) is None
    assert not case.verification({"any": [SUMS]}).signed
