// A client without the node's CA must not get a connection. Prints the same JSON line as phones.mjs.

import WebSocket from 'ws';

const socket = new WebSocket(process.env.URL, 'sip');
const tell = (good, detail) => {
  console.log(JSON.stringify({ case: 'without the CA the certificate is refused', good, detail }));
  process.exit(0);
};
socket.on('open', () => tell(false, 'connected'));
socket.on('error', (error) => tell(/certificate|issuer|signed/.test(error.message), error.message));
