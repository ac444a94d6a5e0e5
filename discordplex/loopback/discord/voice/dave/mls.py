"""MLS messages (RFC 9420), as far as a delivery service reads and writes them. Pure.

Suite 2 throughout: DHKEM P-256, AES-128-GCM, SHA-256, ECDSA P-256. Numbers are big-endian, vectors carry their length in 1, 2 or 4 bytes.
The server reads key packages, commits and welcomes of its clients, and writes external proposals.
"""

import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from discordplex.errors import RemoteProtocolError

MLS_10 = 1
SUITE = 2
PUBLIC_MESSAGE = 1
BASIC_CREDENTIAL = 1
LIFETIME = (0, 2**64 - 1)
"""What the DAVE protocol demands of a key package: it never expires."""

MEMBER, EXTERNAL = 1, 2
"""Senders: a member by its leaf, an external sender by its place in the group's list."""

PROPOSAL, COMMIT = 2, 3
ADD, REMOVE = 1, 3
BY_REFERENCE = 2
FROM_KEY_PACKAGE, FROM_COMMIT = 1, 3
"""Where a leaf node comes from (RFC 9420 section 7.2)."""


def vector(content: bytes) -> bytes:
    """A variable-size vector: its length in the shortest of three forms, then the bytes (RFC 9420 section 2.1.2)."""
    size = len(content)
    if size < 1 << 6:
        return bytes((size,)) + content
    if size < 1 << 14:
        return struct.pack("!H", size | 1 << 14) + content
    return struct.pack("!I", size | 1 << 31) + content


class Reader:
    """Reads MLS structures from the front of some bytes. Raises RemoteProtocolError where they end too early."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    @property
    def rest(self) -> bytes:
        """What has not been read yet."""
        return self.content[self.position :]

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        found = self.content[self.position : self.position + size]
        if len(found) < size:
            raise RemoteProtocolError(f"an MLS structure ends {size - len(found)} bytes too early")
        self.position += size
        return found

    def number(self, size: int) -> int:
        """The next big-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self) -> bytes:
        """The next vector's bytes."""
        first = self.number(1)
        more = {0: 0, 1: 1, 2: 3}.get(first >> 6)
        if more is None:
            raise RemoteProtocolError("an MLS vector has no valid length")
        size = (first & 0x3F) << (8 * more) | self.number(more)
        return self.take(size)

    def expect(self, number: int, size: int, what: str) -> None:
        """Read a number that can have one value only."""
        found = self.number(size)
        if found != number:
            raise RemoteProtocolError(f"{what} is {found}, not {number}")


def signed_content(label: str, content: bytes) -> bytes:
    """The bytes covered by a signature with a label (RFC 9420 section 5.1.2)."""
    return vector(b"MLS 1.0 " + label.encode()) + vector(content)


def reference(label: str, content: bytes) -> bytes:
    """The hash that names a key package or a proposal (RFC 9420 section 5.2)."""
    return hashlib.sha256(vector(b"MLS 1.0 " + label.encode()) + vector(content)).digest()


def verify(public_key: bytes, label: str, content: bytes, signature: bytes) -> None:
    """Raise RemoteProtocolError where the signature is not by this key over this content."""
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
        key.verify(signature, signed_content(label, content), ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError) as fault:
        raise RemoteProtocolError(f"a signature over {label} is wrong") from fault


@dataclass(frozen=True, slots=True)
class LeafNode:
    """A member's own node: its identity and its signing key."""

    identity: bytes
    signature_key: bytes
    source: int
    lifetime: tuple[int, int] | None
    signed: bytes
    signature: bytes

    @classmethod
    def read(cls, reader: Reader) -> "LeafNode":
        """Read one leaf node of a key package or of a commit's path."""
        start = reader.position
        reader.vector()  # encryption key
        signature_key = reader.vector()
        reader.expect(BASIC_CREDENTIAL, 2, "a credential's type")
        identity = reader.vector()
        for _ in ("versions", "cipher suites", "extensions", "proposals", "credentials"):
            reader.vector()
        source = reader.number(1)
        lifetime = None
        if source == FROM_KEY_PACKAGE:
            lifetime = (reader.number(8), reader.number(8))
        elif source == FROM_COMMIT:
            reader.vector()  # parent hash
        reader.vector()  # extensions
        signed = reader.content[start : reader.position]
        return cls(identity, signature_key, source, lifetime, signed, reader.vector())


@dataclass(frozen=True, slots=True)
class KeyPackage:
    """What a client offers so that others can add it to a group."""

    content: bytes
    leaf: LeafNode

    @classmethod
    def parse(cls, content: bytes, *, identity: bytes) -> "KeyPackage":
        """Read and check a client's bare key package. Raises RemoteProtocolError where `identity` may not offer it."""
        reader = Reader(content)
        reader.expect(MLS_10, 2, "a key package's version")
        reader.expect(SUITE, 2, "a key package's suite")
        reader.vector()  # init key
        leaf = LeafNode.read(reader)
        reader.vector()  # extensions
        signed = content[: reader.position]
        signature = reader.vector()
        if reader.rest:
            raise RemoteProtocolError(f"{len(reader.rest)} bytes follow a key package")
        if leaf.source != FROM_KEY_PACKAGE or leaf.lifetime != LIFETIME:
            raise RemoteProtocolError("a key package's leaf has a lifetime that DAVE does not allow")
        if leaf.identity != identity:
            raise RemoteProtocolError("a key package names somebody else")
        verify(leaf.signature_key, "LeafNodeTBS", leaf.signed, leaf.signature)
        verify(leaf.signature_key, "KeyPackageTBS", signed, signature)
        return cls(content, leaf)

    @property
    def reference(self) -> bytes:
        """The hash by which a welcome names its receiver."""
        return reference("KeyPackage Reference", self.content)


class MlsExternalSender:
    """The voice server as MLS members know it: it may propose, and nothing else."""

    def __init__(self, identity: bytes = b"\x00") -> None:
        """A fresh key. `identity`: a public capture of Discord's gateway shows this single zero byte."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.package = vector(point) + struct.pack("!H", BASIC_CREDENTIAL) + vector(identity)
        """The contents of op 25."""

    def propose(self, *, group_id: bytes, epoch: int, proposal: bytes) -> "Proposal":
        """A signed proposal for one epoch of a group; an external sender's signature covers no group context."""
        head = struct.pack("!HH", MLS_10, PUBLIC_MESSAGE)
        framed = vector(group_id) + struct.pack("!QBI", epoch, EXTERNAL, 0) + vector(b"") + bytes((PROPOSAL,)) + proposal
        signature = self._key.sign(signed_content("FramedContentTBS", head + framed), ec.ECDSA(SHA256()))
        body = framed + vector(signature)
        return Proposal(head + body, reference("Proposal Reference", struct.pack("!H", PUBLIC_MESSAGE) + body))


@dataclass(frozen=True, slots=True)
class Proposal:
    """An MLSMessage with one proposal, and the hash by which a commit names it."""

    message: bytes
    reference: bytes


def add(key_package: KeyPackage) -> bytes:
    """A proposal's body: add the owner of this key package."""
    return struct.pack("!H", ADD) + key_package.content


def remove(leaf: int) -> bytes:
    """A proposal's body: remove the member at this leaf."""
    return struct.pack("!HI", REMOVE, leaf)


@dataclass(frozen=True, slots=True)
class Commit:
    """A member's commit: which proposals it applies, in which order."""

    message: bytes
    group_id: bytes
    epoch: int
    leaf: int
    references: tuple[bytes, ...]

    @classmethod
    def read(cls, reader: Reader) -> "Commit":
        """Read a commit in a PublicMessage to its end, which only its own structure shows."""
        start = reader.position
        reader.expect(MLS_10, 2, "a commit's version")
        reader.expect(PUBLIC_MESSAGE, 2, "a commit's wire format")
        group_id, epoch = reader.vector(), reader.number(8)
        reader.expect(MEMBER, 1, "a commit's sender")
        leaf = reader.number(4)
        reader.vector()  # authenticated data
        reader.expect(COMMIT, 1, "a commit's content type")
        references = _read_references(Reader(reader.vector()))
        if reader.number(1):
            LeafNode.read(reader)
            reader.vector()  # the path's nodes
        for _ in ("signature", "confirmation tag", "membership tag"):
            reader.vector()
        return cls(reader.content[start : reader.position], group_id, epoch, leaf, references)


def _read_references(reader: Reader) -> tuple[bytes, ...]:
    found = []
    while reader.rest:
        reader.expect(BY_REFERENCE, 1, "the kind of a committed proposal")
        found.append(reader.vector())
    return tuple(found)


@dataclass(frozen=True, slots=True)
class MlsWelcome:
    """A bare MlsWelcome: one secret per new member, and the group's state for all of them."""

    secrets: dict[bytes, bytes]
    """Key package reference -> EncryptedGroupSecrets as they came."""
    group_info: bytes

    @classmethod
    def parse(cls, content: bytes) -> "MlsWelcome":
        """Read a welcome to the end of the bytes."""
        reader = Reader(content)
        reader.expect(SUITE, 2, "a welcome's suite")
        entries = Reader(reader.vector())
        secrets = {}
        while entries.rest:
            start = entries.position
            new_member = entries.vector()
            entries.vector()  # KEM output
            entries.vector()  # ciphertext
            secrets[new_member] = entries.content[start : entries.position]
        group_info = reader.vector()
        if reader.rest:
            raise RemoteProtocolError(f"{len(reader.rest)} bytes follow a welcome")
        return cls(secrets, group_info)

    def cut_for(self, key_package: KeyPackage) -> bytes:
        """The welcome with only this receiver's secret."""
        return struct.pack("!H", SUITE) + vector(self.secrets[key_package.reference]) + vector(self.group_info)


def read_commit_welcome(payload: bytes) -> tuple[Commit, MlsWelcome | None]:
    """Op 28: a commit and, where it adds somebody, the welcome after it. Raises RemoteProtocolError for anything else."""
    reader = Reader(payload)
    commit = Commit.read(reader)
    return commit, MlsWelcome.parse(reader.rest) if reader.rest else None
