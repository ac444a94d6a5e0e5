"""The call of one guild, from joining the voice channel to leaving it. Its sound is in `bridge`.

Start with `call.py`. `scheduling` and `commands` see a call through `interface.py`; `login.py` makes calls. The rest is internal.
"""
