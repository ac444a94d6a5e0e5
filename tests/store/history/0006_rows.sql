INSERT INTO guilds (guild_id, captions_where, captions_channel_id, voice, text_prompt, persona_name, transcripts, idle_minutes, max_minutes)
VALUES (1, 'channel', 11, 'NATM1.pt', 'You are a pirate.
You say “arr”.', 'Pirate', TRUE, 5, 30);
INSERT INTO guild_rules (guild_id, kind, target_id, allowed) VALUES (1, 'channel', 12, TRUE), (1, 'role', 13, FALSE);
INSERT INTO people (user_id, opted_out, voice, text_prompt, persona_name)
VALUES (4000000000000000001, TRUE, NULL, NULL, NULL), (2, FALSE, 'VARF0.pt', NULL, NULL);
INSERT INTO personas (owner_kind, owner_id, name, name_key, voice, text_prompt)
VALUES ('person', 2, 'Cook', 'cook', 'NATF1.pt', 'You are a cook.');
INSERT INTO queue (guild_id, channel_id, user_id, since)
VALUES (3, 31, 2, '2026-01-02 12:30:15.250000'), (1, 12, NULL, '2026-01-02 12:30:15.250000');
INSERT INTO transcripts (guild_id, call, user_id, said_at, text)
VALUES (1, 'call', 2, '2026-01-02 12:30:15.250000', 'Hello; ''quoted'''), (1, 'call', NULL, '2026-01-02 12:30:15.250000', 'Hi!');
INSERT INTO unfinished_notices (message_id, channel_id, guild_id, bot_id) VALUES (4000000000000000002, 31, 3, 5);
INSERT INTO usage (guild_id, hour, seconds) VALUES (4000000000000000003, 490000, 1800);
INSERT INTO cluster_members (member, name, version, slots, draining, started_at, expires_at)
VALUES ('0123456789abcdef', 'host:1', '0.1', 'personaplex:gpu:8998', FALSE, 1767357015.25, 1767357019.25);
INSERT INTO cluster_shards (shard, holder, moved_at, login_at) VALUES (0, '0123456789abcdef', 1767357015.25, 0), (1, NULL, 0, 0);
INSERT INTO cluster_slots (slot, holder, guild_id, purpose, asked_back, failures, paused_until, lapsed_at)
VALUES ('personaplex:gpu:8998', '0123456789abcdef', 3, 'call', FALSE, 0, 0, 0);
INSERT INTO cluster_wishes (holder, guild_id, channel_id, purpose, turn, since, ready, kinds)
VALUES ('0123456789abcdef', 1, 12, 'call', 1767357015.25, 1767357015.25, TRUE, 'personaplex');
INSERT INTO cluster_facts (fact, value) VALUES ('shards', '2');
