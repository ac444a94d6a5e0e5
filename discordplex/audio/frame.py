"""Reframer: cuts PCM of any length into frames of 20 ms. Pure."""

from collections.abc import Iterator

from discordplex.audio.format import AudioFormat


class Reframer:
    """Bytes of any length in, whole frames out; the rest waits for more. Not thread-safe."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._frame_bytes = audio_format.frame_bytes
        self._rest = bytearray()
        self.pending_bytes = 0
        """The bytes of the unfinished frame; always less than a frame."""

    def push(self, pcm: bytes) -> Iterator[bytes]:
        """Take a batch and return every frame that is now complete, in order."""
        if not self._rest and len(pcm) == self._frame_bytes:
            return iter((bytes(pcm),))
        self._rest += pcm
        whole = len(self._rest) // self._frame_bytes * self._frame_bytes
        ready = bytes(self._rest[:whole])
        del self._rest[:whole]
        self.pending_bytes = len(self._rest)
        return (ready[start : start + self._frame_bytes] for start in range(0, whole, self._frame_bytes))

    def take_rest(self) -> bytes:
        """Return the unfinished frame's bytes and stop waiting for its end."""
        rest = bytes(self._rest)
        self.clear()
        return rest

    def clear(self) -> None:
        """Drop the bytes that wait for the rest of their frame."""
        self._rest.clear()
        self.pending_bytes = 0
