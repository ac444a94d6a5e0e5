"""What the chat model sees of a call."""

from discordplex.cascade.history import History, Message


def test_the_oldest_is_forgotten() -> None:
    """Beyond the bound the oldest messages go; the newest stays even when it alone is too long."""
    history = History(max_tokens=20)
    for text in ("first " * 4, "second " * 4, "third " * 40):
        history.add(Message("user", text.strip()))
    assert [message["content"].split()[0] for message in history.as_chat("You are.")] == ["You", "third"]


def test_names_go_into_the_text() -> None:
    """The model knows who spoke; a reset forgets everything but the persona."""
    history = History(max_tokens=100)
    history.add(Message("user", "Hi.", name="Zoë"))
    history.add(Message("assistant", "Hello."))
    assert history.as_chat("P")[1:] == [{"role": "user", "content": "Zoë: Hi."}, {"role": "assistant", "content": "Hello."}]
    history.reset()
    assert history.as_chat("P") == [{"role": "system", "content": "P"}]


def test_turns_alternate() -> None:
    """Two who spoke in a row are one message with both names, and what is remembered never begins with the engine."""
    history = History(max_tokens=1000)
    for message in (
        Message("assistant", "Lost."),
        Message("user", "Hi.", "Anna"),
        Message("user", "Yo.", "Ben"),
        Message("assistant", "Hey."),
    ):
        history.add(message)
    chat = history.as_chat("P")
    assert [message["role"] for message in chat] == ["system", "user", "assistant"]
    assert chat[1]["content"] == "Anna: Hi.\nBen: Yo."
    assert len(history) == 4
