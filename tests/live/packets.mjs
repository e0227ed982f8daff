// Every kind of packet between the real socket.io and two real clients, the official one and python-socketio, by polling, by
// WebSocket and by polling that goes over to a WebSocket: hashed at both ends. Then what each client makes of each kind of end.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Container, IMAGE } from './lib/docker.mjs';
import { Gateway, freePort, run, start, until } from './lib/gateway.mjs';
import { connect, connected, heard } from './lib/sio.mjs';
import { COUNT, bothStreams } from './lib/stream.mjs';

const HERE = new URL('.', import.meta.url).pathname;
const PYTHON = path.resolve(HERE, '../../.work/sio/bin/python');
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const MEGABYTE = 1_000_000;
/** A small allowance, and more than that. */
const BURST = 40;
const FLOOD = 400;
const UPGRADED = (transports) => transports.length === 2;

/** The tenant, on the host's own network: load goes to loopback alone. */
async function tenant(...more) {
  const port = await freePort();
  const container = await Container.start(`packets-${port}`, {
    image: IMAGE,
    options: ['--network', 'host', '-v', `${HERE}:/live:ro`, '--entrypoint', 'node'],
    command: ['/live/lib/packet-tenant.mjs', String(port), ...more],
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
async function browser(gate, name, host = 'app') {
  const client = await gate.signedIn(await gate.person(name));
  assert.equal((await client.visit(gate.url(host))).status, 200);
  return client;
}

const ask = (socket, ...event) => socket.timeout(30_000).emitWithAck(...event);

function python(gate, client, host, what, more) {
  const origin = gate.url(host, '').replace(/\/$/, '');
  return [PYTHON, [path.join(HERE, 'sio.py'), what, JSON.stringify({ url: origin, ca: gate.ca, host: gate.host(host), cookies: client.cookies(gate.host(host)), ...more })]];
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

      await bothStreams(socket, ask, until);
      assert.equal(strayed, 0);
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
      const done = await run(...python(gate, client, 'app', 'packets', more), { limit: 110_000 });
      assert.equal(done.code, 0, done.stderr);
      const { transport, namespaces, user, ...checks } = JSON.parse(done.stdout);
      assert.equal(transport, name === 'polling' ? 'polling' : 'websocket');
      assert.deepEqual([namespaces, user], [['/', '/app'], stream]);
      const names = ['echo', 'ack', 'binary', 'binary ack', 'room', 'large text', 'large binary', 'up', 'down'];
      assert.deepEqual(checks, Object.fromEntries(names.map((it) => [it, true])));
    });
  }
});

/** What one client told of, from its connection to its last try. */
class Told {
  constructor(name) {
    Object.assign(this, { name, events: [] });
  }

  add(event) {
    this.events.push(event);
  }

  of(kind) {
    return this.events.filter((it) => it.event === kind);
  }
}

/** The official client, left to itself. */
async function official(gate, client, host, transport, stream) {
  const told = new Told(`socket.io-client, ${transport}`);
  const socket = connect(gate, client, host, {
    transports: [transport], auth: { stream }, reconnection: true, reconnectionDelay: 200, reconnectionDelayMax: 500, randomizationFactor: 0,
  });
  socket.on('connect', () => told.add({ event: 'connect' }));
  socket.on('disconnect', (reason) => told.add({ event: 'disconnect', reason }));
  socket.on('uiBuilderControl', (it) => told.add({ event: 'control', topic: it.uibuilderCtrl, reason: it.reason }));
  socket.io.on('reconnect_attempt', () => told.add({ event: 'attempt' }));
  await connected(socket);
  const flood = (count) => {
    for (let n = 0; n < count && socket.connected; n += 1) socket.emit('flood', n);
  };
  return Object.assign(told, { flood, leave: async () => socket.disconnect() });
}

/** python-socketio, left to itself. */
async function snake(gate, client, host, transport, stream) {
  const told = new Told(`python-socketio, ${transport}`);
  const child = start(...python(gate, client, host, 'ends', { stream, transports: [transport], flood: FLOOD }), { stdio: ['pipe', 'pipe', 'pipe'] });
  let rest = '';
  child.stdout.on('data', (part) => {
    const lines = (rest + part).split('\n');
    rest = lines.pop();
    lines.forEach((line) => told.add(JSON.parse(line)));
  });
  await until('python is connected', () => {
    assert.equal(child.exitCode, null, child.output);
    return told.of('connect').length;
  });
  const leave = async () => {
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await child.over;
    clearTimeout(timer);
  };
  return Object.assign(told, { flood: () => child.stdin.write('flood\n'), leave });
}

/** Each client by each transport, as one person's. */
function everyone(gate, client, host, stream) {
  return Promise.all(['websocket', 'polling'].flatMap((it) => [official(gate, client, host, it, `${stream}-o-${it}`), snake(gate, client, host, it, `${stream}-p-${it}`)]));
}

/** [control messages, the reason reported, what happens then] of each. */
function summary(all) {
  return Object.fromEntries(all.map((it) => {
    const controls = it.of('control').map(({ topic, reason }) => `${topic}: ${reason}`);
    const tries = it.of('attempt').length + it.of('connect_error').length;
    const then = it.of('connect').length > 1 ? 'comes back' : tries > 0 ? 'tries' : 'stays away';
    return [it.name, [controls, it.of('disconnect').map(({ reason }) => reason), then]];
  }));
}

describe('what each client makes of each kind of end', { concurrency: 1 }, () => {
  let app;
  let pinged;
  let gate;
  let short;
  let expiry;
  before(async () => {
    // Who sends by polling hears of the end with the answer to their next poll: at the latest with a ping.
    [app, pinged] = await Promise.all([tenant(), tenant('2000')]);
    const options = { tenants: { app: app.url, pinged: pinged.url }, extra: `[limits]\ndrain = "1s"\n[sockets]\nmessages_per_second = 1\nmessage_burst = ${BURST}\n` };
    [gate, short] = await Promise.all([Gateway.open(options), Gateway.open({ ...options, session: { absolute: '20s' } })]);
    expiry = expires();
    expiry.catch(() => {});
  }, { timeout: 90_000 });
  after(async () => {
    await gate?.close();
    await short?.close();
    await app?.close();
    await pinged?.close();
  });

  /** Connects everyone, brings about an end, and waits until it is told and a moment more, in which who comes back has come. */
  async function at(house, name, end, host = 'app') {
    const client = await browser(house, name, host);
    const all = await everyone(house, client, host, name);
    try {
      await end(client, all);
      await until(`${name} is told to everyone`, () => all.every((it) => it.of('disconnect').length > 0), 40_000);
      await sleep(2500);
      return summary(all);
    } finally {
      await Promise.all(all.map((it) => it.leave()));
    }
  }

  const expires = () => at(short, 'late', () => {});

  test('revocation, log-out and expiry: a word, and everybody stays away', { timeout: 90_000 }, async () => {
    const [revoked, leaver] = await Promise.all([
      at(gate, 'revoked', () => gate.done(['session', 'revoke', '--user', 'revoked'])),
      at(gate, 'leaver', (client) => client.api(`${gate.portal}/.portcullis/api/v1/logout`, {})),
    ]);
    assert.deepEqual(revoked, told(['session invalid: revoked']));
    assert.deepEqual(leaver, told(['logoff: revoked']));
    // By polling the warning ahead of it waits for the tenant's next answer, and there was none.
    const warned = told(['session expiry: expired', 'session invalid: expired']);
    const late = told(['session invalid: expired']);
    assert.deepEqual(await expiry, Object.fromEntries(Object.keys(late).map((it) => [it, (it.endsWith('polling') ? late : warned)[it]])));
  });

  test('too many messages, in vain: closed, and everybody comes back', { timeout: 60_000 }, async () => {
    const found = await at(gate, 'talker', async (_client, all) => {
      for (const it of all) it.flood(FLOOD);
    }, 'pinged');
    const rest = Object.fromEntries(Object.entries(found).map(([name, [, ...it]]) => [name, [[], ...it]]));
    assert.deepEqual(rest, broken());
    for (const [name, [controls]] of Object.entries(found)) {
      // By polling they come with the tenant's next answer, if there is one before the end.
      assert(controls.every((it) => it === 'jwt_auth_fail: rate') && (controls.length > 0 || name.endsWith('polling')), `${name}: ${controls}`);
    }
  });

  test('a drain: no word, and everybody comes back', { timeout: 60_000 }, async () => {
    const found = await at(gate, 'stayer', async () => {
      await gate.stop();
      await gate.start();
    });
    assert.deepEqual(found, broken());
  });
});

/** A session's end, as everybody tells of it. */
function told(controls) {
  return Object.fromEntries(['websocket', 'polling'].flatMap((it) => [
    [`socket.io-client, ${it}`, [controls, ['io server disconnect'], 'stays away']],
    [`python-socketio, ${it}`, [controls, ['server disconnect'], 'stays away']],
  ]));
}

/** A transport's end, as everybody tells of it. */
function broken() {
  return {
    'socket.io-client, websocket': [[], ['transport close'], 'comes back'],
    'socket.io-client, polling': [[], ['transport error'], 'comes back'],
    'python-socketio, websocket': [[], ['transport error'], 'comes back'],
    'python-socketio, polling': [[], ['transport error'], 'comes back'],
  };
}
