"""A Discord voice server on loopback, to which discord.py's own `VoiceClient` connects.

It speaks voice gateway v8 on a websocket, answers IP discovery, and takes RTP over UDP encrypted
with `aead_xchacha20_poly1305_rtpsize`. While there are listeners, speech is end-to-end encrypted
for them (DAVE) as on Discord, except on stages; a bot that is alone sends plain Opus. Every packet
is kept with its time of arrival, so that a test can ask what was heard, and when.

    region.py     the server: one thread with its own event loop, and the addresses it answers on
    address.py    one of those addresses: the websocket and the UDP port
    session.py    one websocket: hello, identify, ready, session description, heartbeats
    call.py       the object that tests use: one guild's call, its faults, and what was heard
    dave.py       the listeners' side of DAVE, and the group that Discord manages
    mls.py        the few MLS messages that Discord itself signs
    rtp.py        packets, and their transport encryption
    udp.py        what comes by UDP unasked: reports, and what other members say
    modes.py      how a healthy server behaves where Discord promises nothing
    faults.py     the faults that a test can cause
    hearing.py    from packets to sound: decoded frames, gaps, pacing
    spectrum.py   which tones a sound contains, and how alike two sounds are

What this cannot show:

- The real network. Loopback neither jitters nor reorders, has no NAT and no bandwidth limit;
  packets are lost only if a test asks for it.
- Discord's own timing and rules: how soon a voice server answers or gives up on a client, its rate
  limits, which close code it picks in which situation, regions, and how it moves calls.
- What comes back by UDP. Discord promises nothing but the answer to IP discovery, which is all that
  comes here by default. The modes are what has been seen of real servers; there may be others.
- What ears get. Discord's clients add a jitter buffer, concealment, automatic gain and a mixer;
  here each frame is decoded as it was sent and judged by when it arrived.
- Which member's commit Discord takes. Here it is always a listener's, and the others follow at
  once; a real group takes a moment, in which not everybody can decrypt. Discord's own server may
  order those messages otherwise. Keys are real.
- Video, speaking to the bot, and more than one bot in a call.
"""
