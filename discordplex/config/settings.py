"""The settings, as frozen models that are validated once.

`config.example.toml` documents every key. `Config.load` reads, the strongest first: the command line, the environment, `.env`, the files of
`secrets_dir`, a TOML file, the defaults. The constructor of `Config` reads nothing.
"""

import contextlib
import functools
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import Self

from discordplex.config.sources import (
    Given,
    files_of,
    from_dotenv,
    from_environ,
    from_overrides,
    from_secrets,
    from_toml,
    list_of,
    nest,
    table_of,
    unknown,
)
from discordplex.config.values import (
    ApiKey,
    ApiUrl,
    BaseUrl,
    BotToken,
    Captions,
    ClusterUrl,
    EngineKind,
    EngineKinds,
    EngineName,
    EngineUrls,
    Ids,
    Line,
    ListenAddress,
    MemorySeconds,
    Password,
    Prefix,
    RealtimeUrl,
    Text,
    Voices,
)
from discordplex.errors import ConfigError
from discordplex.redact import MASK, redact, shown_url

CONFIG_FILE = Path("discordplex.toml")
"""Read where no other file is named; may be missing."""

DOTENV_FILE = Path(".env")

SECRETS_DIR = "secrets_dir"
"""The key that names the folder of secrets."""


FRIEND = "You are a playful friend in a voice channel: you joke, you tease kindly, you are curious about people, you keep it short."
"""Who the cascade and Realtime models are unless told otherwise."""


class Section(BaseModel):
    """One table of the configuration: frozen, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class DiscordConfig(Section):
    """Which Discord, and the bot's account."""

    token: BotToken | None = None
    api_url: ApiUrl = "https://discord.com/api/v10"
    shards: int = Field(default=0, ge=0, le=1024)
    """Into how many gateway connections the bot is divided; 0: as many as Discord recommends."""


class BotConfig(Section):
    """When a call exists and where its captions go."""

    auto_join: bool = True
    captions: Captions = "voice"
    """`voice` (the voice channel's own chat), `thread` (one for each call), a text channel's id, or `off`."""
    captions_of_people: bool = False
    """Whether the captions also show what people say, where an engine or the ears transcribe it; a guild's admins may decide otherwise."""
    prefix: Prefix = ""
    """What stands before `join`, `listen`, `stop` and `leave` written as messages; empty: messages are not read."""
    allow_channels: Ids = ()
    """Where the bot talks; empty means everywhere."""
    deny_channels: Ids = ()
    allow_roles: Ids = ()
    """Who may call it; empty means everybody."""
    deny_roles: Ids = ()
    idle_minutes: float = Field(default=0.0, ge=0, le=10080)
    """It leaves after this long without speech; 0 means never."""
    busy_idle_minutes: float = Field(default=5.0, ge=0, le=10080)
    """The same while others wait for an engine, or for the bot to join another channel of the server; 0 means never."""
    max_minutes: float = Field(default=0.0, ge=0, le=10080)
    """When others wait, a call ends after this long; 0 means never."""
    hear_bots: bool = False
    noise_gate: bool = False
    voice_status: bool = True


class LimitsConfig(Section):
    """What engines that cost money may cost. A server of one's own without a key costs nothing."""

    minutes_per_day: int = Field(default=0, ge=0, le=1440)
    """Call minutes that a guild may use in 24 hours on such engines; 0 means no limit."""
    idle_minutes: float = Field(default=5.0, ge=0, le=10080)
    """A call on such an engine ends after this long without speech; 0 means never. The other limits without speech apply too."""


class EngineConfig(Section):
    """Which engine answers."""

    kind: EngineKinds = "personaplex"
    """One kind, or several in order of preference."""
    name: EngineName = ""
    """How people are told where their voice goes; empty: by the kind of the engine. Of several kinds, it is the first one's name."""
    return_to_preferred: bool = False
    """Whether a call returns to the first kind when that is free again and nobody waits for it."""
    voices: Voices = {}
    """For voices of one kind, their names on other kinds."""
    summary: bool = False
    """Whether the cascade's chat model writes a summary of the call for the engine's next conversation."""
    renewal_pause_s: float = Field(default=3.0, ge=0.4, le=60)
    """The pause in which a conversation is renewed where no second server is free."""

    @property
    def only_name(self) -> str:
        """`name`, if there is one kind. Of several, the provider names the first one."""
        return "" if len(self.kinds) > 1 else self.name

    @property
    def kinds(self) -> tuple[EngineKind, ...]:
        """The kinds in order of preference, at least one."""
        return self.kind if isinstance(self.kind, tuple) else (self.kind,)


class PersonaPlexConfig(Section):
    """The PersonaPlex servers; each carries one call at a time."""

    urls: EngineUrls = ("ws://localhost:8998/api/chat",)
    handshake_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    memory_s: MemorySeconds = Field(default=240.0, ge=0, le=86400)
    """After how long the model has forgotten its voice and role; 0: never."""
    recap_tokens: int = Field(default=80, ge=0, le=1000)
    """How much of what was said a new conversation of the same call is told."""
    verify_tls: bool = True


class RealtimeConfig(Section):
    """A server that speaks the OpenAI Realtime protocol."""

    url: RealtimeUrl = "https://api.openai.com/v1"
    api_key: ApiKey | None = None
    model: Line = "gpt-realtime-2.1-mini"
    dialect: Literal["auto", "openai", "azure", "xai", "vllm-omni", "gpt-live"] = "auto"
    voice: Line = ""
    """Empty: the service's own."""
    instructions: Text = FRIEND
    max_calls: int = Field(default=4, gt=0, le=1000)
    turn_detection: Literal["server_vad", "semantic_vad", "none"] = "server_vad"
    """Who tells that somebody has finished: the server by pauses, the server by what was said, or the bot by pauses."""
    transcription_model: Line = "gpt-transcribe"
    """Which model writes down what people say; empty: none does."""


class ServiceConfig(Section):
    """One service of the cascade: which model at which server."""

    base_url: BaseUrl | None = None
    """Where None, the cascade's own URL and key are used."""
    api_key: ApiKey | None = None
    model: Text
    timeout_s: float = Field(default=20.0, gt=0, le=3600)
    """The longest time in which the server sends nothing useful."""
    total_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """The longest time from a request to the end of its answer."""
    extra: dict[str, Any] = {}
    """Put into the body of each request, replacing keys of the same name."""


class TranscribeConfig(ServiceConfig):
    """Speech to text."""

    model: Text = "whisper-1"


class ThinkConfig(ServiceConfig):
    """Text to the reply."""

    model: Text = "gpt-4o-mini"
    total_timeout_s: float = Field(default=120.0, gt=0, le=3600)


class SpeakConfig(ServiceConfig):
    """The reply to speech."""

    model: Text = "tts-1"
    voice: Text = "shimmer"
    rate_hz: int | None = Field(default=None, ge=8_000, le=192_000)
    """The rate of sound without a header; where None, what its content type says, else 24,000."""


class CascadeConfig(Section):
    """Listen, transcribe, think, speak: any OpenAI-compatible server for each service."""

    base_url: BaseUrl = "https://api.openai.com/v1"
    api_key: ApiKey | None = None
    text_prompt: Text = FRIEND
    max_calls: int = Field(default=4, gt=0, le=1000)
    end_of_speech_ms: int = Field(default=500, gt=0, le=10000)
    history_tokens: int = Field(default=4000, gt=0, le=10000000)
    first_chunk_chars: int = Field(default=24, gt=0, le=1000)
    transcribe: TranscribeConfig = TranscribeConfig()
    think: ThinkConfig = ThinkConfig()
    speak: SpeakConfig = SpeakConfig()

    @property
    def has_chat_model(self) -> bool:
        """Whether somebody set up `think`: a key, or a server of their own."""
        url = self.think.base_url or self.base_url
        return bool(self.think.api_key or self.api_key) or url != CascadeConfig.model_fields["base_url"].default


class HearingConfig(Section):
    """Ears beside an engine that does not write down what people say. They use `cascade.transcribe` and `cascade.end_of_speech_ms`."""

    enabled: bool = False
    name: EngineName = ""
    """How people are told who transcribes; empty: the model."""


class PersonaConfig(Section):
    """PersonaPlex's default persona; the cascade's is in its own table."""

    voice: Text = "NATF0.pt"
    text_prompt: Text = "You are a wise and friendly teacher. Answer questions or provide advice in a clear and engaging way."


class StoreConfig(Section):
    """Where settings live that outlive a restart."""

    url: Text = "sqlite+aiosqlite:///discordplex.db"


class ClusterConfig(Section):
    """What processes of the same bot share."""

    url: ClusterUrl | None = None


class MonitoringConfig(Section):
    """Where the bot can be observed from outside."""

    listen: ListenAddress = ""
    """The address and port of `/metrics`, `/healthz`, `/readyz` and the status page; empty: nothing listens."""
    password: Password | None = None
    show_names: bool = False
    """Whether the status page names servers, channels, people and engine addresses."""
    traces_url: BaseUrl | None = None
    """The OpenTelemetry collector that gets the traces of calls; None: nobody does."""


class Config(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secrets_dir: Line = ""
    """The folder with one file for each secret; empty: none."""
    discord: DiscordConfig = DiscordConfig()
    bot: BotConfig = BotConfig()
    limits: LimitsConfig = LimitsConfig()
    engine: EngineConfig = EngineConfig()
    personaplex: PersonaPlexConfig = PersonaPlexConfig()
    realtime: RealtimeConfig = RealtimeConfig()
    cascade: CascadeConfig = CascadeConfig()
    hearing: HearingConfig = HearingConfig()
    persona: PersonaConfig = PersonaConfig()
    store: StoreConfig = StoreConfig()
    cluster: ClusterConfig = ClusterConfig()
    monitoring: MonitoringConfig = MonitoringConfig()

    @property
    def default_persona(self) -> PersonaConfig:
        """The default persona of the preferred kind of engine."""
        return self.persona_of(self.engine.kinds[0])

    def persona_of(self, kind: EngineKind) -> PersonaConfig:
        """The default persona of a kind of engine: voices of one kind mean nothing to another."""
        if kind == "realtime":
            return PersonaConfig.model_construct(voice=self.realtime.voice, text_prompt=self.realtime.instructions)
        if kind == "cascade":
            return PersonaConfig(voice=self.cascade.speak.voice, text_prompt=self.cascade.text_prompt)
        return self.persona

    @property
    def secrets(self) -> list[SecretStr]:
        """Every secret that is set."""
        return [value for key in KEYS if is_secret(key) and (value := self.value_of(key)) is not None]

    @property
    def passwords(self) -> Iterator[SecretStr]:
        """The passwords within URLs, both URL-encoded and decoded."""
        for value in (self.value_of(key) for key in KEYS if is_url(key)):
            for url in [value] if isinstance(value, str) else value or ():
                with contextlib.suppress(ValueError):
                    password = urlsplit(url).password or ""
                    yield from (SecretStr(form) for form in {password, unquote(password)})

    def value_of(self, key: str) -> Any:
        """The value of a dotted key."""
        return functools.reduce(getattr, key.split("."), self)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only what the constructor was given: `load` collects the sources itself, since its errors say where a value came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @classmethod
    def load(cls, path: Path | None = None, environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None) -> Self:
        """Load the settings.

        `overrides` (by dotted key) take precedence over `environ` (os.environ where None), `.env`, the files of `secrets_dir`, and the
        TOML file at `path`.

        Without a path `discordplex.toml` in the working directory is read where it exists. Raises ConfigError with one plain sentence per
        line.
        """
        return cls.validated(gather(path, os.environ if environ is None else environ, overrides or {}))

    @classmethod
    def validated(cls, given: Mapping[str, Given]) -> Self:
        """Settings with these values, the rest by default. Raises ConfigError with a sentence for each invalid value."""
        values = {key: parsed(one, KEYS[key]) for key, one in given.items()}
        try:
            config = cls(**nest(values))
        except ValidationError as fault:
            raise ConfigError("\n".join(sentence(error, given, values) for error in fault.errors(include_url=False))) from None
        if config.cluster.url and config.store.url.startswith("sqlite"):
            raise ConfigError(
                f"store.url ({given['store.url'].place}) is an SQLite database, which other processes of cluster.url do not see: remove it."
            )
        return config


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a model with its field."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


KEYS = dict(leaves(Config))
"""Every setting by its dotted key."""


TABLES = frozenset(key for key, field in KEYS.items() if "dict" in str(field.annotation))
"""Of these, the keys whose value is a table."""


CLEAR = frozenset(
    {
        "bot.prefix",
        "engine.name",
        "engine.voices",
        "hearing.name",
        "monitoring.listen",
        "persona.voice",
        "persona.text_prompt",
        "realtime.model",
        "realtime.voice",
        "realtime.instructions",
        "realtime.transcription_model",
        "secrets_dir",
        "cascade.text_prompt",
        "cascade.transcribe.model",
        "cascade.think.model",
        "cascade.speak.model",
        "cascade.speak.voice",
    }
)
"""Free texts that `config show` prints: they are shown to people in Discord, or sent to every server, anyway. Other texts are masked."""

LONG_NUMBER = 1_000_000
"""A number this large in a table for somebody else may be a secret."""


def exposed(file: Path) -> bool:
    """Whether a settings file holds a secret and other users of this machine may read it. A file that cannot be read holds none."""
    try:
        if not open_to(file, stat.S_IRWXG | stat.S_IRWXO):
            return False
        given = from_toml(file, Config, TABLES) if file.suffix == ".toml" else from_dotenv(file)
    except (OSError, ConfigError):
        return False
    return any(holds_secret(key, one.value) for key, one in given.items() if key in KEYS)


def exposed_secrets(folder: str) -> list[Path]:
    """The files in the folder of secrets that any user of this machine may read.

    The group does not count: Kubernetes gives the files to a group of the container. Nor do files in a folder that is closed to others.
    """
    try:
        if not (folder and open_to(Path(folder), stat.S_IXOTH)):
            return []
        return [file for file in files_of(Path(folder)) if open_to(file, stat.S_IRWXO)]
    except (OSError, ConfigError):
        return []


def open_to(file: Path, others: int) -> bool:
    """Whether the mode of a file or folder has any of these bits; never where there are no such modes. Raises OSError."""
    return os.name == "posix" and bool(file.stat().st_mode & others)


def exposed_files(path: Path | None, config: Config) -> list[Path]:
    """The files with secrets that other users of this machine may read, of those that `load` read with this path."""
    return [*(file for file in settings_files(path) if exposed(file)), *exposed_secrets(config.secrets_dir)]


def holds_secret(key: str, value: Any) -> bool:
    """Whether a value is a secret, or has one in it."""
    urls = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return bool(value) and (is_secret(key) or (is_url(key) and any(MASK in shown_url(str(url)) for url in urls)))


def settings_files(path: Path | None) -> list[Path]:
    """The files that `load` reads with this path."""
    return [file for file in (path or CONFIG_FILE, DOTENV_FILE) if file.is_file()]


def is_secret(key: str) -> bool:
    """Whether the value of this key is a secret."""
    return "SecretStr" in str(KEYS[key].annotation)


def gather(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> dict[str, Given]:
    """All values that are set, by dotted key, the strongest source first. Raises ConfigError for an unreadable source or an unknown key."""
    if path is not None and not path.is_file():
        raise ConfigError(f"The settings file {path} does not exist.")
    # What exists and cannot be read, such as the folder that a container's mount makes in place of a file, must not be ignored.
    file = path or (CONFIG_FILE if os.path.lexists(CONFIG_FILE) else None)
    toml = from_toml(file, Config, TABLES) if file else {}
    stronger = [from_dotenv(DOTENV_FILE), from_environ(environ), from_overrides(overrides)]
    sources = [toml, secrets_of([toml, *stronger]), *stronger]
    problems = [misplaced(key, one) for source in sources for key, one in source.items() if key not in KEYS]
    if problems:
        raise ConfigError("\n".join(problems))
    given = {key: one for source in sources for key, one in source.items()}
    if "cluster.url" in given and given["cluster.url"].value:
        given.setdefault("store.url", given["cluster.url"])
    return given


def secrets_of(sources: Iterable[Mapping[str, Given]]) -> dict[str, Given]:
    """The settings in the folder that the last of these sources names as `secrets_dir`. Raises ConfigError if it cannot be used."""
    named = [source[SECRETS_DIR].value for source in sources if SECRETS_DIR in source]
    folder = named[-1].strip() if named and isinstance(named[-1], str) else ""
    found = from_secrets(Path(folder), KEYS) if folder else {}
    if SECRETS_DIR in found:
        raise ConfigError(f"{found[SECRETS_DIR]} cannot name another folder of secrets: remove that file.")
    return found


def misplaced(key: str, given: Given) -> str:
    """The sentence about an unknown key."""
    if key in Config.model_fields:
        return f"{given} is a table, not a value: write [{key}] and its keys below."
    return unknown(given, key, KEYS)


def parsed(given: Given, field: FieldInfo) -> Any:
    """The value, with a list or a table parsed from the text of a variable or the command line."""
    if not isinstance(given.value, str):
        return given.value
    kind = str(field.annotation)
    return list_of(given) if "tuple" in kind else table_of(given) if "dict" in kind else given.value


def sentence(error: ErrorDetails, given: Mapping[str, Given], values: Mapping[str, Any]) -> str:
    """What is wrong with a value: its key, what is expected, what was given (never a secret), and its source."""
    path = [str(part) for part in error["loc"]]
    key = next(known for known in (".".join(path[:length]) for length in range(len(path), 0, -1)) if known in KEYS)
    fault = error.get("ctx", {}).get("error")
    expected = str(fault) if isinstance(fault, ValueError) else expectation(KEYS[key])
    one = given[key]
    shown = "" if is_secret(key) else f", but {given_value(key, values[key])} was given"
    return f"{key} {expected}{shown} ({one.place if one.name == key else f'{one.place} as {one.name}'})."


def shown_value(key: str, value: Any) -> str:
    """The value in force as TOML; anything that is not known to be harmless is masked."""
    if is_secret(key):
        return as_toml(MASK)
    if key in TABLES - CLEAR:
        return as_toml(without_texts(value))
    if is_url(key):
        return as_toml([shown_url(one) for one in value] if isinstance(value, list | tuple) else shown_url(str(value)))
    if isinstance(value, str) and not (key in CLEAR or is_choice(key)):
        return as_toml(MASK)
    return redact(as_toml(value))


def given_value(key: str, value: Any) -> str:
    """An invalid value, for the sentence about it: shows no more than `shown_value` where it could be a secret."""
    if key in TABLES and not isinstance(value, dict):
        return as_toml(MASK) if isinstance(value, str) else as_toml(value)
    if is_url(key) and not (isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))):
        return as_toml(value) if isinstance(value, int | float) or value == [] else as_toml(MASK)
    if is_url(key) or key in TABLES:
        return shown_value(key, value)
    return redact(as_toml(value))


def without_texts(value: Any) -> Any:
    """A table for somebody else with its texts and long numbers masked: any of them may be a key or a password."""
    if isinstance(value, dict):
        return {name: without_texts(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_texts(one) for one in value]
    return value if isinstance(value, bool | int | float) and abs(value) < LONG_NUMBER else MASK


def as_toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(name, ensure_ascii=False)} = {as_toml(one)}' for name, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(as_toml(one) for one in value)}]"
    return json.dumps(value, default=str, ensure_ascii=False)


def is_url(key: str) -> bool:
    """Whether its value is a URL or a list of them."""
    return key.endswith(("url", "urls"))


def is_choice(key: str) -> bool:
    """Whether its text can only be one of a few words, or the id of a channel or role."""
    return "Literal" in str(KEYS[key].annotation) or key == "bot.captions" or KEYS[key].annotation == tuple[str, ...]


def expectation(field: FieldInfo) -> str:
    """What a key accepts, in words."""
    kind = str(field.annotation)
    choices = getattr(field.annotation, "__args__", ())
    if "Literal" in kind:
        return f"must be {' or '.join(json.dumps(choice) for choice in choices)}"
    if field.annotation is bool:
        return "must be true or false"
    if field.annotation in (float, int):
        least = "0 or above" if any(hasattr(rule, "ge") for rule in field.metadata) else "above 0"
        most = next((f" and at most {rule.le}" for rule in field.metadata if hasattr(rule, "le")), "")
        return f"must be a {'whole ' if field.annotation is int else ''}number {least}{most}"
    if "dict" in kind:
        return """must be a table (JSON in a variable: '{"name": "value"}')"""
    return """must be a list of texts (JSON in a variable: '["one", "two"]')""" if "tuple" in kind else "must be text"
