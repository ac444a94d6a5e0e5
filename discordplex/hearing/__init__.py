"""Speech to words, for each speaker separately: detector, segmenter, transcriber. The cascade's first stages, and beside others.

Start with `speech_input.py`, then `ears.py`. It needs the packages of the extra `cascade`; importing this package imports none of them.
Others import `provider`; the cascade also the stages.
"""
