// Two real Node-RED + uibuilder containers of a real engine behind the gateway, with a real browser in front.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBrowser } from './lib/browser.mjs';
import { Container, ENGINE, docker } from './lib/docker.mjs';
import { Gateway, until } from './lib/gateway.mjs';
import { signIn } from './lib/http.mjs';
import { Raw, connect, connected, handshake, heard } from './lib/sio.mjs';

const SOCKET_PATH = '/uibuilder/vendor/socket.io';
const SPOOF = 'spoofed-admin';

let gate;
let alice;
let client;
let events;
const containers = {};
/** [{ action, name, at }] as the engine tells them. */
const told = [];

before(async () => {
  events = spawn('docker', ['--host', ENGINE, 'events', '--format', '{{json .}}', '--filter', 'type=container'], { stdio: ['ignore', 'pipe', 'ignore'] });
  let rest = '';
  events.stdout.on('data', (part) => {
    const lines = (rest + part).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      told.push({ action: event.Action, name: event.Actor.Attributes.name, at: event.timeNano / 1e6 });
    }
  });
  gate = await Gateway.open({ docker: [ENGINE] });
  alice = await gate.person('alice');
  client = gate.newClient("alice's browser");
  await signIn(client, gate.portal, alice);
});
after(async () => {
  await gate?.close();
  await Promise.all(Object.values(containers).map((one) => one.remove()));
  events?.kill();
});

const toldAt = (name, action) => until(`the engine says ${action} of ${name}`, () => told.findLast?.((event) => event.name === name && event.action === action)?.at
  ?? [...told].reverse().find((event) => event.name === name && event.action === action)?.at, 90_000);

/** When a signed-in visitor first gets through to `host`. */
async function routed(host, path = '/healthy') {
  await until(`${host} is routed`, async () => {
    const answer = await client.visit(gate.url(host, path));
    return answer.status === 200 && answer.url === gate.url(host, path);
  }, 90_000, 50);
  return Date.now();
}

describe('the containers', () => {
  test('are routed within a second of being healthy', { timeout: 180_000 }, async () => {
    for (const name of ['r1', 'r2']) containers[name] = await Container.start(name, { env: { VIRTUAL_HOST: gate.host(name) } });
    // Both are watched at once: one that is healthy first must not wait here for the other to be seen.
    await Promise.all(['r1', 'r2'].map(async (name) => {
      const [at, healthy] = await Promise.all([routed(name), toldAt(containers[name].name, 'health_status: healthy')]);
      assert(at - healthy < 1000, `${name} was routed ${Math.round(at - healthy)} ms after it was healthy`);
    }));
  });
});

describe('what a tenant sees', () => {
  const mirror = async (headers, path = '/mirror') => {
    const answer = await client.api(gate.url('r1', path), undefined, { headers });
    assert.equal(answer.status, 200, answer.text);
    return answer.json();
  };

  test('paths arrive as they were sent', async () => {
    for (const path of ['/mirror/a%2Fb', '/mirror/%2e%2e%2Fx', '/mirror/a%252Fb', '/mirror/a;b=c', '/mirror/%E2%82%AC?q=%2F&q=%20+']) {
      assert.equal((await mirror({}, path)).url, path);
    }
  });

  test('every spelling of every header that the gateway sets is the gateway\'s', { timeout: 120_000 }, async () => {
    const names = ['remote-user', 'remote-email', 'remote-name', 'remote-groups', 'x-forwarded-user', 'x-forwarded-groups', 'x-user-role', 'x-portcullis-assertion',
      'x-portcullis-anything', 'x-remote-user', 'x-remote-anything', 'x-user-id', 'x-user-email', 'x-user-name', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto',
      'x-forwarded-port', 'x-forwarded-email', 'x-forwarded-preferred-username', 'forwarded', 'forwarded-for', 'x-forwarded', 'x-auth-request-user', 'x-authentik-username',
      'x-webauth-user', 'cf-access-jwt-assertion', 'cf-connecting-ip', 'do-connecting-ip', 'true-client-ip', 'x-client-ip', 'x-cluster-client-ip', 'x-real-ip',
      'fastly-client-ip', 'x-appengine-user-ip', 'x-original-url', 'x-original-uri', 'x-rewrite-url', 'proxy', 'x-request-id'];
    const spellings = [(name) => name, (name) => name.toUpperCase(), (name) => name.replaceAll('-', '_'), (name) => name.replaceAll('-', '.'),
      (name) => name.replace('-', '_').replace(/^./, (c) => c.toUpperCase())];
    for (const spell of spellings) {
      for (const name of names) {
        const seen = await mirror({ [spell(name)]: name === 'forwarded' ? `for=${SPOOF}` : SPOOF });
        // A request id of the client's may be kept where it says nothing about who it is.
        if (name !== 'x-request-id') assert(!JSON.stringify(seen.raw).includes(SPOOF), `${spell(name)}: ${JSON.stringify(seen.raw)}`);
        const users = seen.raw.filter((_, i) => i % 2 === 0 && seen.raw[i].toLowerCase().replace(/[_.]/g, '-') === 'remote-user');
        assert.equal(users.length, 1, spell(name));
        assert.equal(seen.headers['remote-user'], 'alice');
      }
    }
  });

  test('what a Connection line names does not arrive', async () => {
    const seen = await mirror({ connection: 'keep-alive, x-hidden, remote-user', 'x-hidden': SPOOF, te: 'trailers', 'keep-alive': 'timeout=5' });
    assert(!JSON.stringify(seen.raw).includes(SPOOF), JSON.stringify(seen.raw));
    assert.equal(seen.headers['remote-user'], 'alice');
    assert.equal(seen.headers['keep-alive'], undefined);
  });

  test('no credential of ours arrives, the tenant\'s own cookies do', async () => {
    const host = gate.host('r1');
    const seen = await mirror({ cookie: `theirs=1; ${client.cookies(host)}; also=2`, authorization: 'Basic dGhlaXI6b3du' });
    assert.equal(seen.headers.cookie.includes('__Host-portcullis'), false, seen.headers.cookie);
    assert.match(seen.headers.cookie, /theirs=1; .*also=2|theirs=1; also=2/);
    assert.equal(seen.headers.authorization, 'Basic dGhlaXI6b3du');
    const claims = JSON.parse(Buffer.from(seen.headers['x-portcullis-assertion'].split('.')[1], 'base64url'));
    assert.equal(claims.preferred_username, 'alice');
    assert.equal(claims.aud, host);
    assert.equal(claims.sid, undefined);
    assert.equal(claims.did, undefined);
    assert(claims.exp - claims.iat <= 60);
  });
});

describe('uibuilder\'s sockets', () => {
  const options = { path: SOCKET_PATH, namespace: '/app', auth: { clientId: 'c1', pathName: '/app/', pageName: 'index.html' } };

  /** Sends a message and returns the flow's answer to it. */
  async function ask(socket, topic, payload, more = {}) {
    const answer = heard(socket, 'uiBuilder');
    socket.emit('uiBuilderClient', { topic, payload, _socketId: socket.id, ...more });
    return (await answer)[0];
  }

  function isClean(headers) {
    assert(headers, 'no connectHeaders');
    for (const [name, value] of Object.entries(headers)) {
      if (name === 'x-portcullis-assertion') continue;
      assert(!/portcullis/i.test(name), name);
      if (['host', 'origin', 'referer', 'user-agent', 'x-forwarded-host', 'forwarded'].includes(name)) continue;
      assert(!/portcullis/i.test(String(value)), `${name}: ${value}`);
      assert(!String(value).includes(SPOOF), `${name}: ${value}`);
    }
    assert.equal(headers['remote-user'], 'alice');
    assert.equal(headers.authorization, undefined);
  }

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`the official client talks by ${transports.join(', then ')}`, { timeout: 60_000 }, async () => {
      const socket = connect(gate, client, 'r1', { ...options, transports });
      try {
        const control = heard(socket, 'uiBuilderControl');
        await connected(socket);
        assert.equal((await control)[0].uibuilderCtrl, 'client connect');
        if (transports.length === 2) await until('it is upgraded', () => socket.io.engine.transport.name === 'websocket');
        const answer = await ask(socket, 'hello', { a: ['Grüße', 1] });
        assert.deepEqual(answer.payload.echo, { a: ['Grüße', 1] });
        assert.equal(answer.payload.client.userId, 'alice');
        isClean(answer.payload.headers);
        const binary = await ask(socket, 'bytes', Buffer.from([0, 1, 2, 255]));
        assert.deepEqual(Buffer.from(binary.payload.echo), Buffer.from([0, 1, 2, 255]));
      } finally {
        socket.close();
      }
    });
  }

  test('CONNECT cannot say who one is', { timeout: 60_000 }, async () => {
    const spoofs = [
      { user: { userId: 'admin' }, token: 'x' },
      '{"user":{"userId":"admin"},"user":{"userId":"admin"}}',
      '{"us\\u0065r":{"userId":"admin"},"\\u0074oken":"x","clientId":"c9"}',
      '{"clientId":"c9","user":{"userId":"admin"},"pageName":"index.html"}',
    ];
    for (const auth of spoofs) {
      let raw;
      try {
        raw = await Raw.open(gate, client, 'r1', { ...options, auth });
      } catch (error) {
        // Refused is as good as removed, for JSON that no client of socket.io writes.
        assert.equal(typeof auth, 'string', error.message);
        continue;
      }
      const answer = new Promise((resolve) => {
        raw.events = (name, message) => name === 'uiBuilder' && resolve(message);
      });
      raw.emit('uiBuilderClient', { topic: 'who', payload: 1, _socketId: raw.id });
      const { payload } = await answer;
      assert.equal(payload.client.userId, 'alice', JSON.stringify(auth));
      assert(!JSON.stringify(payload).includes('admin'), JSON.stringify(payload));
      raw.close();
    }
  });

  test('a handshake cannot say who one is', { timeout: 60_000 }, async () => {
    const headers = { 'Remote-User': SPOOF, remote_user: SPOOF, 'X-Forwarded-User': SPOOF, 'x-authentik-username': SPOOF, 'X-User-Role': SPOOF, 'cf-access-user': SPOOF, 'X-Forwarded-For': SPOOF };
    for (const transports of [['websocket'], ['polling']]) {
      const socket = connect(gate, client, 'r1', { ...options, transports, headers });
      await connected(socket);
      const { payload } = await ask(socket, 'who', 1);
      isClean(payload.headers);
      assert.equal(payload.client.userId, 'alice');
      assert(!JSON.stringify(payload.client).includes(SPOOF), JSON.stringify(payload.client));
      socket.close();
    }
  });

  test('a message cannot say who one is, nor speak for another socket', { timeout: 60_000 }, async () => {
    const socket = await connected(connect(gate, client, 'r1', options));
    const other = await connected(connect(gate, client, 'r1', { ...options, auth: { ...options.auth, clientId: 'c2' } }));
    const { payload } = await ask(socket, 'who', 1, { _client: { userId: 'admin' } });
    assert.equal(payload.client.userId, 'alice');
    let misled = false;
    other.on('uiBuilder', () => (misled = true));
    socket.emit('uiBuilderClient', { topic: 'who', payload: 2, _socketId: other.id });
    await ask(socket, 'who', 3);
    assert(!misled, 'an answer went to a socket that did not ask');
    socket.close();
    other.close();
  });

  test('nothing of the streams passes after the session is revoked', { timeout: 90_000 }, async () => {
    const carl = await gate.person('carl');
    const browser = await gate.signedIn(carl);
    await browser.visit(gate.url('r1', '/app/'));
    const raw = await Raw.open(gate, browser, 'r1', { ...options, auth: { ...options.auth, clientId: 'carl' } });
    const comms = await handshake(gate, browser, 'r1', '/comms');
    assert(comms.socket, comms.body);
    const commsOver = new Promise((resolve) => comms.socket.once('close', (code) => resolve({ code, at: Date.now() })));
    const ticks = [];
    raw.events = (name, message) => name === 'uiBuilder' && message.topic === 'tick' && ticks.push(message.payload.n);
    raw.emit('uiBuilderClient', { topic: 'tick', payload: { every: 50 }, _socketId: raw.id });
    let n = 0;
    const said = [];
    const timer = setInterval(() => {
      n += 1;
      said.push({ n, at: Date.now() });
      raw.emit('uiBuilderClient', { topic: 'quiet', payload: { from: 'carl', n } });
    }, 50);
    await until('ticks flow', () => ticks.length > 10);
    await gate.done(['session', 'revoke', '--user', 'carl']);
    const moment = Date.now();
    const over = await raw.closed;
    const other = await commsOver;
    await sleep(300);
    clearInterval(timer);
    assert.equal(over.code, 1008);
    assert(over.at - moment < 1000, `${over.at - moment} ms`);
    assert.equal(other.code, 1008, '/comms');
    assert(other.at - moment < 1000, `/comms: ${other.at - moment} ms`);
    const { recorded, sent } = await containers.r1.recorded();
    const late = recorded.filter((one) => one.topic === 'quiet' && one.payload.from === 'carl' && said[one.payload.n - 1].at > moment);
    assert.deepEqual(late, []);
    const after = sent.filter((one) => one.socket === raw.id && one.at > moment).map((one) => one.n);
    assert.deepEqual(ticks.filter((tick) => after.includes(tick)), []);
    assert(recorded.some((one) => one.control === 'client disconnect' && one.socket === raw.id), 'the tenant does not know that it is over');
  });
});

describe('in Chromium', () => {
  let browser;
  let page;
  before(async () => {
    browser = await openBrowser({ ca: gate.ca, root: gate.root });
    page = await browser.newPage();
  });
  after(async () => {
    await browser?.close();
  });

  test('the uibuilder page, its messages and who one is', { timeout: 120_000 }, async () => {
    const faults = [];
    page.on('pageerror', (error) => faults.push(String(error)));
    await page.goto(gate.url('r1', '/app/'));
    assert.equal(new URL(page.url()).origin, gate.portal);
    await page.locator('input[autocomplete~="username"]').first().fill('alice');
    await page.locator('input[type="password"]').fill(alice.password);
    await page.locator('input[type="password"]').press('Enter');
    await page.locator('input[autocomplete="one-time-code"]').fill(await alice.phone.code());
    await page.locator('input[autocomplete="one-time-code"]').press('Enter');
    await page.waitForURL(gate.url('r1', '/app/'));
    await page.waitForFunction(() => window.uibuilder?.get('ioConnected') === true);
    const answer = await page.evaluate(() => new Promise((resolve) => {
      window.uibuilder.onChange('msg', (msg) => msg.topic === 'from the page' && resolve(msg));
      window.uibuilder.send({ topic: 'from the page', payload: { text: 'hello' } });
    }));
    assert.deepEqual(answer.payload.echo, { text: 'hello' });
    assert.equal(answer.payload.client.userId, 'alice');
    assert(!JSON.stringify(answer.payload.headers).includes('__Host-portcullis'));
    assert.deepEqual(faults, []);
  });

  test('the editor, its /comms and its palette', { timeout: 120_000 }, async () => {
    const sockets = [];
    const refused = [];
    page.on('websocket', (socket) => {
      const one = { url: socket.url(), frames: 0 };
      sockets.push(one);
      socket.on('framereceived', () => (one.frames += 1));
    });
    page.on('response', (answer) => answer.status() >= 400 && refused.push(`${answer.status()} ${answer.url()}`));
    await page.goto(gate.url('r1', '/'));
    await page.locator('#red-ui-header-button-deploy').waitFor({ timeout: 60_000 });
    await page.locator('#red-ui-workspace .red-ui-flow-node-label, #red-ui-workspace .red-ui-flow-node').first().waitFor();
    await until('/comms is alive', () => sockets.some((one) => new URL(one.url).pathname === '/comms' && one.frames > 0));
    assert.deepEqual(refused, []);
    const encoded = await page.evaluate(async () => (await (await fetch('/mirror/node-red%2Finject')).json()).url);
    assert.equal(encoded, '/mirror/node-red%2Finject');
  });

  test('uibuilder\'s own client begins by polling and goes on by WebSocket', { timeout: 60_000 }, async () => {
    // Listened to from its beginning: after the probe's answer, nothing may come for 25 s.
    const upgraded = page.waitForEvent('websocket', (socket) => socket.url().includes(`${SOCKET_PATH}/?EIO=4&transport=websocket`))
      .then((socket) => socket.waitForEvent('framereceived'));
    await page.goto(gate.url('r1', '/app/'));
    await page.waitForFunction(() => window.uibuilder?.get('ioConnected') === true);
    const used = await page.evaluate(() => performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => name.includes('transport=polling')));
    assert(used.length > 1, JSON.stringify(used));
    await upgraded;
  });
});

describe('containers that come and go', () => {
  test('a killed one is gone within a second, with a page that says so', { timeout: 60_000 }, async () => {
    assert.equal((await client.visit(gate.url('r2', '/healthy'))).status, 200);
    const address = await containers.r2.address();
    await docker('kill', containers.r2.id);
    const at = await toldAt(containers.r2.name, 'die');
    const answer = await until('r2 is gone', async () => {
      // (What was under way when it was killed breaks off.)
      const one = await client.visit(gate.url('r2', '/healthy')).catch(() => null);
      return one && one.status !== 200 && one;
    });
    assert(Date.now() - at < 1000, `${Date.now() - at} ms`);
    assert.equal(answer.status, 503);
    assert.match(answer.headers['content-type'], /^text\/html/);
    assert(!answer.text.includes(address), 'the page tells an inner address');
  });

  test('a name that another tenant takes is nothing to a cookie of the first', { timeout: 120_000 }, async () => {
    const cookie = client.cookie(gate.host('r2'));
    assert(cookie);
    await containers.r2.remove();
    containers.thief = await Container.start('thief', { env: { VIRTUAL_HOST: gate.host('r2') } });
    await toldAt(containers.thief.name, 'health_status: healthy');
    await sleep(1000);
    const refused = await client.api(gate.url('r2', '/healthy'));
    assert.notEqual(refused.status, 200, 'another owner got the name');
    await gate.done(['claim', 'release', gate.host('r2')]);
    const fresh = client.stranger();
    fresh.jar = new Map([[gate.host('auth'), client.jar.get(gate.host('auth'))]]);
    let last;
    const routed = async () => (last = await fresh.visit(gate.url('r2', '/healthy'))).status === 200;
    await until('the new tenant is routed', routed, 60_000, 200).catch(async (error) => {
      const said = `${last?.status} at ${last?.url}: ${last?.text.slice(0, 400)}`;
      throw new Error(`${error.message}; the last answer: ${said}\n${await gate.done(['routes'])}\n${await docker('ps', '--all')}`);
    });
    const old = await client.api(gate.url('r2', '/healthy'), undefined, { jar: false, headers: { cookie: `__Host-portcullis=${cookie}` } });
    assert.equal(old.status, 401, old.text);
  });

  test('routes says what there is and what was refused', async () => {
    const text = await gate.done(['routes']);
    assert(text.includes(gate.host('r1')), text);
    const json = JSON.parse(await gate.done(['routes', '--json']));
    assert(JSON.stringify(json).includes(gate.host('r1')));
  });
});
