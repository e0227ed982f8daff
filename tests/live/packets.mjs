// Every kind of packet between the real socket.io and two real clients, the official one and python-socketio, by polling, by
// WebSocket and by polling that goes over to a WebSocket: hashed at both ends. Then what each client makes of each kind of end.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Container, IMAGE } from './lib/docker.mjs';
import { Gateway, freePort, run, start, until } from './lib/gateway.mjs';
import { connect, connected, heard } from './lib/sio.mjs';

const HERE = new URL('.', import.meta.url).pathname;
const PYTHON = path.resolve(HERE, '../../.work/sio/bin/python');
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const COUNT = 10_000;
const MEGABYTE = 1_000_000;
const UPGRADED = (transports) => transports.length === 2;

/** The tenant, on the host's own network: load goes to loopback alone. */
async function tenant() {
  const port = await freePort();
  const container = await Container.start(`packets-${port}`, {
    image: IMAGE,
    options: ['--network', 'host', '-v', `${HERE}:/live:ro`, '--entrypoint', 'node'],
    command: ['/live/lib/packet-tenant.mjs', String(port)],
  });
  const it = { url: `http://127.0.0.1:${port}`, close: () => container.remove() };
  await until('the tenant listens', async () => (await container.logs()).includes('listening')).catch(async (error) => {
    const said = await container.logs();
    await it.close();
    throw new Error(`${error.message}: ${said}`);
  });
  return it;
}

/** Somebody who is signed in, and may go to `app`. */
async function browser(gate, name) {
  const client = await gate.signedIn(await gate.person(name));
  assert.equal((await client.visit(gate.url('app'))).status, 200);
  return client;
}

const ask = (socket, ...event) => socket.timeout(30_000).emitWithAck(...event);

function python(gate, client, what, more) {
  const origin = gate.url('app', '').replace(/\/$/, '');
  return [PYTHON, [path.join(HERE, 'sio.py'), what, JSON.stringify({ url: origin, ca: gate.ca, cookies: client.cookies(gate.host('app')), ...more })]];
}

describe('every kind of packet arrives as it was sent', { concurrency: 1 }, () => {
  let app;
  let gate;
  before(async () => {
    app = await tenant();
    gate = await Gateway.open({ tenants: { app: app.url } });
  }, { timeout: 90_000 });
  after(async () => {
    await gate?.close();
    await app?.close();
  });

  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`socket.io-client 4 by ${name}`, { timeout: 120_000 }, async () => {
      const stream = `node-${name}`;
      const client = await browser(gate, stream);
      const socket = await connected(connect(gate, client, 'app', { transports, auth: { stream } }));
      if (UPGRADED(transports)) await until('it goes over', () => socket.io.engine.transport.name === 'websocket');
      const words = { text: 'grün 🦊 \u2028 "\\', list: [1, 2.5, null, true, { deep: [[]] }], empty: '' };
      const back = heard(socket, 'echoed');
      socket.emit('echo', words);
      assert.deepEqual(await back, [words]);
      assert.deepEqual(await ask(socket, 'echo', words), words);
      const [first, second] = [Buffer.from(Array.from({ length: 10_240 }, (_, n) => n % 256)), Buffer.alloc(0)];
      const bytes = heard(socket, 'echoed');
      socket.emit('echo', { a: first, b: { c: [second, 'text'] } }, 'after');
      assert.deepEqual(await bytes, [{ a: first, b: { c: [second, 'text'] } }, 'after']);
      assert.deepEqual(await ask(socket, 'echo', first), first);

      // Two namespaces on one connection, and a room in one of them.
      const other = await connected(socket.io.socket('/app', { auth: { stream: `${stream}-app` } }));
      assert.equal(other.io.engine, socket.io.engine);
      assert.deepEqual(await Promise.all([ask(socket, 'who'), ask(other, 'who')]), [{ user: stream, namespace: '/' }, { user: stream, namespace: '/app' }]);
      let strayed = 0;
      socket.on('said', () => (strayed += 1));
      await ask(other, 'join', stream);
      const said = heard(other, 'said');
      other.emit('say', stream, 'to the room');
      assert.deepEqual(await said, ['to the room']);

      // As large as a message may be; base64 makes bytes a third larger by polling.
      const text = 'ä'.repeat(MEGABYTE / 2);
      assert.equal(await ask(socket, 'echo', text), text);
      const block = Buffer.alloc(name === 'polling' ? 750_000 : MEGABYTE, 'a block of bytes \u0000');
      assert(block.equals(await ask(socket, 'echo', block)));

      const up = createHash('sha256');
      for (let n = 1; n <= COUNT; n += 1) {
        const message = n % 100 === 0 ? Buffer.from(`bytes ${n} \u0000\u00ff`) : `message ${n} – grün 🦊 "\\`;
        up.update(message);
        socket.emit('up', message);
      }
      const total = await until('all arrived', async () => {
        const sum = await ask(socket, 'sum');
        return sum.count >= COUNT && sum;
      }, 60_000);
      assert.deepEqual(total, { count: COUNT, up: up.digest('hex') });
      const down = createHash('sha256');
      let count = 0;
      socket.on('down', (message) => {
        down.update(message);
        count += 1;
      });
      const theirs = await ask(socket, 'down', COUNT);
      await until('all came', () => count >= COUNT, 60_000);
      assert.deepEqual([count, down.digest('hex'), strayed], [COUNT, theirs, 0]);
      socket.disconnect();
    });

    test(`a connection by ${name} that breaks is recovered, and nothing is lost or heard twice`, { timeout: 60_000 }, async () => {
      const stream = `lost-${name}`;
      const client = await browser(gate, stream);
      const options = { path: '/recovering/', transports, reconnection: true, reconnectionDelay: 300, reconnectionDelayMax: 300 };
      const socket = await connected(connect(gate, client, 'app', { ...options, auth: { stream } }));
      if (UPGRADED(transports)) await until('it goes over', () => socket.io.engine.transport.name === 'websocket');
      const witness = await connected(connect(gate, client, 'app', { path: '/recovering/', auth: { stream: `${stream}-witness` } }));
      const words = [];
      socket.on('said', (it) => words.push(it));
      await ask(socket, 'join', stream);
      witness.emit('say', stream, 0);
      await until('the first word', () => words.length === 1);
      const { id } = socket;
      const again = heard(socket, 'connect');
      socket.io.engine.close(); // as when the network goes away: the client does not say that it leaves
      const ended = await until('the tenant notices', async () => (await ask(witness, 'of', stream)).ended.length && (await ask(witness, 'of', stream)).ended);
      for (let n = 1; n <= 20; n += 1) witness.emit('say', stream, n);
      await again;
      await until('all words', () => words.length >= 21);
      assert.deepEqual(words, Array.from({ length: 21 }, (_, n) => n));
      assert.deepEqual([socket.recovered, socket.id, ended], [true, id, ['transport close']]);
      socket.disconnect();
      witness.disconnect();
    });

    test(`python-socketio by ${name}`, { timeout: 120_000 }, async () => {
      const stream = `python-${name}`;
      const client = await browser(gate, stream);
      const more = { stream, transports, upgrades: UPGRADED(transports), count: COUNT, large: MEGABYTE, large_binary: name === 'polling' ? 750_000 : MEGABYTE };
      const done = await run(...python(gate, client, 'packets', more), { limit: 110_000 });
      assert.equal(done.code, 0, done.stderr);
      const { transport, namespaces, user, ...checks } = JSON.parse(done.stdout);
      assert.equal(transport, name === 'polling' ? 'polling' : 'websocket');
      assert.deepEqual([namespaces, user], [['/', '/app'], stream]);
      const names = ['echo', 'ack', 'binary', 'binary ack', 'room', 'large text', 'large binary', 'up', 'down'];
      assert.deepEqual(checks, Object.fromEntries(names.map((it) => [it, true])));
    });
  }
});
