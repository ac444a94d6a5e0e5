"""The Discord voice wire: voice gateway v8, RTP, transport encryption, end-to-end encryption.

The order to read it in:

    connection       VoiceConnection: what py-cord holds, and the call's place in a channel
    reconnect        what is done after each loss; close_codes and connection_info are its facts
    watchdog         what is done when somebody speaks and is not heard; deafness decides when that is so
    session          one voice session over its WebSockets; gateway/ is the protocol, members the people
    rtp/             datagram -> somebody's sound, our sound -> datagram every 20 ms; rtp/receiver conceals lost packets
    dave/            end-to-end encryption: keys and who is in the group
    events           what the rest of the bot learns of all this

Three threads meet in three places: `Receiver` (receive, with a mailbox for the loop), `Sender` (send, with a lock around what it sends
through) and `DaveSession` (all three, with a lock around the keys). Others import `connection.py`, `events.py` and `rtp/threads.py`.
"""
