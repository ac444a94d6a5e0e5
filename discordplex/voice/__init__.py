"""The Discord wire: voice gateway v8, RTP, transport encryption, end-to-end encryption.

The order to read it in:

    client       VoiceConnection: what py-cord holds, and the call's place in a channel
    upkeep       what is done after each loss; closing, backoff and invitation are its facts
    watchdog     what is done when somebody speaks and is not heard; deafness is its judgement
    line         one voice session over its WebSockets; gateway, messages and events are its language, roster the people
    media        its datagram socket; wire has the two threads
    receiver     datagram -> somebody's sound; reorder, rtp and transport on the way, a stream for each speaker
    sender       our sound -> datagram, every 20 ms
    e2ee, group  DAVE: keys and who is in the group

Three threads meet in three places: `Receiver` (receive, with a mailbox for the loop), `Sender` (send, with a lock around what it sends
through) and `E2ee` (all three, with a lock around the keys).
"""
