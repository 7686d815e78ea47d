"""aioice, or with --aiortc the ICE transport of aiortc, behind the lines that our example `ice_agent` speaks."""

import asyncio
import sys
import time

import aioice
import lines

OPTIONS = lines.options()


async def main():
    connection, connect = through_aiortc() if OPTIONS.aiortc else directly()
    incoming = await standard_input()
    lines.say(f"ufrag {connection.local_username}")
    lines.say(f"pwd {connection.local_password}")
    await connection.gather_candidates()
    for candidate in connection.local_candidates:
        lines.say(f"candidate:{candidate.to_sdp()}")
    lines.say("end")
    began = None
    while began is None:
        began = await take(connection, incoming)
    later = asyncio.create_task(take_all(connection, incoming))
    ms = lambda: round((time.monotonic() - began) * 1000)  # noqa: E731
    lines.tell("state", ms(), state="checking")
    try:
        await asyncio.wait_for(connect(), OPTIONS.patience)
    except (ConnectionError, TimeoutError) as error:
        lines.tell("state", ms(), state="failed", reason=repr(error))
        return await later
    lines.tell("state", ms(), state="connected")
    for component in range(1, OPTIONS.components + 1):
        pair = connection._nominated[component]
        lines.tell("selected", ms(), component=component, local=f"{pair.local_candidate.host}:{pair.local_candidate.port}",
                   remote=f"{pair.remote_addr[0]}:{pair.remote_addr[1]}", relayed=pair.local_candidate.type == "relay")
    lines.tell("state", ms(), state="completed")
    await talk(connection, ms, later)
    await connection.close()


def directly():
    """The connection, and how to start it."""
    connection = aioice.Connection(
        ice_controlling=OPTIONS.controlling, components=OPTIONS.components, use_ipv6=not OPTIONS.ipv4,
        stun_server=lines.address(OPTIONS.stun), turn_server=lines.address(OPTIONS.turn),
        turn_username=OPTIONS.user, turn_password=OPTIONS.password, turn_transport=OPTIONS.turn_transport,
        transport_policy=aioice.ice.TransportPolicy.RELAY if OPTIONS.relay_only else aioice.ice.TransportPolicy.ALL)
    return connection, connection.connect


def through_aiortc():
    """Likewise, inside an RTCIceTransport."""
    from aiortc import RTCIceGatherer, RTCIceParameters, RTCIceTransport
    transport = RTCIceTransport(RTCIceGatherer(iceServers=[]))
    connection = transport.iceGatherer._connection
    connection.ice_controlling = OPTIONS.controlling

    async def connect():
        await transport.start(RTCIceParameters(connection.remote_username, connection.remote_password,
                                               connection.remote_is_lite))
        if transport.state != "completed":
            raise ConnectionError(f"the transport is {transport.state}")
    return connection, connect


async def take(connection, incoming):
    """One line of the other end; the moment when its credentials are there."""
    line = (await incoming.readline()).decode().strip()
    word, _, rest = line.partition(" ")
    if not line:
        sys.exit(0)
    if word == "lite":
        connection.remote_is_lite = True
    elif word == "ufrag":
        connection.remote_username = rest
    elif word == "pwd":
        connection.remote_password = rest
        return time.monotonic()
    elif word == "end":
        await connection.add_remote_candidate(None)
    else:
        await connection.add_remote_candidate(aioice.Candidate.from_sdp(line.removeprefix("candidate:")))
    return None


async def take_all(connection, incoming):
    while True:
        await take(connection, incoming)


async def talk(connection, ms, later):
    tally = lines.Tally(OPTIONS.components)

    async def hear():
        while True:
            data, component = await connection.recvfrom()
            answer = tally.hear(component, data)
            if answer:
                await connection.sendto(answer, component)

    hearing = asyncio.create_task(hear())
    for number in range(OPTIONS.packets):
        for component in range(1, OPTIONS.components + 1):
            await connection.sendto(tally.ping(component, number), component)
        await asyncio.sleep(0.02)
    for _ in range(100):
        if tally.is_complete():
            break
        await asyncio.sleep(0.02)
    tally.tell(ms())
    try:
        await later                                     # until the input ends
    finally:
        hearing.cancel()


async def standard_input():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


asyncio.run(main())
