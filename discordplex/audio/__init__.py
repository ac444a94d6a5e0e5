"""Sound: formats, codecs, buffers. No sockets and no asyncio; only `sink.py` and `source.py` import discord.

    format                         rates, frame lengths, byte counts: start here
    sink                           people's sound, one buffer per speaker
    source                         the engine's sound, one frame every 20 ms
    playout, pacing, jitter        the playout buffer, how much it holds, how unevenly sound arrives
    opus, libopus                  Opus, with FEC and concealment (`voice/rtp/receiver.py` calls it for lost packets)
    oggopus, ogg, oggheaders       Ogg Opus for PersonaPlex; sphncodec uses the package sphn where it is installed
    mixer, converter, resampler    speakers to one signal, 48/24 kHz, other rates
    vad, ducking, fades, phase     speech detection, lower volume for interruptions, ramps, the phase of ticks
    wav, wavreader                 WAV files
    samples, frame, playback       helpers

Every package above may import any module from here; nothing here imports them.
"""
