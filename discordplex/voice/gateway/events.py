"""The events of a voice gateway, and the encrypted group's answers to them. Pure."""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of every connection."""

    heartbeat_interval_s: float


@dataclass(frozen=True, slots=True)
class GatewayReady:
    """A new session: our SSRC, and where to send datagrams."""

    ssrc: int
    host: str
    port: int
    modes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """The transport's key: audio may flow."""

    mode: str
    key: bytes = field(repr=False)
    dave_protocol_version: int


@dataclass(frozen=True, slots=True)
class GatewayResumed:
    """The session goes on; what we missed was sent again before this."""


@dataclass(frozen=True, slots=True)
class HeartbeatAcked:
    """The answer to a heartbeat, with the number it carried."""

    nonce: int


@dataclass(frozen=True, slots=True)
class Speaking:
    """The person with this SSRC starts or stops speaking. Stops are not reported reliably."""

    user_id: int
    ssrc: int
    speaking: bool


@dataclass(frozen=True, slots=True)
class PeopleJoined:
    """To a newcomer: everybody else in the channel; to the others: the newcomer."""

    user_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PersonGone:
    """Somebody left the channel."""

    user_id: int


@dataclass(frozen=True, slots=True)
class PrepareTransition:
    """End-to-end encryption changes its version; transition 0 at once, others at ExecuteTransition."""

    transition_id: int
    protocol_version: int


@dataclass(frozen=True, slots=True)
class ExecuteTransition:
    """From now on senders use what the transition prepared."""

    transition_id: int


@dataclass(frozen=True, slots=True)
class PrepareEpoch:
    """A new epoch. Epoch 1 discards the group."""

    protocol_version: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ExternalSender:
    """The signer of the proposals that add and remove members."""

    package: bytes


@dataclass(frozen=True, slots=True)
class Proposals:
    """Proposals to append or to revoke, as the MLS library wants them."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class AnnounceCommit:
    """The commit that won the epoch."""

    transition_id: int
    commit: bytes


@dataclass(frozen=True, slots=True)
class Welcome:
    """Adds us to the group."""

    transition_id: int
    welcome: bytes


E2eeEvent: TypeAlias = PrepareTransition | ExecuteTransition | PrepareEpoch | ExternalSender | Proposals | AnnounceCommit | Welcome
VoiceEvent: TypeAlias = (
    Hello | GatewayReady | SessionDescription | GatewayResumed | HeartbeatAcked | Speaking | PeopleJoined | PersonGone | E2eeEvent
)


@dataclass(frozen=True, slots=True)
class SendKeyPackage:
    """Offer ourselves to the encrypted group."""

    package: bytes


@dataclass(frozen=True, slots=True)
class SendCommitWelcome:
    """Our commit of the proposals, with the welcome of whom it adds."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class SendReadyForTransition:
    """We can read what the transition brings."""

    transition_id: int


@dataclass(frozen=True, slots=True)
class SendInvalidCommitWelcome:
    """We could not process a commit or a welcome and want to be added again."""

    transition_id: int


E2eeCommand: TypeAlias = SendKeyPackage | SendCommitWelcome | SendReadyForTransition | SendInvalidCommitWelcome
