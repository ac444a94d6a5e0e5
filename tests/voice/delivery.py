"""The voice server's half of the encrypted group, as small as a test needs it: one external sender that adds and removes members.

Layouts: RFC 9420 with cipher suite 2 (P-256, AES-128-GCM, SHA-256), as Discord's DAVE protocol uses it.
"""

import struct

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from discordplex.metrics import Metrics
from discordplex.voice.dave.session import DaveSession
from discordplex.voice.gateway.events import (
    AnnounceCommit,
    E2eeCommand,
    ExecuteTransition,
    ExternalSender,
    Proposals,
    SendCommitWelcome,
    SendKeyPackage,
    SendReadyForTransition,
    Welcome,
)

PUBLIC_MESSAGE = bytes.fromhex("00010001")
EXTERNAL, PROPOSAL = b"\x02\x00\x00\x00\x00", b"\x02"
ADD, REMOVE = b"\x00\x01", b"\x00\x03"


def vector(content: bytes) -> bytes:
    """A vector with its length in front, as a QUIC integer."""
    if len(content) < 1 << 6:
        return bytes((len(content),)) + content
    if len(content) < 1 << 14:
        return struct.pack("!H", len(content) | 0x4000) + content
    return struct.pack("!I", len(content) | 0x80000000) + content


class Reader:
    """Walks through a message."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.at = 0

    def skip(self, count: int) -> None:
        self.at += count

    def vector(self) -> bytes:
        width = 1 << (self.message[self.at] >> 6)
        length = int.from_bytes(self.message[self.at : self.at + width], "big") & (1 << (8 * width - 2)) - 1
        start = self.at + width
        self.at = start + length
        return self.message[start : self.at]

    def vectors(self, count: int) -> None:
        for _ in range(count):
            self.vector()


def commit_length(message: bytes) -> int:
    """Where the commit ends and the welcome begins: nothing between them says so."""
    reader = Reader(message)
    reader.skip(4)  # version, public message
    reader.vector()  # group id
    reader.skip(8 + 1 + 4)  # epoch, sender of kind member, leaf
    reader.vector()  # authenticated data
    reader.skip(1)  # commit
    reader.vector()  # proposal references
    reader.skip(1)
    if message[reader.at - 1]:  # an update path
        reader.vectors(2)  # encryption key, signature key
        reader.skip(2)  # basic credential
        reader.vectors(1 + 5)  # identity, capabilities
        reader.skip(1)  # leaf node of a commit
        reader.vectors(3 + 1)  # parent hash, extensions, signature; path nodes
    reader.vectors(3)  # signature, confirmation tag, membership tag
    return reader.at


class Member:
    """One client of the call."""

    def __init__(self, user_id: int, ssrc: int) -> None:
        self.user_id = user_id
        self.ssrc = ssrc
        self.metrics = Metrics()
        self.e2ee = DaveSession(user_id=user_id, metrics=self.metrics)
        self.key_package = b""

    def take(self, commands: list[E2eeCommand]) -> list[E2eeCommand]:
        """Keep the newest key package, and give the rest."""
        for command in commands:
            if isinstance(command, SendKeyPackage):
                self.key_package = command.package
        return [command for command in commands if not isinstance(command, SendKeyPackage)]


class Delivery:
    """A call's delivery service. Members enter one by one; every commit is the first member's."""

    def __init__(self, channel_id: int = 7) -> None:
        self.channel_id = channel_id
        self.members: list[Member] = []
        self.leaves: list[Member | None] = []
        self.epoch = 0
        self.transition_id = 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        self.external_sender = vector(public) + b"\x00\x01" + vector(b"\x00")

    def arrive(self, member: Member) -> None:
        """Let a client into the call, not yet into its group."""
        for other in self.members:
            other.e2ee.join([member.user_id])
        member.e2ee.join([other.user_id for other in self.members])
        self.members.append(member)
        member.take(member.e2ee.start(channel_id=self.channel_id, ssrc=member.ssrc, protocol_version=1))
        assert member.e2ee.receive(ExternalSender(self.external_sender)) == []

    def proposal(self, body: bytes) -> bytes:
        content = PUBLIC_MESSAGE + vector(self.channel_id.to_bytes(8, "big")) + struct.pack("!Q", self.epoch) + EXTERNAL
        content += vector(b"") + PROPOSAL + body
        signed = vector(b"MLS 1.0 FramedContentTBS") + vector(content)
        return content + vector(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))

    def proposals(self, *bodies: bytes) -> bytes:
        """What op 27 carries."""
        return b"\x00" + vector(b"".join(self.proposal(body) for body in bodies))

    def propose(self, to: Member, *bodies: bytes) -> tuple[bytes, bytes]:
        """Have a member commit to these proposals: its commit, and the welcome for those it adds."""
        payload = self.proposals(*bodies)
        for other in self.members:
            if other is not to and other in self.leaves:
                other.take(other.e2ee.receive(Proposals(payload)))
        (command,) = to.take(to.e2ee.receive(Proposals(payload)))
        assert isinstance(command, SendCommitWelcome)
        end = commit_length(command.payload)
        self.epoch += 1
        self.transition_id += 1
        return command.payload[:end], command.payload[end:]

    def admit(self, newcomer: Member) -> int:
        """Add a client to the group, up to everybody's readiness; the transition that op 22 would execute."""
        committer = self.members[0]
        if not self.leaves:
            self.leaves = [committer]
        commit, welcome = self.propose(committer, ADD + newcomer.key_package)
        self.announce(commit)
        self.leaves.append(newcomer)
        ready = newcomer.take(newcomer.e2ee.receive(Welcome(self.transition_id, welcome)))
        assert ready == [SendReadyForTransition(self.transition_id)]
        return self.transition_id

    def remove_member(self, member: Member) -> int:
        """Remove a client that has left."""
        leaf = self.leaves.index(member)
        self.leaves[leaf] = None
        self.members.remove(member)
        for other in self.members:
            other.e2ee.leave(member.user_id)
        commit, _ = self.propose(self.members[0], REMOVE + struct.pack("!I", leaf))
        self.announce(commit)
        return self.transition_id

    def announce(self, commit: bytes) -> None:
        for member in self.members:
            if member in self.leaves:
                ready = member.take(member.e2ee.receive(AnnounceCommit(self.transition_id, commit)))
                assert ready == [SendReadyForTransition(self.transition_id)]

    def execute(self, transition_id: int) -> None:
        for member in self.members:
            assert member.e2ee.receive(ExecuteTransition(transition_id)) == []


def call_of(*user_ids: int) -> tuple[Delivery, list[Member]]:
    """A call whose members have all been admitted, one after the other."""
    delivery = Delivery()
    members = [Member(user_id, ssrc) for ssrc, user_id in enumerate(user_ids, start=100)]
    for member in members:
        delivery.arrive(member)
        if member is not members[0]:
            delivery.execute(delivery.admit(member))
    return delivery, members
