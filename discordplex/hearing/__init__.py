"""Speech to words, for each speaker separately: detector, segmenter, transcriber. These are the first stages of the cascade.

Start with `speech_input.py`. It needs the packages of the extra `cascade`; importing this package imports none of them.
"""
