// Two JsSIP clients on secure WebSockets: register, OPTIONS, MESSAGE, a call (signalling only) and unregistration.
// Prints one JSON line a case: {"case", "good", "detail"}. Environment: URL, DOMAIN, USERS (JSON: name -> password).

import JsSIP from 'jssip';
import WebSocket from 'ws';
import { FakePeerConnection } from './media.mjs';

globalThis.window = globalThis;
globalThis.WebSocket = WebSocket;                          // trusts NODE_EXTRA_CA_CERTS and checks the name
globalThis.RTCPeerConnection = FakePeerConnection;
globalThis.RTCSessionDescription = function (description) { return description; };
if (process.env.TRACE) JsSIP.debug.enable('JsSIP:*');

const { URL, DOMAIN } = process.env;
const passwords = JSON.parse(process.env.USERS);
const seconds = 10;

function within(what, begin) {
  return new Promise((good, bad) => {
    const timer = setTimeout(() => bad(new Error(`${what}: nothing within ${seconds} s`)), seconds * 1000);
    begin((value) => { clearTimeout(timer); good(value); }, (cause) => { clearTimeout(timer); bad(new Error(`${what}: ${cause}`)); });
  });
}

async function check(name, run) {
  try {
    const detail = await run();
    console.log(JSON.stringify({ case: name, good: true, detail: detail ?? '' }));
  } catch (error) {
    console.log(JSON.stringify({ case: name, good: false, detail: error.message }));
  }
}

function phone(user, password = passwords[user]) {
  return new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(URL)],
    uri: `sip:${user}@${DOMAIN}`, password, register: true, session_timers: false, register_expires: 600,
  });
}

function registration(ua) {
  return within('registration', (good, bad) => {
    ua.on('registered', ({ response }) => good(`${response.status_code} ${response.getHeader('contact') ?? ''}`));
    ua.on('registrationFailed', ({ cause, response }) => bad(`${cause} ${response?.status_code ?? ''}`));
    ua.on('disconnected', ({ code, reason }) => bad(`WebSocket closed ${code ?? ''} ${reason ?? ''}`));
    ua.start();
  });
}

const cause = ({ cause: text, response, message }) => `${text} ${response?.status_code ?? message?.status_code ?? ''}`;
const handlers = (good, bad) => ({ succeeded: ({ response }) => good(`${response.status_code}`), failed: (e) => bad(cause(e)) });

const alice = phone('alice');
const bob = phone('bob');
await check('two clients register over WSS with digest, certificate verified', async () => {
  await Promise.all([registration(alice), registration(bob)]);
});

await check('OPTIONS reaches the other client and its answer comes back', () =>
  within('OPTIONS', (good, bad) => { alice.sendOptions(`sip:bob@${DOMAIN}`, null, { eventHandlers: handlers(good, bad) }); }));

await check('MESSAGE arrives with its body', async () => {
  const text = 'Grüße über WebSocket';
  const arrived = within('MESSAGE', (good) => bob.once('newMessage', ({ message, request }) => { message.accept(); good(request.body); }));
  await within('MESSAGE', (good, bad) => { alice.sendMessage(`sip:bob@${DOMAIN}`, text, { eventHandlers: handlers(good, bad) }); });
  if (await arrived !== text) throw new Error(`arrived as ${await arrived}`);
});

await check('a call: INVITE, 180, 200, ACK, and BYE from the called side', async () => {
  const answered = within('call', (good, bad) => bob.once('newRTCSession', ({ session }) => {
    session.on('confirmed', () => good(session));
    session.on('failed', (e) => bad(cause(e)));
    setTimeout(() => session.answer({ mediaConstraints: { audio: false, video: false } }), 100);
  }));
  answered.catch(() => {});
  let ended;
  await within('call', (good, bad) => {
    let rang = false;
    const session = alice.call(`sip:bob@${DOMAIN}`, {
      mediaConstraints: { audio: false, video: false },
      eventHandlers: {
        progress: () => { rang = true; },
        confirmed: () => (rang ? good() : bad('no 180')),
        failed: (e) => bad(cause(e)),
      },
    });
    ended = within('BYE', (done) => session.on('ended', done));
    ended.catch(() => {});
  });
  (await answered).terminate();
  await ended;
});

await check('a wrong password is refused', async () => {
  const intruder = phone('bob', 'wrong');
  try {
    await registration(intruder);
  } catch (error) {
    if (/40[13]/.test(error.message)) return error.message;
    throw error;
  } finally {
    intruder.stop();
  }
  throw new Error('it registered');
});

await check('after it unregistered, the client is offline (480)', async () => {
  await within('unregistration', (good) => { bob.once('unregistered', good); bob.unregister(); });
  try {
    await within('OPTIONS', (good, bad) => { alice.sendOptions(`sip:bob@${DOMAIN}`, null, { eventHandlers: handlers(good, bad) }); });
  } catch (error) {
    if (/480/.test(error.message)) return error.message;
    throw error;
  }
  throw new Error('somebody answered');
});

alice.stop();
bob.stop();
setTimeout(() => process.exit(0), 300);
