"""DaveyMember: a member on davey, the other implementation of DAVE, which other bots use."""

import davey

from discordplex.loopback.discord.voice.dave.member import DaveMember

PASSTHROUGH_S = 10
"""How long unencrypted packets still pass after an upgrade (davey's own default)."""


class DaveyMember(DaveMember):
    """Sending keys change as soon as a commit is processed: davey does not wait for the execution of a transition."""

    max_version = davey.DAVE_PROTOCOL_VERSION

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id)
        self._session = davey.DaveSession(self.max_version, int(user_id), 0)

    @property
    def members(self) -> frozenset[str]:
        """Who is in the group."""
        return frozenset(map(str, self._session.get_user_ids())) if self._session.ready else frozenset()

    @property
    def privacy_code(self) -> str | None:
        """As davey makes it."""
        return self._session.voice_privacy_code or None

    def _start(self, version: int) -> None:
        self._session.reinit(version, int(self.user_id), int(self._channel_id))

    def _set_sender(self, package: bytes) -> None:
        self._session.set_external_sender(package)

    def _key_package(self) -> bytes:
        return self._session.get_serialized_key_package()

    def _commit_to(self, proposals: bytes, expected: frozenset[str]) -> bytes | None:
        kind = davey.ProposalsOperationType.revoke if proposals[0] else davey.ProposalsOperationType.append
        found = self._session.process_proposals(kind, proposals[1:], [int(user_id) for user_id in expected])
        return found.commit + (found.welcome or b"") if found else None

    def _process_commit(self, commit: bytes) -> bool:
        try:
            self._session.process_commit(commit)
        except ValueError:
            return False
        return True

    def _process_welcome(self, welcome: bytes) -> bool:
        try:
            self._session.process_welcome(welcome)
        except ValueError:
            return False
        return True

    def _prepare_keys(self, number: int, version: int) -> None:  # noqa: ARG002  # davey has changed already, whatever the number
        self._session.set_passthrough_mode(version == 0, PASSTHROUGH_S)

    def _execute_keys(self, number: int, version: int) -> None:
        """Nothing: davey has changed already."""

    def _encrypt(self, ssrc: int, opus: bytes) -> bytes | None:  # noqa: ARG002  # davey has one key for all streams
        return self._session.encrypt_opus(opus) if self._session.ready else None

    def _decrypt(self, user_id: str, payload: bytes) -> bytes | None:
        try:
            return self._session.decrypt(int(user_id), davey.MediaType.audio, payload)
        except ValueError:
            return None
