"""The Discord application on py-cord. It decides when a call exists. It has no audio.

A member enters a voice channel. Read these in order:

    client.py                  `on_voice_state_update`: py-cord's event becomes "this person moved from here to there"
    login.py                   `person_moved` adds the guild's rules and who is in which channel
    scheduling/dispatcher.py   `person_moved` asks the rules of scheduling/autojoin.py: join, move, leave, or nothing
    scheduling/waiting.py      `request` passes it on to the registry, and `tell` tells people their place
    scheduling/registry.py     `request` gives a free engine, or a place in the queue
    scheduling/running.py      starts the call
    call/call.py               the call: joins the channel, talks, leaves

What people read is in `texts/`. Settings of guilds and people are in `settings/`, commands in `commands/`, messages in `chat/`.
`guild_rules.py` has the settings in force in a guild, `rights.py` who may use which command, `recording_policy.py` what is written down of
a call.
`application.py` logs in, and again after a failure; `app.py` and the doctor start with it. `connections.py` keeps one client for each of
the `shards.py` into which Discord wants the bot divided.
"""
