"""Catalog: the name, the help text and the unit of each of our metrics in Prometheus. Pure.

`discordplex.metrics` counts under dotted names, such as `uplink.wait_ms`. A counter becomes `discordplex_uplink_..._total`; samples and
milliseconds become seconds. A metric that is not listed here is still exported, under the name that follows from its own, and a test fails.
"""

from dataclasses import dataclass

from discordplex.audio.format import ENGINE

PREFIX = "discordplex_"

SAMPLES = 1 / ENGINE.rate_hz
MILLISECONDS = 1 / 1000

TICKS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
"""Upper ends of buckets, in seconds, for what happens with each frame."""

ANSWERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 60.0)
"""The same for answers of services."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric as Prometheus has it. With `label`, the last part of the dotted name is the value of that label."""

    name: str
    help: str
    scale: float = 1
    label: str = ""


@dataclass(frozen=True, slots=True)
class HistogramFamily:
    """A histogram as Prometheus has it, in seconds."""

    name: str
    help: str
    bounds: tuple[float, ...] = TICKS


COUNTERS = {
    "uplink.ticks": Family("uplink_frames", "Frames of 20 ms that engines got, silence included."),
    "uplink.silent": Family("uplink_silent_frames", "Of these, frames in which nobody spoke."),
    "uplink.skipped": Family("uplink_skipped_frames", "Frames that engines did not get because the process stalled."),
    "uplink.unheard": Family("uplink_unheard_frames", "Frames of people that came while no engine listened, or in a pause."),
    "downlink.samples": Family("downlink_audio_seconds", "Sound that engines sent.", SAMPLES),
    "downlink.flushed_samples": Family("downlink_flushed_audio_seconds", "Of it, sound dropped because somebody interrupted.", SAMPLES),
    "downlink.late_samples": Family("downlink_late_audio_seconds", "Of it, sound of replies that had been interrupted before.", SAMPLES),
    "downlink.muted_samples": Family("downlink_muted_audio_seconds", "Of it, sound that came in a pause.", SAMPLES),
    "downlink.texts": Family("downlink_texts", "Pieces of text that engines sent."),
    "downlink.untold_problems": Family(
        "downlink_untold_problems", "Sentences about problems beyond those that people can be expected to read."
    ),
    "sink.nobody": Family("sink_nobody", "Batches of sound without a known speaker."),
    "sink.evicted": Family("sink_evicted_speakers", "Speakers forgotten to make room for others."),
    "sink.underruns": Family("sink_underruns", "Frames of people that were due and had not come."),
    "sink.stalls": Family("sink_stalls", "Times that a person's sound stopped within speech."),
    "sink.overruns": Family("sink_overrun_frames", "Frames of people dropped because the buffer was full."),
    "sink.expired": Family("sink_expired_frames", "Frames of people dropped because they were too old."),
    "sink.trimmed": Family("sink_trimmed_frames", "Quiet frames of people dropped to catch up."),
    "sink.stretched": Family("sink_stretched_frames", "Frames of people repeated or inserted to wait."),
    "playout.underruns": Family("playout_underruns", "Frames of engines that were due and had not come."),
    "playout.stalls": Family("playout_stalls", "Times that an engine's sound stopped within speech."),
    "playout.overruns": Family("playout_overrun_frames", "Frames of engines dropped because the buffer was full."),
    "playout.expired": Family("playout_expired_frames", "Frames of engines dropped because they were too old."),
    "playout.trimmed": Family("playout_trimmed_frames", "Quiet frames of engines dropped to catch up."),
    "playout.stretched": Family("playout_stretched_frames", "Frames of engines repeated or inserted to wait."),
    "voice.losses": Family("voice_connection_losses", "Voice connections that were lost."),
    "voice.faults": Family("voice_thread_faults", "Failures in the threads of voice; each is a bug."),
    "voice.rx.frames": Family("voice_rx_frames", "Packets of people that were decrypted and decoded."),
    "voice.rx.lost": Family("voice_rx_lost_packets", "Packets of people that never came."),
    "voice.rx.socket_errors": Family("voice_rx_socket_errors", "Errors of sockets while receiving."),
    "voice.rx.": Family("voice_rx_not_sound", "Datagrams and packets that are not plain sound, by what they are.", label="reason"),
    "voice.deaf.": Family("voice_deaf", "Repairs because somebody spoke and nothing arrived, by what was done.", label="remedy"),
    "voice.tx.packets": Family("voice_tx_packets", "Packets that were sent to Discord."),
    "voice.tx.skipped": Family("voice_tx_skipped_packets", "Packets that were not sent because the process stalled."),
    "voice.tx.dropped": Family(
        "voice_tx_dropped_packets", "Packets that were not sent because they could not be encrypted or the socket was full."
    ),
    "voice.tx.faults": Family("voice_tx_faults", "Failures of a source of sound; each is a bug."),
    "voice.tx.socket_errors": Family("voice_tx_socket_errors", "Errors of sockets while sending."),
    "voice.gateway.bad_messages": Family("voice_gateway_bad_messages", "Messages of voice servers that break the protocol."),
    "voice.e2ee.transitions": Family("voice_e2ee_transitions", "Changes of keys, or of whether a call is encrypted end to end."),
    "voice.e2ee.unknown_transitions": Family("voice_e2ee_unknown_transitions", "Changes of keys that nobody had announced."),
    "voice.e2ee.recoveries": Family("voice_e2ee_recoveries", "Times that the encrypted group was joined again."),
    "voice.e2ee.mls_failures": Family("voice_e2ee_mls_failures", "Messages about keys that libdave refused."),
    "engine.sessions": Family("engine_sessions", "Sessions with Realtime services."),
    "engine.frames_sent": Family("engine_sent_frames", "Frames that were sent to engines."),
    "engine.frames_dropped": Family("engine_dropped_frames", "Frames that were not sent because an engine's server did not take them."),
    "engine.blocks_received": Family("engine_received_blocks", "Blocks of sound that engines sent."),
    "engine.blocks_damaged": Family("engine_damaged_blocks", "Blocks of sound that could not be decoded."),
    "engine.tokens_in": Family("engine_input_tokens", "Tokens that services counted as input."),
    "engine.tokens_out": Family("engine_output_tokens", "Tokens that services counted as output."),
    "cascade.utterances": Family("cascade_utterances", "Utterances of people that were transcribed."),
    "cascade.dropped": Family("cascade_dropped_utterances", "Utterances that were dropped because too many waited."),
    "cascade.replies": Family("cascade_replies", "Replies of the cascade."),
    "cascade.holds": Family("cascade_holds", "Times that the cascade held its voice because somebody spoke."),
    "cascade.cuts": Family("cascade_cuts", "Replies that somebody interrupted."),
    "cascade.faults": Family("cascade_faults", "Requests of the cascade that failed."),
    "hearing.unheard": Family("hearing_unheard_frames", "Frames of people for whom speech recognition had no place."),
    "hearing.utterances": Family("hearing_utterances", "Utterances that the ears beside an engine transcribed."),
    "hearing.dropped": Family("hearing_dropped_utterances", "Utterances that the ears dropped because too many waited."),
    "hearing.dropped_ticks": Family("hearing_dropped_frames", "Frames that the ears dropped because they were behind."),
    "hearing.wordless": Family("hearing_wordless_utterances", "Utterances in which the ears found no words."),
    "hearing.faults": Family("hearing_faults", "Requests of the ears that failed."),
    "handover.taken_over": Family("handover_taken_over", "Hand-overs to a next conversation on a second slot."),
    "handover.crossfaded": Family("handover_crossfaded", "Of these, hand-overs in the middle of a word."),
    "handover.renewed": Family("handover_renewed", "Conversations that were opened anew on the same slot."),
    "handover.failed": Family("handover_failed", "Next conversations that failed."),
    "cluster.failed_beats": Family("cluster_failed_beats", "Times that this process did not reach the database of the cluster."),
    "cluster.shards_taken": Family("cluster_taken_shards", "Shards that this process has taken since its start."),
    "poster.writes": Family("poster_writes", "Messages written or edited in channels."),
    "poster.failures": Family("poster_failures", "Writes in channels that failed."),
    "poster.dropped": Family("poster_dropped", "Messages that were given up."),
    "transcripts.dropped": Family("transcripts_dropped_lines", "Lines of transcripts that were dropped because the database was away."),
}
"""By dotted name. A name that ends with a dot stands for all with that beginning."""

HISTOGRAMS = {
    "uplink.wait_ms": HistogramFamily("uplink_wait_seconds", "From the arrival of a person's frame until the engine has it."),
    "engine.uplink_write_ms": HistogramFamily("engine_write_seconds", "From a frame to its last byte in the engine's socket."),
    "engine.downlink_read_ms": HistogramFamily("engine_read_seconds", "From a message of the engine to its sound."),
    "engine.block_spacing_ms": HistogramFamily("engine_block_spacing_seconds", "From one block of the engine's sound to the next."),
    "downlink.depth_ms": HistogramFamily("downlink_depth_seconds", "Sound of the engine that waits when more comes."),
    "downlink.gap_ms": HistogramFamily("downlink_gap_seconds", "From one block of sound to the next, of engines in real time."),
    "sink.hold_ms": HistogramFamily("sink_hold_seconds", "How long a person's frame waits in its buffer."),
    "playout.hold_ms": HistogramFamily("playout_hold_seconds", "How long a frame of the engine waits in its buffer."),
    "voice.tx.lateness_ms": HistogramFamily("voice_tx_lateness_seconds", "How late packets are sent to Discord."),
    "handover.unheard_ms": HistogramFamily("handover_unheard_seconds", "How long nobody was heard while a conversation was opened anew."),
    "cascade.transcribe_ms": HistogramFamily("cascade_transcribe_seconds", "From the end of an utterance to its text.", ANSWERS),
    "cascade.first_audio_ms": HistogramFamily(
        "cascade_first_audio_seconds", "From the end of an utterance to the first sound of the reply.", ANSWERS
    ),
    "cluster.beat_ms": HistogramFamily("cluster_beat_seconds", "How long a beat took: reading and writing the rows of the cluster."),
    "hearing.transcribe_ms": HistogramFamily(
        "hearing_transcribe_seconds", "From the end of an utterance to its text, by the ears.", ANSWERS
    ),
}

LOOP_LAG = HistogramFamily("event_loop_lag_seconds", "How late the event loop runs a timer, once a second.")

GAUGES = {
    "engine.lag_ms": Family("engine_lag_seconds", "How far the slowest engine is behind what people say.", MILLISECONDS),
    "engine.handshake_ms": Family("engine_handshake_seconds", "How long the slowest engine took until it listened.", MILLISECONDS),
    "engine.events_dropped": Family("engine_dropped_events", "Most events of an engine that were dropped in its present conversation."),
    "engine.bad_messages": Family("engine_bad_messages", "Most messages of an engine that broke the protocol in its present conversation."),
    "uplink.phase_ms": Family(
        "uplink_phase_seconds", "Largest shift of a call's ticks towards the arrival of people's packets.", MILLISECONDS
    ),
    "voice.gateway.rtt_ms": Family("voice_gateway_round_trip_seconds", "Longest round trip to a voice server.", MILLISECONDS),
}
"""The largest value of the calls that run now."""

OF_THE_PROCESS = {
    "info": "Version of discordplex and of Python.",
    "ready": "1 if /readyz answers 200.",
    "discord_connected": "1 if a gateway session is open.",
    "store_available": "1 if the database answers, or settings are meant to be in memory.",
    "guilds": "Servers that the bot is in.",
    "calls": "Calls that run, by phase.",
    "people": "People in the channels of these calls.",
    "speaking_people": "Of these, people who speak now.",
    "queue_length": "Channels that wait for an engine.",
    "engine_capacity": "How many calls the engines can hold.",
    "engine_busy": "How many calls the engines hold.",
    "engine_failed": "Of the capacity, servers that have failed since they last held a call.",
    "problems": "Warnings and errors of the log, by code.",
    "status_viewers": "Browsers that have the status page open.",
}
"""Metrics that are not counted but looked up."""

OF_THE_CLUSTER = {
    "cluster_connected": "1 if the database of the cluster was reached at the last try. Without it no call begins.",
    "cluster_age_seconds": "How long ago the database of the cluster was last reached.",
    "cluster_processes": "Processes of the bot that live, as this one knows.",
    "cluster_shards": "Shards of the bot, by who has them: this process (own), another one (other), or none (nobody).",
    "cluster_queue_length": "Channels that wait for an engine in any process.",
}
"""The same, of a process that is one of several. All processes tell the same, except for what is their own."""


def counter_of(dotted: str) -> tuple[Family, str]:
    """The family of a counter, and the value of its label."""
    for key in (dotted, dotted[: dotted.rfind(".") + 1]):
        if key in COUNTERS:
            family = COUNTERS[key]
            return family, dotted[len(key) :] if family.label else ""
    return Family(dotted.replace(".", "_"), "Not described yet."), ""


def histogram_of(dotted: str) -> HistogramFamily:
    """The family of a histogram."""
    return HISTOGRAMS.get(dotted) or HistogramFamily(f"{dotted.removesuffix('_ms').replace('.', '_')}_seconds", "Not described yet.")
