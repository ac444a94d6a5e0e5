CREATE TABLE cluster_facts (
	fact VARCHAR(16) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (fact)
);
CREATE TABLE cluster_members (
	member VARCHAR(32) NOT NULL, 
	name TEXT NOT NULL, 
	version TEXT NOT NULL, 
	slots TEXT NOT NULL, 
	draining BOOLEAN NOT NULL, 
	started_at DOUBLE NOT NULL, 
	expires_at DOUBLE NOT NULL, 
	PRIMARY KEY (member)
);
CREATE TABLE cluster_shards (
	shard INTEGER NOT NULL, 
	holder VARCHAR(32), 
	moved_at DOUBLE NOT NULL, 
	login_at DOUBLE NOT NULL, 
	PRIMARY KEY (shard)
);
CREATE TABLE cluster_slots (
	slot TEXT NOT NULL, 
	holder VARCHAR(32), 
	guild_id BIGINT, 
	purpose VARCHAR(8) NOT NULL, 
	asked_back BOOLEAN NOT NULL, 
	failures INTEGER NOT NULL, 
	paused_until DOUBLE NOT NULL, 
	lapsed_at DOUBLE NOT NULL, 
	PRIMARY KEY (slot)
);
CREATE TABLE cluster_wishes (
	holder VARCHAR(32) NOT NULL, 
	guild_id BIGINT NOT NULL, 
	channel_id BIGINT NOT NULL, 
	purpose VARCHAR(8) NOT NULL, 
	turn DOUBLE NOT NULL, 
	since DOUBLE NOT NULL, 
	ready BOOLEAN NOT NULL, 
	kinds TEXT NOT NULL, 
	PRIMARY KEY (holder, guild_id, channel_id, purpose)
);
CREATE TABLE discordplex_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT discordplex_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE guild_rules (
	guild_id BIGINT NOT NULL, 
	kind VARCHAR(8) NOT NULL, 
	target_id BIGINT NOT NULL, 
	allowed BOOLEAN NOT NULL, 
	PRIMARY KEY (guild_id, kind, target_id), 
	FOREIGN KEY(guild_id) REFERENCES guilds (guild_id) ON DELETE CASCADE
);
CREATE TABLE guilds (
	guild_id BIGINT NOT NULL, 
	captions_where VARCHAR(16), 
	captions_channel_id BIGINT, 
	voice TEXT, 
	text_prompt TEXT, 
	persona_name TEXT, 
	transcripts BOOLEAN DEFAULT 0 NOT NULL, 
	idle_minutes INTEGER, 
	max_minutes INTEGER, captions_of_people BOOLEAN, notes BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (guild_id)
);
CREATE TABLE people (
	user_id BIGINT NOT NULL, 
	opted_out BOOLEAN DEFAULT 0 NOT NULL, 
	voice TEXT, 
	text_prompt TEXT, 
	persona_name TEXT, 
	PRIMARY KEY (user_id)
);
CREATE TABLE personas (
	id INTEGER NOT NULL, 
	owner_kind VARCHAR(8) NOT NULL, 
	owner_id BIGINT NOT NULL, 
	name TEXT NOT NULL, 
	name_key TEXT NOT NULL, 
	voice TEXT NOT NULL, 
	text_prompt TEXT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_persona_of_a_name UNIQUE (owner_kind, owner_id, name_key)
);
CREATE TABLE queue (
	place INTEGER NOT NULL, 
	guild_id BIGINT NOT NULL, 
	channel_id BIGINT NOT NULL, 
	user_id BIGINT, 
	since DATETIME NOT NULL, 
	PRIMARY KEY (place), 
	CONSTRAINT one_place_of_a_channel UNIQUE (guild_id, channel_id)
);
CREATE TABLE transcripts (
	line INTEGER NOT NULL, 
	guild_id BIGINT NOT NULL, 
	call VARCHAR(64) NOT NULL, 
	user_id BIGINT, 
	said_at DATETIME NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (line)
);
CREATE INDEX transcripts_by_call ON transcripts (guild_id, call);
CREATE INDEX transcripts_by_person ON transcripts (user_id);
CREATE TABLE unfinished_notices (
	message_id BIGINT NOT NULL, 
	channel_id BIGINT NOT NULL, 
	guild_id BIGINT NOT NULL, 
	bot_id BIGINT NOT NULL, 
	PRIMARY KEY (message_id)
);
CREATE TABLE usage (
	guild_id BIGINT NOT NULL, 
	hour INTEGER NOT NULL, 
	seconds INTEGER NOT NULL, 
	PRIMARY KEY (guild_id, hour)
);
