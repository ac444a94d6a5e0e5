"""LibdaveMember: a member on Discord's own libdave, through dave.py, as Discord's clients are."""

import logging

import dave

from discordplex.loopback.discord.voice.dave.member import DaveMember

KEEP_OLD_KEYS_S = 10.0
"""How long the former epoch's keys still decrypt late packets (the protocol's own figure)."""

CODE_DIGITS, CODE_GROUP = 30, 5
"""The length of the voice privacy code, and of its groups of digits."""

logging.getLogger("dave").setLevel(logging.CRITICAL)  # libdave logs each failed attempt as an error; here failures are counted


class LibdaveMember(DaveMember):
    """Keys change for sending at the execution of a transition and not before, as in Discord's clients."""

    max_version = dave.get_max_supported_protocol_version()

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id)
        self._session = dave.Session(None)
        self._encryptor = dave.Encryptor()
        self._decryptors: dict[str, dave.Decryptor] = {}
        self._own_ratchets: dict[int, dave.IKeyRatchet | None] = {}
        self._roster: dict[int, list[int]] = {}

    @property
    def members(self) -> frozenset[str]:
        """Who is in the group. libdave reports the difference to its last report, across groups."""
        if not self._session.has_established_group():
            return frozenset()
        return frozenset(str(user_id) for user_id, key in self._roster.items() if key)

    @property
    def privacy_code(self) -> str | None:
        """Computed from the epoch's authenticator."""
        authenticator = self._session.get_last_epoch_authenticator()
        return dave.generate_displayable_code(authenticator, CODE_DIGITS, CODE_GROUP) if authenticator else None

    def _start(self, version: int) -> None:
        self._session.init(version, int(self._channel_id), self.user_id, None)

    def _set_sender(self, package: bytes) -> None:
        self._session.set_external_sender(package)

    def _key_package(self) -> bytes:
        return self._session.get_marshalled_key_package() or b""

    def _commit_to(self, proposals: bytes, expected: frozenset[str]) -> bytes | None:
        return self._session.process_proposals(proposals, set(expected))

    def _process_commit(self, commit: bytes) -> bool:
        changed = self._session.process_commit(commit)
        if isinstance(changed, dave.RejectType):
            return changed is dave.RejectType.ignored
        self._roster |= changed
        return True

    def _process_welcome(self, welcome: bytes) -> bool:
        changed = self._session.process_welcome(welcome, {*self.peers, self.user_id})
        if changed is None:
            return False
        self._roster |= changed
        return True

    def _prepare_keys(self, number: int, version: int) -> None:
        self._own_ratchets[number] = self._session.get_key_ratchet(self.user_id) if version else None
        for user_id in (self.peers | self.members) - {self.user_id}:
            decryptor = self._decryptors.setdefault(user_id, dave.Decryptor())
            decryptor.transition_to_passthrough_mode(version == 0, KEEP_OLD_KEYS_S)
            ratchet = self._session.get_key_ratchet(user_id) if version else None
            if ratchet is not None:
                decryptor.transition_to_key_ratchet(ratchet, KEEP_OLD_KEYS_S)

    def _execute_keys(self, number: int, version: int) -> None:
        """The session may have advanced by an epoch, where others cannot follow yet, so the ratchet is that of the transition."""
        ratchet = self._own_ratchets.pop(number, None)
        self._encryptor.set_passthrough_mode(version == 0)
        if version:
            self._encryptor.set_key_ratchet(ratchet)

    def _encrypt(self, ssrc: int, opus: bytes) -> bytes | None:
        if not self._encryptor.has_key_ratchet():
            return None
        self._encryptor.assign_ssrc_to_codec(ssrc, dave.Codec.opus)
        return self._encryptor.encrypt(dave.MediaType.audio, ssrc, opus)

    def _decrypt(self, user_id: str, payload: bytes) -> bytes | None:
        decryptor = self._decryptors.get(user_id)
        return decryptor.decrypt(dave.MediaType.audio, payload) if decryptor else None
