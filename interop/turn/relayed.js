// Two peer connections of one page that may use nothing but relays: a data channel and sound between them.
// Gives what they saw; throws when they do not meet.
async function relayed(server) {
  const configuration = { iceServers: [server], iceTransportPolicy: "relay" };
  const [caller, called] = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
  const errors = [], began = performance.now();
  try {
    for (const [from, to] of [[caller, called], [called, caller]]) {
      from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
      from.onicecandidateerror = (error) => errors.push(`${error.url} ${error.errorCode} ${error.errorText}`);
    }
    const sound = new AudioContext(), tone = sound.createOscillator(), destination = sound.createMediaStreamDestination();
    tone.connect(destination);
    tone.start();
    caller.addTrack(destination.stream.getAudioTracks()[0], destination.stream);
    const channel = caller.createDataChannel("test");
    const opened = new Promise((resolve) => (channel.onopen = resolve));
    called.ondatachannel = ({ channel }) => (channel.onmessage = ({ data }) => channel.send(data));
    await caller.setLocalDescription();
    await called.setRemoteDescription(caller.localDescription);
    await called.setLocalDescription();
    await caller.setRemoteDescription(called.localDescription);
    const within = (what, promise, seconds) => Promise.race([promise, new Promise((_, reject) =>
      setTimeout(() => reject(new Error(`${what}: not within ${seconds} s; ${errors.join(", ")}`)), seconds * 1000))]);
    await within("data channel", opened, 10);
    const took = performance.now() - began;
    let echoes = 0;
    const echoed = new Promise((resolve) => (channel.onmessage = ({ data }) => data === "x".repeat(1000) && ++echoes === 50 && resolve()));
    for (let sent = 0; sent < 50; sent++) channel.send("x".repeat(1000));
    await within("echoes", echoed, 5);
    const heard = (async () => {
      for (;;) {
        for (const report of (await called.getStats()).values())
          if (report.type === "inbound-rtp" && report.packetsReceived >= 10) return report.packetsReceived;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    await within("sound", heard, 5);
    const stats = await caller.getStats();
    const pair = [...stats.values()].find((report) => report.type === "candidate-pair" && report.nominated);
    const [here, there] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
    return { types: [here.candidateType, there.candidateType], protocol: here.relayProtocol, milliseconds: Math.round(took) };
  } finally {
    caller.close();
    called.close();
  }
}
