"""The settings: where they come from, which wins, and a sentence for everything that can be wrong."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.config.settings import (
    CLEAR,
    KEYS,
    TABLES,
    Config,
    DiscordConfig,
    PersonaConfig,
    PersonaPlexConfig,
    given_value,
    is_choice,
    is_secret,
    is_url,
    shown_value,
)
from discordplex.config.sources import from_toml, unquoted, variable_of
from discordplex.errors import ConfigError

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.abcdefghijklmnopqrstuvwxyzABCDEF"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without discordplex.toml and .env."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(
    *,
    toml: str | None = None,
    dotenv: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str | bytes] | None = None,
) -> Config:
    if secrets is not None:
        Path("secrets").mkdir()
        for name, content in secrets.items():
            Path("secrets", name).write_bytes(content if isinstance(content, bytes) else content.encode())
        overrides = {"secrets_dir": "secrets", **(overrides or {})}
    if toml is not None:
        Path("discordplex.toml").write_text(toml, encoding="utf-8")
    if dotenv is not None:
        Path(".env").write_text(dotenv, encoding="utf-8")
    return Config.load(None, environ or {}, overrides)


def problem(**sources: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**sources)
    return str(caught.value)


def test_defaults_need_no_source() -> None:
    """Without any source every key has its documented default."""
    config = load()
    assert config == Config()
    assert config.discord.token is None
    assert config.personaplex.urls == ("ws://localhost:8998/api/chat",)


SOURCES: dict[str, Any] = {
    "toml": '[persona]\nvoice = "toml"',
    "secrets": {"persona.voice": "secrets"},
    "dotenv": "DISCORDPLEX_PERSONA__VOICE=dotenv",
    "environ": {"DISCORDPLEX_PERSONA__VOICE": "environ"},
    "overrides": {"persona.voice": "overrides"},
}


@pytest.mark.parametrize("count", range(1, 6))
def test_the_stronger_source_wins(count: int) -> None:
    """The command line beats the environment, which beats .env, which beats the folder of secrets, which beats the TOML file."""
    names = list(SOURCES)[:count]
    assert load(**{name: SOURCES[name] for name in names}).persona.voice == names[-1]


def test_sources_add_up_within_a_table() -> None:
    """A stronger source that sets one key of a table leaves its neighbours alone."""
    config = load(toml='[persona]\nvoice = "a"\ntext_prompt = "b"', environ={"DISCORDPLEX_PERSONA__VOICE": "c"})
    assert (config.persona.voice, config.persona.text_prompt) == ("c", "b")


def test_a_named_file_replaces_the_one_in_the_directory(tmp_path: Path) -> None:
    """With --config, discordplex.toml is not read at all."""
    Path("discordplex.toml").write_text("nonsense", encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text("[bot]\nauto_join = false", encoding="utf-8")
    assert Config.load(other, {}).bot.auto_join is False


def test_making_a_config_by_hand_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the environment nor a file reaches a Config that is not loaded."""
    monkeypatch.setenv("DISCORDPLEX_PERSONA__VOICE", "x")
    monkeypatch.setenv("PERSONA", '{"voice": "y"}')
    Path(".env").write_text("DISCORDPLEX_PERSONA__VOICE=z", encoding="utf-8")
    assert Config().persona.voice == "NATF0.pt"


def test_loading_reads_the_process_environment_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `environ` the process's own variables count."""
    monkeypatch.setenv("DISCORDPLEX_PERSONA__VOICE", "x")
    assert Config.load().persona.voice == "x"


def test_a_list_in_a_variable_is_json() -> None:
    """Several servers fit into one variable."""
    config = load(environ={"DISCORDPLEX_PERSONAPLEX__URLS": '["ws://a:1/api/chat", "wss://b/api/chat"]'})
    assert config.personaplex.urls == ("ws://a:1/api/chat", "wss://b/api/chat")


def test_an_empty_variable_counts_as_not_set() -> None:
    """Compose files pass variables on that nobody has set."""
    assert load(environ={"DISCORDPLEX_DISCORD__TOKEN": ""}, dotenv="DISCORDPLEX_PERSONA__VOICE=\n") == Config()


def test_dotenv_belongs_to_others_too() -> None:
    """Variables without our prefix, quotes, comments, `export` and a byte order mark are no obstacle."""
    dotenv = "\ufeff# mine\nOTHER=1\nexport DISCORDPLEX_PERSONA__VOICE='a b' # said\nnonsense of another program\n"
    assert load(dotenv=dotenv).persona.voice == "a b"


@pytest.mark.parametrize(
    ("given", "kept"),
    [('"voice"', "voice"), ('"off"', "off"), ('"thread"', "thread"), ('"1234567890"', "1234567890"), ("1234567890", "1234567890")],
)
def test_captions_take_a_word_or_a_channel(given: str, kept: str) -> None:
    """An id may be a number in TOML; it is kept as text."""
    assert load(toml=f"[bot]\ncaptions = {given}").bot.captions == kept


def test_lists_of_ids_take_numbers_and_texts() -> None:
    """In TOML either, in a variable JSON of either."""
    assert load(toml='[bot]\nallow_channels = [1234, "5678"]').bot.allow_channels == ("1234", "5678")
    assert load(environ={"DISCORDPLEX_BOT__DENY_ROLES": '[1234, "5678"]'}).bot.deny_roles == ("1234", "5678")


def test_outer_blanks_and_slashes_go() -> None:
    """What people paste along is taken off."""
    config = load(environ={"DISCORDPLEX_DISCORD__TOKEN": f" {TOKEN}\n", "DISCORDPLEX_DISCORD__API_URL": "https://127.0.0.1:4/api/v10/"})
    assert config.discord.token is not None
    assert config.discord.token.get_secret_value() == TOKEN
    assert config.discord.api_url == "https://127.0.0.1:4/api/v10"


def test_a_config_is_frozen() -> None:
    """Nobody changes a setting behind another's back."""
    config = load()
    with pytest.raises(ValueError, match="frozen"):
        config.bot = config.bot
    with pytest.raises(ValueError, match="frozen"):
        config.bot.auto_join = False


def test_a_token_is_never_shown() -> None:
    """Neither repr nor str of the settings contains the token."""
    config = load(environ={"DISCORDPLEX_DISCORD__TOKEN": TOKEN})
    assert TOKEN not in repr(config) + str(config) + repr(DiscordConfig.model_validate({"token": TOKEN}))


UNKNOWN = [
    ({"toml": "[bot]\nauto_jion = true"}, "bot.auto_jion in discordplex.toml is not a setting; did you mean bot.auto_join?"),
    ({"toml": "[discord.token]\nx = 1"}, "discord.token.x in discordplex.toml is not a setting; did you mean discord.token?"),
    (
        {"dotenv": "DISCORDPLEX_DISCORD__TOKN=x"},
        "DISCORDPLEX_DISCORD__TOKN in .env is not a setting; did you mean DISCORDPLEX_DISCORD__TOKEN?",
    ),
    (
        {"environ": {"DISCORDPLEX_TOKEN": "x"}},
        "DISCORDPLEX_TOKEN in the environment is not a setting; did you mean DISCORDPLEX_DISCORD__TOKEN?",
    ),
    (
        {"environ": {"DISCORDPLEX_DISCORD_TOKEN": "x"}},
        "DISCORDPLEX_DISCORD_TOKEN in the environment is not a setting; did you mean DISCORDPLEX_DISCORD__TOKEN?",
    ),
    ({"overrides": {"bot.caption": "off"}}, "bot.caption on the command line is not a setting; did you mean bot.captions?"),
    ({"toml": "bot = 3"}, "bot in discordplex.toml is a table, not a value: write [bot] and its keys below."),
]


@pytest.mark.parametrize(("sources", "expected"), UNKNOWN)
def test_an_unknown_key_names_the_nearest_and_its_place(sources: dict[str, Any], expected: str) -> None:
    """Whatever the source, a key that does not exist is an error that helps."""
    assert problem(**sources) == expected


def test_a_key_like_no_other_lists_them_all() -> None:
    """Where nothing comes near, every key is named."""
    said = problem(environ={"DISCORDPLEX_XYZZY": "1"})
    assert all(key in said for key in KEYS)


def test_a_key_like_no_other_of_its_section_lists_the_section() -> None:
    """Where the section exists and nothing comes near, only the keys of the section are named."""
    said = problem(overrides={"limits.xyzzy": "1"})
    assert (
        said == "limits.xyzzy on the command line is not a setting; the settings of limits are limits.idle_minutes, limits.minutes_per_day."
    )


WRONG = [
    ('[bot]\nauto_join = "maybe"', 'bot.auto_join must be true or false, but "maybe" was given'),
    ("[bot]\ncaptions = true", 'bot.captions must be "voice", "thread", "off" or the id of a text channel, but true was given'),
    ('[bot]\ncaptions = "chat"', 'bot.captions must be "voice", "thread", "off" or the id of a text channel, but "chat" was given'),
    (f'[engine]\nname = "{"x" * 101}"', f'engine.name must be up to 100 characters, but "{"x" * 101}" was given'),
    (
        '[bot]\nprefix = "/"',
        'bot.prefix must be up to 8 characters without blanks, such as "!", and no slash: Discord keeps that for itself, but "/" was given',
    ),
    ("[bot]\nidle_minutes = -1", "bot.idle_minutes must be a number 0 or above and at most 10080, but -1 was given"),
    (
        '[bot]\nallow_channels = ["general"]',
        'bot.allow_channels must be a list of ids, as in ["123456789012345678"], but ["general"] was given',
    ),
    ("[bot]\ndeny_roles = 7", 'bot.deny_roles must be a list of ids, as in ["123456789012345678"], but 7 was given'),
    ('[realtime]\nvoice = "a\\nb"', 'realtime.voice must be one line, but "a\\nb" was given'),
    (
        '[realtime]\nurl = "ftp://x"',
        'realtime.url must be a URL that begins with https:// or http:// or wss:// or ws:// and names a host, but "***" was given',
    ),
    (
        '[engine]\nkind = "parrot"',
        'engine.kind must be "personaplex" or "realtime" or "cascade", or a list of them, but "parrot" was given',
    ),
    (
        '[engine]\nkind = "personaplexx"',
        (
            'engine.kind must be "personaplex" or "realtime" or "cascade", or a list of them (did you mean "personaplex"?), '
            'but "personaplexx" was given'
        ),
    ),
    (
        '[engine]\nkind = ["personaplex", "cascde"]',
        (
            'engine.kind must be "personaplex" or "realtime" or "cascade", or a list of them (did you mean "cascade"?), '
            'but ["personaplex", "cascde"] was given'
        ),
    ),
    (
        '[engine]\nkind = ["cascade", ["realtime"]]',
        'engine.kind must be "personaplex" or "realtime" or "cascade", or a list of them, but ["cascade", ["realtime"]] was given',
    ),
    (
        '[engine]\nkind = "personaplex, cascade"',
        (
            'engine.kind must be "personaplex" or "realtime" or "cascade", or a list of them '
            """(JSON in a variable: '["personaplex", "cascade"]'), but "personaplex, cascade" was given"""
        ),
    ),
    ("[engine]\nkind = 3", 'engine.kind must be "personaplex" or "realtime" or "cascade", or a list of them, but 3 was given'),
    ("[engine]\nkind = []", "engine.kind must name at least one kind of engine, but [] was given"),
    (
        '[engine]\nkind = ["cascade", "cascade"]',
        'engine.kind names a kind twice; it is a list in order of preference, but ["cascade", "cascade"] was given',
    ),
    (
        '[engine]\nvoices = { "NATF0.pt" = "shimmer" }',
        'engine.voices must be a table of tables, as in { "NATF0.pt" = { cascade = "shimmer" } }, but {"NATF0.pt" = "shimmer"} was given',
    ),
    (
        '[engine.voices]\n"NATF0.pt" = { cascada = "shimmer" }',
        (
            'engine.voices must have only "personaplex" or "realtime" or "cascade" within a voice (did you mean "cascade"?), '
            'but {"NATF0.pt" = {"cascada" = "shimmer"}} was given'
        ),
    ),
    (
        '[engine.voices]\n"NATF0.pt" = { cascade = " " }',
        (
            'engine.voices must be a table of tables, as in { "NATF0.pt" = { cascade = "shimmer" } }, '
            'but {"NATF0.pt" = {"cascade" = " "}} was given'
        ),
    ),
    (
        "[personaplex]\nhandshake_timeout_s = 0",
        "personaplex.handshake_timeout_s must be a number above 0 and at most 3600, but 0 was given",
    ),
    (
        "[personaplex]\nhandshake_timeout_s = nan",
        "personaplex.handshake_timeout_s must be a number above 0 and at most 3600, but NaN was given",
    ),
    ("[personaplex]\nmemory_s = 1", "personaplex.memory_s must be 0, or from 5 to 86400, but 1 was given"),
    ("[personaplex]\nurls = []", "personaplex.urls must name at least one server, but [] was given"),
    (
        '[personaplex]\nurls = ["ws://a/x", "ws://a/x"]',
        'personaplex.urls names a server twice; each server carries one call at a time, but ["ws://a/***", "ws://a/***"] was given',
    ),
    (
        '[personaplex]\nurls = ["http://u:pw@a/x"]',
        'personaplex.urls must be a URL that begins with ws:// or wss:// and names a host, but ["http://***@a/***"] was given',
    ),
    (
        '[personaplex]\nurls = ["ws://a:99999/x"]',
        'personaplex.urls must be a URL that begins with ws:// or wss:// and names a host, but ["ws://a:99999/***"] was given',
    ),
    (
        '[discord]\napi_url = "https://discord.com/api"',
        'discord.api_url must end with the API\'s version, as in https://discord.com/api/v10, but "https://discord.com/api" was given',
    ),
    ('[persona]\ntext_prompt = "  "', 'persona.text_prompt must not be empty, but "  " was given'),
    ("[cascade]\nmax_calls = 0.5", "cascade.max_calls must be a whole number above 0 and at most 1000, but 0.5 was given"),
    ("[cascade.think]\nextra = 3", """cascade.think.extra must be a table (JSON in a variable: '{"name": "value"}'), but 3 was given"""),
    (
        '[cascade.speak]\nbase_url = "localhost:8880"',
        'cascade.speak.base_url must be a URL that begins with https:// or http:// and names a host, but "localhost:8880" was given',
    ),
    ("[persona]\nvoice = 3", "persona.voice must be text, but 3 was given"),
]


@pytest.mark.parametrize(("toml", "expected"), WRONG)
def test_a_wrong_value_says_what_is_expected(toml: str, expected: str) -> None:
    """A wrong value is named with its key, what was given and what is expected."""
    assert problem(toml=toml) == f"{expected} (in discordplex.toml)."


@pytest.mark.parametrize("value", ["ws://a/x", "[1]", '["ws://a/x"', '{"a": 1}'])
def test_bad_json_in_a_variable_is_a_sentence(value: str) -> None:
    """A list that is none says how one is written."""
    said = problem(environ={"DISCORDPLEX_PERSONAPLEX__URLS": value})
    assert said.startswith("""personaplex.urls must be a list of texts (JSON in a variable: '["one", "two"]'), but """)
    assert said.endswith("(in the environment as DISCORDPLEX_PERSONAPLEX__URLS).")


def test_a_stage_takes_any_table() -> None:
    """What a server wants beyond our settings passes as it was written, from a file and from a variable."""
    config = load(
        toml='[cascade.think.extra]\ntemperature = 0.5\nstop = ["x"]\noptions = { deep = {} }\n[cascade.speak]\nextra = {}',
        environ={"DISCORDPLEX_CASCADE__TRANSCRIBE__EXTRA": '{"language": "de"}'},
    )
    assert config.cascade.think.extra == {"temperature": 0.5, "stop": ["x"], "options": {"deep": {}}}
    assert config.cascade.speak.extra == {}
    assert config.cascade.transcribe.extra == {"language": "de"}


def test_the_persona_is_the_engine_s() -> None:
    """Each engine has a default persona of its own."""
    assert load().default_persona == PersonaConfig()
    config = load(environ={"DISCORDPLEX_ENGINE__KIND": "cascade"})
    assert config.default_persona.voice == "shimmer"
    assert "playful friend" in config.default_persona.text_prompt


@pytest.mark.parametrize(
    ("toml", "variable", "kinds"),
    [
        ("", "", ("personaplex",)),
        ('[engine]\nkind = "cascade"', "", ("cascade",)),
        ('[engine]\nkind = ["cascade"]', "", ("cascade",)),
        ('[engine]\nkind = ["personaplex", "cascade"]', "", ("personaplex", "cascade")),
        ("", "realtime", ("realtime",)),
        ("", '["cascade", "personaplex", "realtime"]', ("cascade", "personaplex", "realtime")),
        ("", '\'["personaplex", "cascade"]\'', ("personaplex", "cascade")),
    ],
)
def test_the_kind_of_engine_may_be_a_list(toml: str, variable: str, kinds: tuple[str, ...]) -> None:
    """In order of preference, from a file and as JSON from a variable; the default persona is the first one's."""
    config = load(toml=toml, environ={"DISCORDPLEX_ENGINE__KIND": variable})
    assert config.engine.kinds == kinds
    assert config.default_persona == config.persona_of(config.engine.kinds[0])


def test_a_voice_has_a_name_on_each_kind() -> None:
    """The table comes from a file or as JSON from a variable, and `config show` prints it."""
    table = {"NATF0.pt": {"cascade": "shimmer", "realtime": "marin"}}
    assert load(toml='[engine.voices]\n"NATF0.pt" = { cascade = " shimmer", realtime = "marin" }').engine.voices == table
    assert load(environ={"DISCORDPLEX_ENGINE__VOICES": json.dumps(table)}).engine.voices == table
    assert shown_value("engine.voices", table) == '{"NATF0.pt" = {"cascade" = "shimmer", "realtime" = "marin"}}'
    assert shown_value("engine.kind", ("personaplex", "cascade")) == '["personaplex", "cascade"]'


def test_every_key_that_is_set_is_a_secret() -> None:
    """Tokens and keys of all stages are known as secrets, unset ones are none."""
    config = load(environ={"DISCORDPLEX_CASCADE__API_KEY": "sk-1", "DISCORDPLEX_CASCADE__SPEAK__API_KEY": " sk-2\n"})
    assert [secret.get_secret_value() for secret in config.secrets] == ["sk-1", "sk-2"]
    assert "sk-" not in repr(config)
    assert load().secrets == []


def test_a_wrong_key_is_not_repeated() -> None:
    """The error about an API key says what is expected and not what was given."""
    said = problem(overrides={"cascade.think.api_key": "Bearer hunter2"})
    assert said == "cascade.think.api_key must be the bare API key, one word without blanks (on the command line)."


@pytest.mark.parametrize("secret", ["Bot hunter2", 12345678, ["hunter2"]])
def test_a_wrong_token_is_not_repeated(secret: Any) -> None:
    """The error about a token says what is expected and not what was given."""
    said = problem(overrides={"discord.token": secret})
    assert said.startswith("discord.token must be ")
    assert "hunter2" not in said
    assert "1234" not in said


def test_every_problem_gets_a_line() -> None:
    """Two wrong values are told at once."""
    said = problem(toml="[bot]\nauto_join = 3\n[persona]\nvoice = 3")
    assert [line.split()[0] for line in said.splitlines()] == ["bot.auto_join", "persona.voice"]


def test_malformed_toml_says_where() -> None:
    """A file that is not TOML is named with the line."""
    said = problem(toml='[bot]\ncaptions = = "off"\n')
    assert said.startswith("discordplex.toml is not valid TOML: ")
    assert "line 2" in said


@pytest.mark.parametrize(
    "toml",
    [
        f"a = {'[' * 5000}{']' * 5000}",
        f"[cascade.think.extra]\na = {'{a = ' * 5000}1{'}' * 5000}",
        "".join(f"[a{'.b' * n}]\n" for n in range(1, 1500)),
    ],
    ids=["lists", "tables in a line", "tables"],
)
def test_a_file_nested_too_deep_is_a_sentence(toml: str) -> None:
    """Whatever takes the parser or us beyond the interpreter's stack is the file's fault."""
    assert problem(toml=toml) == "discordplex.toml has tables or lists nested too deep to be settings."


def test_json_nested_too_deep_is_a_sentence() -> None:
    """The same in a variable."""
    said = problem(environ={"DISCORDPLEX_CASCADE__THINK__EXTRA": "[" * 200_000, "DISCORDPLEX_PERSONAPLEX__URLS": "[" * 200_000})
    assert "cascade.think.extra must be a table" in said
    assert "personaplex.urls must be" in said


def test_a_key_cannot_forge_a_line() -> None:
    """A quoted key may hold line breaks and what a terminal obeys; a sentence about it holds neither."""
    said = problem(toml='[bot]\n"x\\u001b[31m\\nforged" = 1\n')
    assert said.startswith("bot.x[31m forged in discordplex.toml is not a setting")
    assert "\n" not in said


def test_a_malformed_dotenv_line_says_where() -> None:
    """A line of ours in .env that cannot be read is named."""
    assert problem(dotenv="A=1\nDISCORDPLEX_PERSONA__VOICE 'x'y\n") == ".env, line 2: this is not NAME=VALUE."


def test_processes_of_a_cluster_share_its_database() -> None:
    """Settings are in it, too, unless another one is named that all of them can see."""
    shared, own = "postgresql://u:p@db/bot", "postgresql://db/settings"
    assert load(toml=f'[cluster]\nurl = "{shared}"').store.url == shared
    assert load(toml=f'[cluster]\nurl = "{shared}"\n[store]\nurl = "{own}"').store.url == own
    assert "store.url (in discordplex.toml) is an SQLite database" in problem(
        toml=f'[cluster]\nurl = "{shared}"\n[store]\nurl = "sqlite:///x.db"'
    )
    for wrong in ("sqlite:///x.db", "mysql://db/bot", "db.lan", ""):
        said = problem(toml=f'[cluster]\nurl = "{wrong}"')
        assert said.startswith("cluster.url must be the URL of a PostgreSQL database, as in postgresql://user:password@host/database: ")


def test_a_missing_file_is_a_sentence() -> None:
    """A settings file that was named must exist."""
    with pytest.raises(ConfigError, match=r"^The settings file none\.toml does not exist\.$"):
        Config.load(Path("none.toml"), {})


@pytest.mark.parametrize("name", ["discordplex.toml", ".env"])
def test_a_file_that_is_not_utf8_is_a_sentence(name: str) -> None:
    """Text in another encoding is refused with the mend."""
    Path(name).write_bytes(b'A = "\xff\xfe"')
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        Config.load(None, {})


@pytest.mark.parametrize(
    "sources",
    [
        {"toml": 'secrets_dir = "secrets"'},
        {"dotenv": "DISCORDPLEX_SECRETS_DIR=secrets"},
        {"environ": {"DISCORDPLEX_SECRETS_DIR": "secrets"}, "toml": 'secrets_dir = "elsewhere"'},
    ],
)
@pytest.mark.parametrize("name", ["discord.token", "discord__token", "DISCORDPLEX_DISCORD__TOKEN", "discordplex_discord.token"])
@pytest.mark.parametrize("form", ["{}", "{}\n", "\ufeff{}\r\n\n"])
def test_a_secret_may_be_a_file(sources: dict[str, Any], name: str, form: str) -> None:
    """Named as Docker, Kubernetes or systemd allow, in a folder that any source names; the line break of an editor is no part of it."""
    Path("secrets").mkdir()
    Path("secrets", name).write_text(form.format(TOKEN), encoding="utf-8")
    config = load(**sources)
    assert config.discord.token is not None
    assert config.discord.token.get_secret_value() == TOKEN


def test_any_setting_may_be_a_file() -> None:
    """Read as a variable is: a list is JSON; an address may hold a password. What is hidden is not read."""
    secrets = {
        "store.url": "postgresql://u:p@h/x",
        "personaplex.urls": '["ws://a/x"]',
        "bot.auto_join": "false",
        ".gitkeep": "",
        "..data": "x",
    }
    config = load(secrets=secrets)
    assert (config.store.url, config.personaplex.urls, config.bot.auto_join) == ("postgresql://u:p@h/x", ("ws://a/x",), False)


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({"discord.tokn": "x"}, "discord.tokn in secrets/discord.tokn is not a setting; did you mean discord.token?"),
        ({"discord.token": ""}, "secrets/discord.token is empty: put the value into it, or remove it."),
        ({"discord.token": "\n"}, "secrets/discord.token is empty: put the value into it, or remove it."),
        ({"discord.token": b"\xff\xfe"}, "secrets/discord.token is not UTF-8 text; save it as UTF-8."),
        (
            {"discord.token": "x" * 65_537},
            "secrets/discord.token is larger than 64 KiB, which no setting is: put nothing but the value into it.",
        ),
        ({"discord.token": "x", "discord__token": "y"}, "Two files in secrets set discord.token: remove discord__token or the other one."),
        ({"discord.token": "my token"}, "discord.token must be the bare bot token, one word without blanks (in secrets/discord.token)."),
        ({"secrets_dir": "x"}, "secrets_dir in secrets/secrets_dir cannot name another folder of secrets: remove that file."),
        ({"a\nb": "x"}, "a b in secrets/a b is not a setting; the settings are "),
    ],
    ids=["unknown", "empty", "a line break", "bytes", "huge", "twice", "two words", "a folder of secrets", "a strange name"],
)
@pytest.mark.skipif(os.name != "posix", reason="how paths are written, and what names may hold")
def test_what_is_wrong_with_a_secret_s_file_is_a_sentence(secrets: dict[str, str | bytes], said: str) -> None:
    """It names the file, and not what is in it."""
    found = problem(secrets=secrets)
    assert found == said or (said.endswith(" ") and found.startswith(said))


@pytest.mark.skipif(os.name != "posix", reason="links need a right of their own on Windows")
def test_a_file_that_is_no_setting_is_not_read() -> None:
    """Its content belongs to somebody else, and may be anything."""
    Path("secrets").mkdir()
    Path("secrets", "id_rsa").symlink_to("nowhere")
    assert problem(overrides={"secrets_dir": "secrets"}).startswith("id_rsa in ")


@pytest.mark.skipif(os.name != "posix", reason="how paths are written, and what a file may be")
@pytest.mark.parametrize(
    ("there", "said"),
    [
        ("nothing", "secrets_dir names the folder secrets, which does not exist: create it, or name another one."),
        ("a file", "secrets_dir names secrets, which is not a folder: name the folder that the files of secrets are in."),
        (
            "a folder in it",
            "secrets/discord.token is a folder, and secrets_dir has only files, one for each setting: remove it, or name another folder.",
        ),
        ("a pipe in it", "secrets/discord.token is not a file: put one with the value in its place, or remove it."),
        ("a link to nowhere in it", "secrets/discord.token cannot be read: No such file or directory."),
    ],
)
def test_what_is_wrong_with_the_folder_of_secrets_is_a_sentence(there: str, said: str) -> None:
    """One, and it says what to do."""
    folder, file = Path("secrets"), Path("secrets", "discord.token")
    if there == "a file":
        folder.touch()
    elif there != "nothing":
        folder.mkdir()
    if there == "a folder in it":
        file.mkdir()
    elif there == "a pipe in it":
        os.mkfifo(file)
    elif there == "a link to nowhere in it":
        file.symlink_to("nowhere")
    assert problem(overrides={"secrets_dir": "secrets"}) == said


def test_a_secret_that_this_user_may_not_read_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that was mounted into a container often belongs to somebody else. Root may read everything, so the refusal is made."""
    Path("secrets").mkdir()
    Path("secrets", "discord.token").write_text(TOKEN, encoding="utf-8")
    real = Path.open

    def refusing(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "discord.token":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", refusing)
    assert "cannot be read by the user that runs discordplex" in problem(overrides={"secrets_dir": "secrets"})


def test_a_byte_order_mark_in_toml_is_a_sentence() -> None:
    """What Windows' editor puts in front is told apart from a mistake of the person."""
    assert problem(toml="\ufeff[bot]\n") == "discordplex.toml begins with a byte order mark; save it as UTF-8 without one."


EXAMPLES = [Path(__file__).parents[2] / "config.example.toml", Path(__file__).parents[2] / "discordplex" / "config.example.toml"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_example_equals_the_defaults(path: Path) -> None:
    """What the example sets is what holds without it."""
    assert Config.load(path, {}) == Config()


def test_the_example_is_what_the_package_carries() -> None:
    """`config init` writes the file that one reads in the repository."""
    assert EXAMPLES[0].read_bytes() == EXAMPLES[1].read_bytes()


def test_the_example_documents_every_key() -> None:
    """Every key that has a default is set in the example, and the token is explained there."""
    text = EXAMPLES[0].read_text(encoding="utf-8")
    shown = from_toml(EXAMPLES[0], Config, TABLES)
    assert set(KEYS) - set(shown) == {key for key in KEYS if Config().value_of(key) is None}
    assert "# token = " in text
    assert variable_of("discord.token") in text


# Values from variables


QUOTED = [
    '"{}"',
    "'{}'",
    "'\"{}\"'",
    "\u201c{}\u201d",
    "`{}`",
    ' \ufeff"{}" \r\n',
    "\u200b{}\u00a0",
    "{}\n",
]


@pytest.mark.parametrize("form", QUOTED)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("discord.token", TOKEN),
        ("cascade.api_key", "sk-abc"),
        ("cascade.think.api_key", "sk-abc"),
        ("discord.api_url", "https://127.0.0.1:4/api/v10"),
        ("cascade.base_url", "http://h/v1"),
        ("store.url", "sqlite:///x.db"),
        ("persona.voice", "NATF2.pt"),
        ("persona.text_prompt", "You're Ann, and kind."),
        ("engine.kind", "cascade"),
        ("engine.kind", '["cascade", "personaplex"]'),
        ("engine.voices", '{"a": {"cascade": "b"}}'),
        ("bot.captions", "off"),
        ("bot.auto_join", "false"),
        ("personaplex.handshake_timeout_s", "3"),
        ("personaplex.urls", '["ws://a/x"]'),
        ("cascade.think.extra", '{"a": "b"}'),
    ],
)
def test_quotes_and_blanks_around_a_variable_s_value_are_not_part_of_it(form: str, key: str, value: str) -> None:
    """Docker's env files and Windows keep quotes; editors add a byte order mark or a line's end. All mean the bare value."""
    plain, quoted = (load(environ={variable_of(key): text}) for text in (value, form.format(value)))
    assert quoted.value_of(key) == plain.value_of(key) != Config().value_of(key)


@pytest.mark.parametrize("text", ['"Hi" and "bye"', '5" of 7"', "'t is 'n uur", 'say "hi"'])
def test_quotes_within_a_text_stay(text: str) -> None:
    """A prompt may begin and end with a quotation."""
    assert load(environ={"DISCORDPLEX_PERSONA__TEXT_PROMPT": text}).persona.text_prompt == text


def test_quotes_in_toml_are_meant() -> None:
    """There the file's own quotes have been taken off already."""
    assert load(toml="[persona]\ntext_prompt = '\"quoted\"'").persona.text_prompt == '"quoted"'


@pytest.mark.parametrize("value", ['""', "''", ' "" ', "\ufeff"])
def test_empty_quotes_count_as_not_set(value: str) -> None:
    """As an empty variable does."""
    assert load(environ={"DISCORDPLEX_DISCORD__TOKEN": value}) == Config()


@given(st.text(st.sampled_from("\"'` a[{\u201c\u201d\ufeff"), max_size=40))
def test_any_quoting_ends(text: str) -> None:
    """What was unquoted once has nothing left to take off."""
    assert unquoted(unquoted(text)) == unquoted(text)


def test_thousands_of_quotes_take_no_stack() -> None:
    """However silly a value is, there is an answer."""
    assert unquoted('"' * 4_000) == ""


@pytest.mark.parametrize("around", ["\ufeff{}", "{}\n", " {}\u200b"])
def test_invisible_characters_around_a_secret_in_toml_go(around: str) -> None:
    """They come along when a secret is copied, and no secret has them."""
    Path("discordplex.toml").write_text(json_toml(around.format(TOKEN)), encoding="utf-8")
    token = Config.load(None, {}).discord.token
    assert token is not None
    assert token.get_secret_value() == TOKEN


def json_toml(token: str) -> str:
    return f"[discord]\ntoken = {json.dumps(token)}\n"


def test_every_number_has_bounds() -> None:
    """No setting makes a timer or a buffer of any size."""
    numbers = {key: field for key, field in KEYS.items() if field.annotation in (int, float)}
    assert numbers
    unbounded = [key for key, field in numbers.items() if not any(hasattr(rule, "le") or hasattr(rule, "lt") for rule in field.metadata)]
    assert unbounded == []


@pytest.mark.parametrize(
    "url",
    [
        "http://h:0/v1",
        "http://h:70000/v1",
        "http://h..x/v1",
        "http:///v1",
        "http://h x/v1",
        "http://h\x00/v1",
        "ftp://h/v1",
        "http://a_b<c>/v1",
    ],
)
def test_an_address_is_checked_at_the_door(url: str) -> None:
    """Scheme, host and port, before anybody dials."""
    assert "must be a URL" in problem(overrides={"cascade.base_url": url})


@pytest.mark.parametrize("url", ["https://u:p@discord.com/api/v10", "https://discord.com/api/v10?x=1"])
def test_discord_s_address_carries_nothing_else(url: str) -> None:
    """The token is the only thing that Discord is told."""
    said = problem(overrides={"discord.api_url": url})
    assert "must carry no user" in said
    assert "u:p" not in said


# Secrets in listings and errors


SECRET = st.text("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=7, max_size=40).map(lambda word: f"Zq{word}7")
"""Unlike any word of the settings."""

PLACES = [
    "postgresql://user:{}@db.lan/bot",
    "postgresql+asyncpg://{}:pw@db.lan:5432/bot",
    "postgresql://db.lan/bot?password={}",
    "postgresql://u:a/{}@db.lan/bot",
    "postgresql://u:1?{}@db.lan/bot",
    "postgresql://u:1#{}@db.lan/bot",
    "postgresql:///bot?host=/run&password={}",
    "sqlite:///bot.db?key={}",
    "host=db user=u password={}",
    "{}",
]

SECRET_KEYS = [key for key in KEYS if is_secret(key)]
URL_KEYS = [key for key in KEYS if is_url(key) and not key.startswith(("store", "cluster"))]


@given(SECRET, st.sampled_from(PLACES), st.sampled_from(["store.url", "cluster.url"]))
def test_no_secret_of_a_database_is_shown(secret: str, place: str, key: str) -> None:
    """Whatever form the database's address has."""
    assert secret not in shown_value(key, place.format(secret))


@given(
    SECRET,
    st.sampled_from(URL_KEYS),
    st.sampled_from(["{}://u:{}@h/v1", "{}://{}@h/v1", "{}://h/v1/{}/x", "{}://h/v1?key={}", "{}://h#{}", "{}://u:@a/{}@h"]),
)
def test_no_secret_of_an_address_is_shown(secret: str, key: str, form: str) -> None:
    """Neither in the listing nor in the sentence about a value that was refused."""
    for scheme in ("http", "wss", "gopher"):
        address = form.format(scheme, secret)
        value: Any = [address] if key.endswith("urls") else address
        assert secret not in shown_value(key, value) + given_value(key, value)


TABLE = st.recursive(
    SECRET, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(st.sampled_from(["user", "headers", "temperature"]), TABLE), st.sampled_from(sorted(TABLES - CLEAR)))
def test_no_text_of_a_strange_table_is_shown(table: dict[str, Any], key: str) -> None:
    """What only a server understands may be a password."""
    assert "Zq" not in shown_value(key, table) + given_value(key, table)
    assert shown_value(key, {"temperature": 0.5, "stream": True}) == '{"temperature" = 0.5, "stream" = true}'


@given(SECRET)
def test_only_listed_texts_are_shown(secret: str) -> None:
    """A text setting that nobody thought of is masked."""
    free = [key for key, field in KEYS.items() if field.annotation is str and not is_choice(key) and key not in CLEAR]
    for key in [*SECRET_KEYS, *free]:
        assert secret not in shown_value(key, secret)


def test_passwords_within_addresses_are_known_as_secrets() -> None:
    """As they are written there and decoded, so that no log line has either."""
    config = load(
        toml='[store]\nurl = "postgresql://u:p%40ss-word@db/x"\n[personaplex]\nurls = ["ws://u:hunter22@a/x", "ws://b/x"]',
    )
    found = {password.get_secret_value() for password in config.passwords}
    assert {"p%40ss-word", "p@ss-word", "hunter22"} <= found


@pytest.mark.parametrize("name", ["discordplex.toml", ".env"])
@pytest.mark.parametrize("kind", ["folder", "link to nowhere"])
def test_what_stands_in_a_settings_files_place_is_not_passed_over(name: str, kind: str) -> None:
    """A container's mount that went wrong leaves a folder or a broken link: the defaults must not hold in silence."""
    path = Path(name)
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match=rf"{name} cannot be read: "):
        Config.load(environ={})


@pytest.mark.parametrize("listen", ["", "127.0.0.1:9464", "[::1]:0", "localhost:65535", "bot.example.org:80", " 0.0.0.0:1 "])
def test_where_monitoring_listens(listen: str) -> None:
    """A host and a port, or nothing."""
    assert load(overrides={"monitoring.listen": listen}).monitoring.listen == listen.strip()


@pytest.mark.parametrize(
    "listen", ["9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "::1:80", "[::1", "http://a:1", "a:65536", "a b:1", "a:-1"]
)
def test_no_address_to_listen_on(listen: str) -> None:
    """The sentence shows one that is."""
    assert 'such as "127.0.0.1:9464"' in problem(overrides={"monitoring.listen": listen})


@pytest.mark.parametrize("password", ["short", " leading blanks are lost ", "two\nlines of a password"])
def test_a_password_that_can_be_guessed(password: str) -> None:
    """It is not shown in the sentence, nor by anything else."""
    said = problem(overrides={"monitoring.password": password})
    assert "at least 12 characters" in said
    assert password not in said
    config = load(overrides={"monitoring.password": "correct horse battery"})
    assert "horse" not in repr(config)
    assert any(secret.get_secret_value() == "correct horse battery" for secret in config.secrets)


@pytest.mark.parametrize("other", ["ws://127.0.0.1:8998/api/chat", "ws://[::1]:8998/api/chat/", "ws://LOCALHOST:8998/api/chat"])
def test_the_names_of_this_machine_are_one_server(other: str) -> None:
    """A call that was given the second one would find it taken by the first."""
    with pytest.raises(ValueError, match="names a server twice"):
        PersonaPlexConfig(urls=("ws://localhost:8998/api/chat", other))
    assert len(PersonaPlexConfig(urls=("ws://localhost:8998/api/chat", other.replace("8998", "8999"))).urls) == 2
