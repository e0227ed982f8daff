// Engine.IO 3 for a tenant that asks for it: the real socket.io 2 and the real socket.io-client 2, by polling, by WebSocket
// and by polling that goes over, hashed at both ends; what each end makes of the end of a session; and what stays refused.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { Container, IMAGE } from './lib/docker.mjs';
import { Gateway, freePort, until } from './lib/gateway.mjs';
import { closed, connect as connect4, handshake, heard } from './lib/sio.mjs';
import { bothStreams } from './lib/stream.mjs';

const io = createRequire(import.meta.url)('socket.io-client-2');
const HERE = new URL('.', import.meta.url).pathname;
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const MEGABYTE = 1_000_000;
const EIO3 = 'socketio = { eio3 = true }';

let old;
let gate;
before(async () => {
  // On the host's own network: load goes to loopback alone.
  const port = await freePort();
  const container = await Container.start(`packets-2-${port}`, {
    image: IMAGE,
    options: ['--network', 'host', '-v', `${HERE}:/live:ro`, '--entrypoint', 'node'],
    command: ['/live/lib/packet-tenant-2.mjs', String(port)],
  });
  old = { url: `http://127.0.0.1:${port}`, close: () => container.remove() };
  await until('the tenant listens', async () => (await container.logs()).includes('listening'));
  gate = await Gateway.open({
    tenants: {
      old: { url: old.url, more: EIO3 },
      one: { url: old.url, more: 'socketio = { eio3 = true, namespaces = ["/app"] }' },
      today: old.url,
    },
  });
}, { timeout: 120_000 });
after(async () => {
  await gate?.close();
  await old?.close();
});

async function signedIn(name, host = 'old') {
  const client = await gate.signedIn(await gate.person(name));
  assert.equal((await client.visit(gate.url(host))).status, 200);
  return client;
}

/** The official client of then, as the page at `host`. */
function connect(client, host, { namespace = '/', transports = ['websocket'], query = {}, ...rest } = {}) {
  const origin = gate.url(host, '').replace(/\/$/, '');
  return io(`${origin}${namespace}`, {
    transports, query, forceNew: true, reconnection: false, timeout: 15_000, agent: client.agent,
    extraHeaders: { cookie: client.cookies(gate.host(host)), origin, 'sec-fetch-site': 'same-origin', 'user-agent': client.name },
    ...rest,
  });
}

async function connected(socket) {
  if (socket.connected) return socket;
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    for (const event of ['connect_error', 'error', 'connect_timeout']) socket.once(event, (why) => reject(why instanceof Error ? why : new Error(JSON.stringify(why))));
  });
  return socket;
}

/** An event and its acknowledgement. */
function ask(socket, ...event) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer to ${event[0]}`)), 30_000);
    socket.emit(...event, (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  test(`socket.io-client 2 by ${name}: every kind of packet arrives as it was sent`, { timeout: 120_000 }, async () => {
    const stream = `old-${name}`;
    const client = await signedIn(stream);
    const socket = await connected(connect(client, 'old', { transports, query: { stream } }));
    if (transports.length === 2) await until('it goes over', () => socket.io.engine.transport.name === 'websocket');
    const words = { text: 'grün 🦊 \u2028 "\\', list: [1, 2.5, null, true, { deep: [[]] }], empty: '' };
    const back = heard(socket, 'echoed');
    socket.emit('echo', words);
    assert.deepEqual(await back, [words]);
    assert.deepEqual(await ask(socket, 'echo', words), words);
    const first = Buffer.from(Array.from({ length: 10_240 }, (_, n) => n % 256));
    const bytes = heard(socket, 'echoed');
    socket.emit('echo', { a: first, b: { c: [Buffer.alloc(0), 'text'] } }, 'grün 🦊');
    const [{ a, b }, then] = await bytes;
    assert(first.equals(a) && b.c[0].length === 0);
    assert.deepEqual([b.c[1], then], ['text', 'grün 🦊']);
    assert(first.equals(await ask(socket, 'echo', first)));

    // Two namespaces on one connection; what stands behind the name of one goes no further.
    const other = await connected(socket.io.socket('/app', { query: { secret: 'token' } }));
    assert.equal(other.io.engine, socket.io.engine);
    assert.deepEqual(await Promise.all([ask(socket, 'who'), ask(other, 'who')]), [{ user: stream, namespace: '/', secret: null }, { user: stream, namespace: '/app', secret: null }]);
    await ask(other, 'join', stream);
    const said = heard(other, 'said');
    other.emit('say', stream, 'to the room');
    assert.deepEqual(await said, ['to the room']);

    const text = 'ä'.repeat(MEGABYTE / 2);
    assert.equal(await ask(socket, 'echo', text), text);
    const block = Buffer.alloc(name === 'polling' ? 750_000 : MEGABYTE, 'a block of bytes \u0000');
    assert(block.equals(await ask(socket, 'echo', block)));

    await bothStreams(socket, ask, until);
    socket.disconnect();
  });

  test(`socket.io-client 2 by ${name}: at the session's end a word, then nothing either way`, { timeout: 60_000 }, async () => {
    const stream = `end-${name}`;
    const [client, watcher] = await Promise.all([signedIn(stream), signedIn(`see-${name}`)]);
    const socket = await connected(connect(client, 'old', { transports, query: { stream } }));
    const other = await connected(socket.io.socket('/app'));
    if (transports.length === 2) await until('it goes over', () => socket.io.engine.transport.name === 'websocket');
    const witness = await connected(connect(watcher, 'old', { query: { stream: `${stream}-witness` } }));
    const told = [];
    for (const it of [socket, other]) {
      it.on('uiBuilderControl', (message) => told.push(`${it.nsp} ${message.uibuilderCtrl}: ${message.reason}`));
      it.on('disconnect', (why) => told.push(`${it.nsp} ${why}`));
    }
    let sent = 0;
    const ticking = setInterval(() => socket.emit('tick', (sent += 1)), 5);
    try {
      await until('it ticks', async () => (await ask(witness, 'of', stream)).last > 20);
      if (name === 'polling') {
        // A request that comes after the end is answered with 401, which this client may hear before the word that its
        // pending poll is answered with: so none is under way.
        clearInterval(ticking);
        await until('all ticks have come', async () => (await ask(witness, 'of', stream)).last === sent);
      }
      await gate.done(['session', 'revoke', '--user', stream]);
      const at = sent;
      await until('both are told', () => told.filter((it) => it.endsWith('io server disconnect')).length === 2);
      assert.deepEqual(told.sort(), ['/ io server disconnect', '/ session invalid: revoked', '/app io server disconnect', '/app session invalid: revoked']);
      const { last } = await until('the tenant hears that both have left', async () => {
        const it = await ask(witness, 'of', stream);
        return it.ended.length >= 1 && it;
      });
      assert(last <= at, `${last} was sent after the call had returned at ${at}`);
      assert.equal(await ask(witness, 'echo', 'still here'), 'still here');
    } finally {
      clearInterval(ticking);
      socket.disconnect();
      witness.disconnect();
    }
  });
}

test('namespaces hold: the first, which the server opens by itself, is not open where it is not let in', { timeout: 60_000 }, async () => {
  const client = await signedIn('narrow', 'one');
  const app = await connected(connect(client, 'one', { namespace: '/app', query: { stream: 'narrow' } }));
  assert.deepEqual(await ask(app, 'who'), { user: 'narrow', namespace: '/app', secret: null });
  const refused = connect(client, 'one', { namespace: '/other', query: { stream: 'narrow' } });
  const [why] = await heard(refused, 'error');
  assert.match(JSON.stringify(why), /not open to you/);
  refused.disconnect();
  const { socket } = await handshake(gate, client, 'one', '/socket.io/?EIO=3&transport=websocket');
  const end = closed(socket);
  const words = [...socket.early];
  socket.on('message', (it) => words.push(String(it)));
  await until('it is open', () => words.some((it) => it.startsWith('0{')));
  socket.send('2');
  await until('pong', () => words.includes('3'));
  assert(!words.includes('40'), words.join());
  socket.send('42["who"]');
  assert.equal((await end).code, 1008);
  app.disconnect();
});

test('what stays refused: other tenants, JSONP, another version of an id, somebody else with it', { timeout: 60_000 }, async () => {
  const [client, thief] = await Promise.all([signedIn('careful'), signedIn('thief')]);
  assert.equal((await client.visit(gate.url('today'))).status, 200);
  const get = (who, host, query) => who.api(`${gate.url(host, '/socket.io/')}?${query}`);
  const open = await get(client, 'old', 'EIO=3&transport=polling&b64=1');
  assert.equal(open.status, 200);
  const [, length, packet] = open.text.match(/^(\d+):(0\{[^}]*\})/);
  assert.equal(packet.length, Number(length));
  const { sid } = JSON.parse(packet.slice(1));
  assert.match(sid, /^[\w-]+\.[0-9a-f]{8}\.[\w-]{22}$/);
  for (const [who, host, query, status] of [
    [client, 'today', 'EIO=3&transport=polling', 400],
    [client, 'today', 'transport=polling', 400],
    [client, 'old', 'EIO=3&transport=polling&j=0', 400],
    [client, 'old', `EIO=3&transport=polling&j=0&sid=${sid}`, 400],
    [client, 'old', `EIO=4&transport=polling&sid=${sid}`, 400],
    [thief, 'old', `EIO=3&transport=polling&sid=${sid}`, 400],
    [client, 'old', `EIO=3&%45IO=4&transport=polling&sid=${sid}`, 400],
  ]) {
    assert.equal((await get(who, host, query)).status, status, `${host} ${query}`);
  }
  // Nor does it take one version for the other in a body, whatever the body says that it is.
  const origin = gate.url('old', '').replace(/\/$/, '');
  const post = (type, body) => client.request(`${gate.url('old', '/socket.io/')}?EIO=3&transport=polling&sid=${sid}`, {
    method: 'POST', body, headers: { 'content-type': type, origin, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' },
  });
  for (const [type, body] of [
    ['text/plain;charset=UTF-8', '42["echo"]'],
    ['application/octet-stream', '10:42["echo"]'],
    ['application/octet-stream; x', '\u0000\u0001\u00ff2'],
    ['application/x-www-form-urlencoded', 'd=10%3A42%5B%22echo%22%5D'],
    ['text/plain', '5:40/x,\u001e'],
  ]) {
    assert.equal((await post(type, body)).status, 400, `${type} ${body}`);
  }
  assert.equal((await post('text/plain', '1:2')).status, 200);
  // The client of today asks for version 4, which the old server answers in its own way: nothing comes of it.
  const now = connect4(gate, client, 'old', { transports: ['polling'], auth: { stream: 'now' } });
  await heard(now, 'connect_error');
  now.disconnect();
});
