// The companion of examples/node-red: its own tests, and then in real Node-RED + uibuilder containers, through the gateway
// and around it.
import assert from 'node:assert/strict';
import http from 'node:http';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { openBrowser } from './lib/browser.mjs';
import { Container, ENGINE, docker } from './lib/docker.mjs';
import { Gateway, until } from './lib/gateway.mjs';
import { connect, connected, handshake, heard } from './lib/sio.mjs';
import '../../examples/node-red/test/companion.test.js';

const SOCKET_PATH = '/uibuilder/vendor/socket.io';
const AUTH = { clientId: 'c1', pathName: '/app/', pageName: 'index.html' };

let gate;
let bridge;
const people = {};
const clients = {};
const containers = {};
/** Where each container is, around the gateway. */
const around = {};

const env = (name, more = {}) => ({
  VIRTUAL_HOST: gate.host(name), PORTCULLIS_JWKS: `${gate.portal}/.portcullis/jwks.json`, PORTCULLIS_ISSUER: gate.portal, PORTCULLIS_CA: '/run/gateway-ca.pem',
  PORTCULLIS_PERMISSIONS: '{"staff":"*","guests":"read"}', ...more,
});
const options = () => ['--add-host', `${gate.host('auth')}:${bridge}`, '-v', `${gate.ca}:/run/gateway-ca.pem:ro`];

before(async () => {
  bridge = await docker('network', 'inspect', 'bridge', '-f', '{{(index .IPAM.Config 0).Gateway}}');
  if (!bridge) bridge = (await docker('network', 'inspect', 'bridge', '-f', '{{(index .IPAM.Config 0).Subnet}}')).replace(/\d+\/\d+$/, '1');
  gate = await Gateway.open({ docker: [ENGINE], also: [bridge] });
  for (const [name, groups] of [['alice', 'staff'], ['gert', 'guests'], ['nora', undefined]]) {
    people[name] = await gate.person(name, { groups });
    clients[name] = await gate.signedIn(people[name]);
  }
  containers.r1 = await Container.start('r1', { env: env('r1'), options: options() });
  containers.r2 = await Container.start('r2', { env: { VIRTUAL_HOST: gate.host('r2') } });
  for (const name of ['r1', 'r2']) {
    await containers[name].healthy(90_000);
    around[name] = `http://${await containers[name].address()}:1880`;
    for (const client of Object.values(clients)) {
      await until(`${name} is routed`, async () => (await client.visit(gate.url(name, '/mirror'))).url === gate.url(name, '/mirror'), 60_000, 50);
    }
  }
}, { timeout: 240_000 });
after(async () => {
  await gate?.close();
  await Promise.all(Object.values(containers).map((one) => one.remove()));
});

/** Everything that a tenant answers, asked at its own address. */
const DOORS = ['/', '/settings', '/flows', '/nodes', '/red/red.min.js', '/app/', '/app/index.js', '/recorded', '/mirror', '/healthy', '/auth/login', '/auth/token'];

async function allClosed(what, headers) {
  for (const door of DOORS) {
    const answer = await fetch(`${around.r1}${door}`, { headers, redirect: 'manual' });
    assert.equal(answer.status, 401, `${what}: ${door}`);
    const text = await answer.text();
    assert(!text.includes('Node-RED') && !text.includes('alice'), text);
  }
  const poll = await fetch(`${around.r1}${SOCKET_PATH}/?EIO=4&transport=polling`, { headers });
  assert.equal(poll.status, 403, `${what}: polling`);
  for (const namespace of ['/app', '/']) {
    for (const transport of ['polling', 'websocket']) {
      const socket = io(`${around.r1}${namespace}`, { path: SOCKET_PATH, transports: [transport], extraHeaders: headers, auth: AUTH, reconnection: false, forceNew: true });
      await assert.rejects(connected(socket), undefined, `${what}: ${transport} to ${namespace}`);
      socket.close();
    }
  }
}

/** What `/comms` says to who subscribes at once. */
function comms(headers) {
  const socket = new WebSocket(`${around.r1.replace('http', 'ws')}/comms`, { headers });
  return new Promise((resolve) => {
    const heard = [];
    socket.on('open', () => socket.send(JSON.stringify({ subscribe: 'debug' })));
    socket.on('message', (data) => heard.push(String(data)));
    socket.on('error', () => {});
    socket.on('close', () => resolve(heard));
  });
}

describe('through the gateway', () => {
  test('the editor knows the person, and what their groups may do', async () => {
    const settings = async (name) => (await clients[name].api(gate.url('r1', '/settings'))).json();
    assert.deepEqual((await settings('alice')).user, { username: 'alice', permissions: ['*'] });
    assert.deepEqual((await settings('gert')).user, { username: 'gert', permissions: ['read'] });
    assert.equal((await clients.gert.api(gate.url('r1', '/flows'))).status, 200);
    const write = await clients.gert.api(gate.url('r1', '/flows'), []);
    assert.equal(write.status, 401, 'who may read only wrote flows');
    assert.equal((await clients.nora.api(gate.url('r1', '/flows'))).status, 401, 'a group that is not named has an editor');
    assert.equal((await clients.nora.api(gate.url('r1', '/app/'))).status, 200, 'pages are for whoever the gateway lets in');
  });

  test('/comms is open to who is signed in', async () => {
    const { socket } = await handshake(gate, clients.alice, 'r1', '/comms');
    assert(socket);
    socket.terminate();
  });

  for (const transport of ['polling', 'websocket']) {
    test(`a message by ${transport}, and the flow knows who sent it`, async () => {
      const socket = await connected(connect(gate, clients.alice, 'r1', { path: SOCKET_PATH, namespace: '/app', auth: AUTH, transports: [transport] }));
      const answer = heard(socket, 'uiBuilder');
      socket.emit('uiBuilderClient', { topic: 'who', payload: 1, _socketId: socket.id, _client: { userId: 'admin' } });
      const [message] = await answer;
      assert.equal(message.payload.client.userId, 'alice');
      assert.equal(message.payload.client.provider, 'Portcullis');
      assert.deepEqual(message.payload.client.groups, ['staff']);
      socket.close();
    });
  }
});

describe('around the gateway', () => {
  test('nobody is admitted: editor, pages, sockets', { timeout: 60_000 }, async () => {
    await allClosed('nothing', {});
  });

  test('h1_identity headers that anybody can write admit nobody', { timeout: 60_000 }, async () => {
    await allClosed('headers', { 'remote-user': 'alice', 'x-forwarded-user': 'alice', 'x-user-role': 'admin', 'x-portcullis-assertion': 'e30.e30.AA', host: gate.host('r1') });
  });

  test('the assertion that another tenant was given admits nobody', { timeout: 60_000 }, async () => {
    const stolen = (await clients.alice.api(gate.url('r2', '/mirror'))).json().headers['x-portcullis-assertion'];
    assert(stolen);
    await allClosed('of another tenant', { 'x-portcullis-assertion': stolen });
    const own = (await clients.alice.api(gate.url('r1', '/mirror'))).json().headers['x-portcullis-assertion'];
    assert.equal((await fetch(`${around.r1}/settings`, { headers: { 'x-portcullis-assertion': own } })).status, 200, 'the doors are closed to everybody');
  });

  test('/comms says nothing but that it failed', async () => {
    assert.deepEqual(await comms({}), ['{"auth":"fail"}']);
    assert.deepEqual(await comms({ 'x-portcullis-assertion': 'e30.e30.AA' }), []);
  });

  test('a container that is told nothing admits nobody either', { timeout: 90_000 }, async () => {
    containers.untold = await Container.start('untold', { env: { PORTCULLIS_JWKS: '' } });
    const address = await containers.untold.address();
    await until('it answers', async () => (await fetch(`http://${address}:1880/flows`)).status === 401, 60_000, 200);
    assert.match(await until('it says so', async () => /\[portcullis\].*nobody is admitted/.exec(await docker('logs', containers.untold.id))?.[0]), /no settings/);
  });
});

describe('in Chromium', () => {
  let browser;
  let page;
  let keys;
  before(async () => {
    browser = await openBrowser({ ca: gate.ca, root: gate.root });
    page = await browser.newPage();
  });
  after(async () => {
    await browser?.close();
    keys?.close();
  });

  async function signInAt(address) {
    await page.goto(address);
    await page.locator('input[autocomplete~="username"]').first().fill('alice');
    await page.locator('input[type="password"]').fill(people.alice.password);
    await page.locator('input[type="password"]').press('Enter');
    await page.locator('input[autocomplete="one-time-code"]').fill(await people.alice.phone.code());
    await page.locator('input[autocomplete="one-time-code"]').press('Enter');
    await page.waitForURL(address);
  }

  test('the editor is signed in as the person, without a login of its own', { timeout: 120_000 }, async () => {
    await signInAt(gate.url('r1', '/'));
    await page.locator('#red-ui-header-button-deploy').waitFor({ timeout: 60_000 });
    await page.locator('#red-ui-header-button-user').click();
    await page.getByText('alice', { exact: true }).first().waitFor();
    assert.equal(await page.locator('#node-dialog-login').count(), 0);
  });

  test('the page works', { timeout: 60_000 }, async () => {
    await page.goto(gate.url('r1', '/app/'));
    await page.waitForFunction(() => window.uibuilder?.get('ioConnected') === true);
    const answer = await page.evaluate(() => new Promise((resolve) => {
      window.uibuilder.onChange('msg', (msg) => msg.topic === 'from the page' && resolve(msg));
      window.uibuilder.send({ topic: 'from the page', payload: 'hello' });
    }));
    assert.equal(answer.payload.client.userId, 'alice');
  });

  test('both warnings: in Node-RED\'s log, and in the debug sidebar of an editor that opens later', { timeout: 180_000 }, async () => {
    const jwks = (await clients.alice.api(`${gate.portal}/.portcullis/jwks.json`)).text;
    keys = http.createServer((_, answer) => answer.end(jwks)).listen(0, bridge);
    await new Promise((resolve) => keys.once('listening', resolve));
    const file = path.join(gate.folder, 'careless.js');
    fs.writeFileSync(file, `
      const portcullis = require('node-red-contrib-portcullis');
      const companion = portcullis.configure({ jwks: 'http://${bridge}:${keys.address().port}/', audience: '${gate.host('r3')}', permissions: { '*': '*' }, loopbackPaths: ['/healthy'] });
      module.exports = { flowFile: 'flows.json', credentialSecret: false, uiPort: 1880, adminAuth: companion.adminAuth, httpNodeAuth: companion.middleware,
        editorTheme: { tours: false }, telemetry: { enabled: false, updateNotification: false } };
    `);
    containers.r3 = await Container.start('r3', { env: { VIRTUAL_HOST: gate.host('r3') }, options: ['-v', `${file}:/data/settings.js:ro`] });
    await containers.r3.healthy(90_000);
    const log = await until('the log says so', async () => {
      const text = await docker('logs', containers.r3.id);
      return text.includes('pages are secured but their sockets are not') && text;
    });
    assert.match(log, /\[warn\] \[portcullis\] tokens are processed without TLS/);
    await until('r3 is routed', async () => (await clients.alice.visit(gate.url('r3', '/healthy'))).status === 200, 60_000, 100);
    // An editor that takes longer to listen than the plugin waits is told when it is opened again.
    for (let once = 1; ; once += 1) {
      await page.goto(gate.url('r3', '/'));
      await page.locator('#red-ui-header-button-deploy').waitFor({ timeout: 60_000 });
      await page.locator('#red-ui-tab-debug-link-button').click();
      const sidebar = page.locator('.red-ui-debug-content').first();
      try {
        await sidebar.getByText('tokens are processed without TLS').filter({ visible: true }).first().waitFor();
        await sidebar.getByText('pages are secured but their sockets are not').filter({ visible: true }).first().waitFor();
        break;
      } catch (error) {
        if (once === 3) throw error;
      }
    }
  });
});
