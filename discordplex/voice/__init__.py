"""Discord's voice: voice gateway v8, RTP, transport encryption, end-to-end encryption.

    rtp/          sound: datagram -> order, concealed losses, PCM (rtp/receiver.py); PCM -> datagram every 20 ms (rtp/sender.py)
    gateway/      the voice gateway's protocol, without IO
    dave/         end-to-end encryption: keys and the members of the group
    session       one session: its WebSocket, its UDP socket, its keys; members has the people
    connection    VoiceConnection: what py-cord holds; it keeps the bot in its channel
    reconnect     what to do after each loss; close_codes and connection_info have the facts
    watchdog      what to do when somebody speaks and is not heard; deafness decides when that is so
    events        what the bot is told

For sound, start with rtp/receiver.py; for connections, with `connection.py`.

Data crosses threads in two places: `Sender` (send thread, with a lock around what it sends through) and `DaveSession` (loop and send
thread, with a lock around the key to send with). Others import `connection.py`, `events.py` and
`rtp/threads.py`.
"""
