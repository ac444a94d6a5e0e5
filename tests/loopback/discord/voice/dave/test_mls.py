"""MLS on the wire: layouts against the RFC's rules and against two implementations, and nothing but documented errors for the rest."""

import struct

import dave
import davey
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from discordplex.errors import RemoteProtocolError
from discordplex.loopback.discord.voice.dave import mls

CHANNEL, ADA, BEN = 4711, 21, 22
GROUP_ID = CHANNEL.to_bytes(8, "big")


def identity(user: int) -> bytes:
    return user.to_bytes(8, "big")


def libdave_session(sender: mls.MlsExternalSender, user: int) -> dave.Session:
    session = dave.Session(None)
    session.init(1, CHANNEL, str(user), None)
    session.set_external_sender(sender.package)
    return session


def davey_session(sender: mls.MlsExternalSender, user: int) -> davey.DaveSession:
    session = davey.DaveSession(1, user, CHANNEL)
    session.set_external_sender(sender.package)
    return session


@pytest.mark.parametrize(("size", "head"), [(0, "00"), (63, "3f"), (64, "4040"), (16_383, "7fff"), (16_384, "80004000")])
def test_vectors_have_the_shortest_length_that_fits(size: int, head: str) -> None:
    """RFC 9420 section 2.1.2: one, two or four bytes of length, told by the first two bits."""
    written = mls.vector(bytes(size))
    assert written.hex()[: len(head)] == head
    assert mls.Reader(written).vector() == bytes(size)


@given(st.binary(max_size=20_000), st.binary(max_size=10))
def test_a_vector_reads_back_and_leaves_the_rest(content: bytes, rest: bytes) -> None:
    """Whatever a vector holds comes back, and what follows it is untouched."""
    reader = mls.Reader(mls.vector(content) + rest)
    assert reader.vector() == content
    assert reader.rest == rest


@given(st.binary(max_size=400))
@example(b"\xc0")
@example(b"\x00\x01\x00\x02" + b"\xff" * 20)
def test_nonsense_is_refused_with_the_documented_error(nonsense: bytes) -> None:
    """Any bytes at all are read, or refused as the peer's fault, and nothing else happens."""
    for read in (mls.read_commit_welcome, mls.MlsWelcome.parse, lambda content: mls.KeyPackage.parse(content, identity=b"")):
        with pytest.raises(RemoteProtocolError):
            read(nonsense)


def test_an_external_sender_is_a_point_and_a_credential() -> None:
    """Op 25: an uncompressed P-256 point, basic credential, and the one zero byte that Discord's gateway was seen to send."""
    package = mls.MlsExternalSender().package
    reader = mls.Reader(package)
    point = reader.vector()
    assert (len(point), point[0]) == (65, 4)
    assert reader.rest == b"\x00\x01\x01\x00"


def test_a_proposal_has_the_bytes_of_a_public_capture() -> None:
    """Version 1, public message, group id, epoch, external sender 0, no authenticated data, proposal; then a signature and no tags."""
    proposal = mls.MlsExternalSender().propose(group_id=GROUP_ID, epoch=3, proposal=mls.remove(2))
    expected = "0001 0001 08 0000000000001267 0000000000000003 02 00000000 00 02 0003 00000002".replace(" ", "")
    assert proposal.message.hex().startswith(expected)
    signature = mls.Reader(proposal.message[len(expected) // 2 :])
    assert 68 <= len(signature.vector()) <= 72
    assert signature.rest == b""


@pytest.mark.parametrize("library", ["libdave", "davey"])
def test_key_packages_of_both_implementations_are_accepted(library: str) -> None:
    """What libdave and davey send in op 26 is a valid key package of the user who sends it, and of nobody else."""
    sender = mls.MlsExternalSender()
    if library == "libdave":
        content = libdave_session(sender, ADA).get_marshalled_key_package() or b""
    else:
        content = davey_session(sender, ADA).get_serialized_key_package()
    assert mls.KeyPackage.parse(content, identity=identity(ADA)).content == content
    with pytest.raises(RemoteProtocolError, match="somebody else"):
        mls.KeyPackage.parse(content, identity=identity(BEN))


@given(place=st.integers(0, 380), flip=st.integers(1, 255))
def test_a_key_package_with_a_wrong_byte_is_refused(place: int, flip: int) -> None:
    """No byte of a key package can change without its signatures noticing."""
    damaged = bytearray(KEY_PACKAGE)
    damaged[place] ^= flip
    with pytest.raises(RemoteProtocolError):
        mls.KeyPackage.parse(bytes(damaged), identity=identity(ADA))


KEY_PACKAGE = libdave_session(mls.MlsExternalSender(), ADA).get_marshalled_key_package() or b""


@pytest.mark.parametrize("committer", ["libdave", "davey"])
@pytest.mark.parametrize("newcomer", ["libdave", "davey"])
def test_a_commit_ends_where_its_welcome_begins(committer: str, newcomer: str) -> None:
    """Op 28 is taken apart, its references are the proposals' hashes, and the welcome cut to one secret still lets its receiver in."""
    sender = mls.MlsExternalSender()
    new = davey_session(sender, BEN) if newcomer == "davey" else libdave_session(sender, BEN)
    content = new.get_serialized_key_package() if isinstance(new, davey.DaveSession) else new.get_marshalled_key_package()
    package = mls.KeyPackage.parse(content or b"", identity=identity(BEN))
    proposal = sender.propose(group_id=GROUP_ID, epoch=0, proposal=mls.add(package))
    payload = committed(committer, sender, mls.vector(proposal.message))
    commit, welcome = mls.read_commit_welcome(payload)
    assert (commit.group_id, commit.epoch, commit.leaf) == (GROUP_ID, 0, 0)
    assert commit.references == (proposal.reference,)
    assert payload.startswith(commit.message)
    assert welcome is not None
    assert set(welcome.secrets) == {package.reference}
    if isinstance(new, davey.DaveSession):
        new.process_welcome(welcome.cut_for(package))
        assert new.ready
    else:
        assert set(new.process_welcome(welcome.cut_for(package), {str(ADA), str(BEN)}) or ()) == {ADA, BEN}


def committed(library: str, sender: mls.MlsExternalSender, proposals: bytes) -> bytes:
    """Op 28 of somebody who is alone and sees these proposals."""
    if library == "libdave":
        session = libdave_session(sender, ADA)
        session.get_marshalled_key_package()
        return session.process_proposals(b"\x00" + proposals, {str(ADA), str(BEN)}) or b""
    other = davey_session(sender, ADA)
    other.get_serialized_key_package()
    found = other.process_proposals(davey.ProposalsOperationType.append, proposals, [ADA, BEN])
    return found.commit + (found.welcome or b"") if found else b""


def test_a_commit_by_value_is_refused() -> None:
    """A commit may name proposals, and not bring its own."""
    head = struct.pack("!HH", 1, 1) + mls.vector(GROUP_ID) + struct.pack("!QBI", 0, 1, 0) + mls.vector(b"") + b"\x03"
    by_value = head + mls.vector(b"\x01" + mls.remove(1)) + b"\x00" + mls.vector(b"") * 3
    with pytest.raises(RemoteProtocolError, match="committed proposal"):
        mls.read_commit_welcome(by_value)
