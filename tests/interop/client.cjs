// A discord.js bot in a voice channel: says the Opus packets that it is given, and tells what it hears.
//
// It is told what to do by lines of JSON on stdin, and answers by lines of JSON on stdout. Environment: API_URL, TOKEN, GUILD_ID, CHANNEL_ID,
// LISTEN_TO (user ids). Nothing of discord.js is patched; NODE_EXTRA_CA_CERTS makes Node trust the loopback.
"use strict";

const { createHash } = require("node:crypto");
const { createInterface } = require("node:readline");
const { Readable } = require("node:stream");
const { Client, GatewayIntentBits } = require("discord.js");
const voice = require("@discordjs/voice");

const READY_WITHIN_MS = 15_000;

const tell = (event, data = {}) => process.stdout.write(JSON.stringify({ event, ...data }) + "\n");
const digest = (packet) => createHash("sha1").update(packet).digest("hex");
const heard = {};

function listen(connection, userId) {
  heard[userId] = [];
  const stream = connection.receiver.subscribe(userId, { end: { behavior: voice.EndBehaviorType.Manual } });
  stream.on("data", (packet) => heard[userId].push(digest(packet)));
  stream.on("error", (fault) => tell("trouble", { message: String(fault) }));
}

async function say(player, packets) {
  const stream = Readable.from(packets.map((packet) => Buffer.from(packet, "base64")), { objectMode: true });
  player.play(voice.createAudioResource(stream, { inputType: voice.StreamType.Opus }));
  await voice.entersState(player, voice.AudioPlayerStatus.Playing, READY_WITHIN_MS);
  await voice.entersState(player, voice.AudioPlayerStatus.Idle, 60_000);
  tell("said", { packets: packets.length });
}

async function main() {
  const client = new Client({
    intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildVoiceStates],
    rest: { api: process.env.API_URL, version: "10" },
  });
  const ready = new Promise((resolve) => client.once("clientReady", resolve));
  await client.login(process.env.TOKEN);
  await ready;
  const guild = await client.guilds.fetch(process.env.GUILD_ID);
  const connection = voice.joinVoiceChannel({
    channelId: process.env.CHANNEL_ID,
    guildId: guild.id,
    adapterCreator: guild.voiceAdapterCreator,
    selfDeaf: false,
  });
  connection.on("error", (fault) => tell("trouble", { message: String(fault) }));
  await voice.entersState(connection, voice.VoiceConnectionStatus.Ready, READY_WITHIN_MS);
  process.env.LISTEN_TO.split(",").forEach((userId) => listen(connection, userId));
  const player = voice.createAudioPlayer();
  connection.subscribe(player);
  tell("joined", { library: voice.version });
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.say) await say(player, order.say);
    if (order.report) tell("report", { heard, privacyCode: connection.voicePrivacyCode ?? null });
    if (order.leave) break;
  }
  connection.destroy();
  await client.destroy();
  tell("left");
}

main().catch((fault) => {
  tell("failed", { message: String((fault && fault.stack) || fault) });
  process.exitCode = 1;
});
