// A bridge as discord.js offers it, between a voice channel and a server that speaks the Moshi protocol.
//
// Up, the person's Opus packets are passed through: each is put on an Ogg page as it is. Down, the engine's packets are decoded and played as
// PCM, which AudioPlayer encodes again. Nothing is trimmed, no silence is sent, and a call has one speaker: the least that works.
// Environment: as `discordplex run` takes it. NODE_EXTRA_CA_CERTS makes Node trust the loopback.
"use strict";

const { PassThrough } = require("node:stream");
const { Client, GatewayIntentBits } = require("discord.js");
const voice = require("@discordjs/voice");
const OpusScript = require("opusscript");
const WebSocket = require("ws");

const RATE_HZ = 48_000;
const HANDSHAKE = 0;
const AUDIO = 1;
const BOS = 2;
const SERIAL = 7;
const FRAME_SAMPLES = 960;
const HEADER_BYTES = 27;
const CHECKSUM_AT = 22;

const TABLE = Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit++) value = value < 0 ? (value << 1) ^ 0x04c11db7 : value << 1;
  return value >>> 0;
});

function checksum(page) {
  let value = 0;
  for (const byte of page) value = ((value << 8) ^ TABLE[(value >>> 24) ^ byte]) >>> 0;
  return value;
}

class OggWriter {
  number = 0;
  granule = 0;

  headers() {
    const head = Buffer.from("OpusHead\x01\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00", "latin1");
    head.writeUInt32LE(RATE_HZ, 12);
    return Buffer.concat([this.page(head, BOS, 0), this.page(Buffer.from("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00", "latin1"), 0, 0)]);
  }

  page(packet, flags = 0, samples = FRAME_SAMPLES) {
    this.granule += samples;
    const segments = Math.floor(packet.length / 255) + 1;
    const page = Buffer.alloc(HEADER_BYTES + segments + packet.length, 255);
    page.write("OggS", "latin1");
    page.writeUInt8(0, 4);
    page.writeUInt8(flags, 5);
    page.writeBigInt64LE(BigInt(this.granule), 6);
    page.writeUInt32LE(SERIAL, 14);
    page.writeUInt32LE(this.number++, 18);
    page.writeUInt32LE(0, CHECKSUM_AT);
    page.writeUInt8(segments, 26);
    page.writeUInt8(packet.length % 255, HEADER_BYTES + segments - 1);
    packet.copy(page, HEADER_BYTES + segments);
    page.writeUInt32LE(checksum(page), CHECKSUM_AT);
    return page;
  }
}

/** The packets of whole pages: a PersonaPlex server splits none over messages. */
function* packetsOf(ogg) {
  for (let at = 0; at + HEADER_BYTES <= ogg.length; ) {
    const lacing = ogg.subarray(at + HEADER_BYTES, at + HEADER_BYTES + ogg[at + 26]);
    let start = at + HEADER_BYTES + lacing.length;
    let length = 0;
    for (const segment of lacing) {
      length += segment;
      if (segment === 255) continue;
      yield ogg.subarray(start, start + length);
      start += length;
      length = 0;
    }
    at = start;
  }
}

/** The frames of an Opus packet as packets of one frame each (RFC 6716, section 3.2): opusscript decodes 60 ms at most. */
function framesOf(packet) {
  const toc = packet[0] & 0xfc;
  const single = (frame) => Buffer.concat([Buffer.from([toc]), frame]);
  const lengthAt = (at) => (packet[at] < 252 ? [packet[at], at + 1] : [packet[at + 1] * 4 + packet[at], at + 2]);
  if ((packet[0] & 3) === 0) return [packet];
  if ((packet[0] & 3) === 1) {
    const half = (packet.length - 1) / 2;
    return [single(packet.subarray(1, 1 + half)), single(packet.subarray(1 + half))];
  }
  if ((packet[0] & 3) === 2) {
    const [first, at] = lengthAt(1);
    return [single(packet.subarray(at, at + first)), single(packet.subarray(at + first))];
  }
  const count = packet[1] & 0x3f;
  let at = 2;
  let padding = 0;
  while (packet[1] & 0x40) {
    const byte = packet[at++];
    padding += byte === 255 ? 254 : byte;
    if (byte !== 255) break;
  }
  const end = packet.length - padding;
  const lengths = [];
  if (packet[1] & 0x80) {
    for (let frame = 1; frame < count; frame++) {
      const [length, next] = lengthAt(at);
      lengths.push(length);
      at = next;
    }
    lengths.push(end - at - lengths.reduce((sum, length) => sum + length, 0));
  } else {
    lengths.push(...Array(count).fill((end - at) / count));
  }
  return lengths.map((length) => single(packet.subarray(at, (at += length))));
}

class Call {
  constructor(channel, url) {
    this.url = url;
    this.connection = voice.joinVoiceChannel({
      channelId: channel.id,
      guildId: channel.guild.id,
      adapterCreator: channel.guild.voiceAdapterCreator,
      selfDeaf: false,
    });
    this.connection.on("error", (fault) => console.error("voice:", fault.message));
    this.decoder = new OpusScript(RATE_HZ, 2, OpusScript.Application.VOIP);
    this.pcm = new PassThrough({ highWaterMark: 1 << 22 });
    const player = voice.createAudioPlayer({ behaviors: { maxMissedFrames: Number.MAX_SAFE_INTEGER } });
    player.on("error", (fault) => console.error("player:", fault.message));
    player.play(voice.createAudioResource(this.pcm, { inputType: voice.StreamType.Raw }));
    this.connection.subscribe(player);
    this.ogg = new OggWriter();
    this.open = false;
    this.engine = new WebSocket(`${url}?voice_prompt=NATF0.pt&text_prompt=You+enjoy+having+a+good+conversation.`);
    this.engine.on("message", (message) => this.take(message));
    this.engine.on("error", (fault) => console.error("engine:", fault.message));
    this.connection.receiver.speaking.on("start", (userId) => this.hear(userId));
  }

  hear(userId) {
    const stream = this.connection.receiver.subscribe(userId, { end: { behavior: voice.EndBehaviorType.Manual } });
    if (stream.listenerCount("data")) return;
    // While it resumes, @discordjs/voice 0.19.2 delivers packets that are still encrypted; at such a one, the server ends the conversation.
    const isReady = () => this.open && this.connection.state.status === voice.VoiceConnectionStatus.Ready;
    stream.on("data", (packet) => isReady() && this.send(this.ogg.page(packet)));
    stream.on("error", (fault) => console.error("receiver:", fault.message));
  }

  send(ogg) {
    this.engine.send(Buffer.concat([Buffer.from([AUDIO]), ogg]));
  }

  take(message) {
    if (message[0] === HANDSHAKE) {
      this.send(this.ogg.headers());
      this.open = true;
    }
    if (message[0] !== AUDIO) return;
    for (const packet of packetsOf(message.subarray(1))) {
      if (packet.subarray(0, 4).equals(Buffer.from("Opus"))) continue;
      for (const frame of framesOf(packet)) this.pcm.write(this.decoder.decode(frame));
    }
  }

  close() {
    this.connection.destroy();
    this.engine.close();
    this.decoder.delete();
  }
}

async function main() {
  const urls = JSON.parse(process.env.DISCORDPLEX_PERSONAPLEX__URLS);
  const calls = new Map();
  const client = new Client({
    intents: [GatewayIntentBits.Guilds, GatewayIntentBits.GuildVoiceStates],
    rest: { api: process.env.DISCORDPLEX_DISCORD__API_URL.replace(/\/v\d+$/, ""), version: "10" },
  });
  client.on("voiceStateUpdate", (_, state) => {
    const guild = state.guild;
    const people = [...guild.voiceStates.cache.values()].filter((each) => each.channelId && each.id !== client.user.id);
    const call = calls.get(guild.id);
    if (call && !people.length) {
      calls.delete(guild.id);
      call.close();
    } else if (!call && people.length) {
      const taken = [...calls.values()].map((each) => each.url);
      const free = urls.find((url) => !taken.includes(url));
      if (free) calls.set(guild.id, new Call(people[0].channel, free));
    }
  });
  process.on("SIGTERM", () => {
    for (const call of calls.values()) call.close();
    client.destroy();
    setTimeout(() => process.exit(0), 300); // the close frames are on their way
  });
  await client.login(process.env.DISCORDPLEX_DISCORD__TOKEN);
}

main();
