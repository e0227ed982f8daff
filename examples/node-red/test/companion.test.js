// The companion against a gateway's keys served by a real server on loopback; what each refusal is for.
'use strict';

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const crypto = require('node:crypto');
const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, test } = require('node:test');
const { Companion } = require('../lib/companion');
const portcullis = require('..');

const HOST = 'r1.example.test';
const seconds = () => Math.floor(Date.now() / 1000);
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function newKey(kid, kind = 'ed25519') {
  const pair = kind === 'ed25519' ? crypto.generateKeyPairSync('ed25519') : crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const alg = kind === 'ed25519' ? 'EdDSA' : 'ES256';
  return { kid, alg, private: pair.privateKey, jwk: { ...pair.publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' } };
}

function claims(more = {}) {
  return {
    iss: 'https://auth.example.test', aud: HOST, tid: 't1', sub: 'u-1', preferred_username: 'alice', name: 'Alice', email: 'alice@example.test', groups: ['staff'], amr: ['pwd', 'otp'],
    auth_time: seconds(), iat: seconds(), exp: seconds() + 60, ...more,
  };
}

function sign(key, payload = claims(), header = {}) {
  const signed = `${part({ alg: key.alg, typ: 'portcullis-assertion+jwt', kid: key.kid, ...header })}.${part(payload)}`;
  const signature = key.alg === 'EdDSA' ? crypto.sign(null, Buffer.from(signed), key.private) : crypto.sign('sha256', Buffer.from(signed), { key: key.private, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

/** The gateway's JWKS; `keys` may be changed, `asked` counts. */
async function serveKeys(keys, server = http.createServer()) {
  const it = { keys, asked: 0, server, status: 200 };
  server.on('request', (request, answer) => {
    it.asked += 1;
    answer.statusCode = it.status;
    answer.setHeader('cache-control', 'public, max-age=300');
    if (it.status === 302) answer.setHeader('location', '/elsewhere');
    answer.end(JSON.stringify({ keys: it.keys.map((key) => key.jwk) }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  it.url = `http${server instanceof https.Server ? 's' : ''}://localhost:${server.address().port}/.portcullis/jwks.json`;
  return it;
}

const ask = (token, more = {}) => ({ url: '/app/', originalUrl: '/app/', headers: token === undefined ? {} : { 'x-portcullis-assertion': token }, socket: { remoteAddress: '172.17.0.9' }, ...more });

/** What the middleware answers: a status, or `passed`. */
function page(companion, request) {
  return new Promise((resolve) => {
    const answer = { setHeader() {}, end: () => resolve(answer.statusCode) };
    companion.middleware(request, answer, () => resolve('passed'));
  });
}

function socketOf(request, id = 's1') {
  return Object.assign(new EventEmitter(), { id, request, data: {} });
}

const connect = (companion, socket) => new Promise((resolve) => companion.sioMiddleware(socket, (error) => resolve(error ? 'refused' : 'passed')));
const handshake = (companion, request) => new Promise((resolve) => companion.allowRequest(request, (_, good) => resolve(good ? 'passed' : 'refused')));

describe('the companion', () => {
  const key = newKey('k1');
  let gateway;
  let companion;
  before(async () => {
    gateway = await serveKeys([key]);
    companion = new Companion({ audience: HOST, jwks: gateway.url, issuer: 'https://auth.example.test', permissions: { admins: '*', staff: ['flows.read', 'settings.read'] }, loopbackPaths: ['/healthy'] });
  });
  after(() => gateway.server.close());

  test('lets in whom the gateway vouches for, by both algorithms', async () => {
    const request = ask(sign(key));
    assert.equal(await page(companion, request), 'passed');
    assert.equal(request.portcullis.name, 'alice');
    assert.deepEqual(await companion.adminAuth.tokens(sign(key)), { username: 'alice', permissions: ['flows.read', 'settings.read'] });
    assert.equal(companion.adminAuth.tokenHeader, 'x-portcullis-assertion');
    const other = newKey('k2', 'p256');
    const second = await serveKeys([other]);
    const es256 = new Companion({ audience: [HOST, 'b.example.test'], jwks: second.url });
    assert.equal(await page(es256, ask(sign(other))), 'passed');
    second.server.close();
  });

  const token = sign(key);
  const wrong = {
    'no assertion': undefined,
    'an empty one': '',
    'two in one header': `${token}, ${token}`,
    'no JWT': 'x.y',
    'another host\'s': sign(key, claims({ aud: 'r2.example.test' })),
    'a list of hosts': sign(key, claims({ aud: [HOST] })),
    'another gateway\'s': sign(key, claims({ iss: 'https://auth.example.org' })),
    'an expired one': sign(key, claims({ iat: seconds() - 70, exp: seconds() - 10 })),
    'one of the future': sign(key, claims({ iat: seconds() + 3600, exp: seconds() + 3630 })),
    'one that lives too long': sign(key, claims({ exp: seconds() + 3600 })),
    'one without times': sign(key, claims({ exp: undefined })),
    'one about nobody': sign(key, claims({ sub: '' })),
    'groups that are no text': sign(key, claims({ groups: [1] })),
    'a session token\'s kind': sign(key, claims(), { typ: 'portcullis-session+jwt' }),
    'no algorithm': `${part({ alg: 'none', typ: 'portcullis-assertion+jwt', kid: 'k1' })}.${part(claims())}.AA`,
    'another algorithm than the key\'s': sign(key, claims(), { alg: 'ES256' }),
    'the public key as a secret': (() => {
      const signed = `${part({ alg: 'HS256', typ: 'portcullis-assertion+jwt', kid: 'k1' })}.${part(claims())}`;
      return `${signed}.${crypto.createHmac('sha256', key.jwk.x).update(signed).digest('base64url')}`;
    })(),
    'an own key in the header': sign({ ...newKey('k1') }, claims(), { jwk: newKey('k1').jwk }),
    'an address of keys in the header': sign(newKey('evil'), claims(), { jku: 'http://127.0.0.1:1/jwks.json' }),
    'a critical extension': sign(key, claims(), { crit: ['b64'], b64: false }),
    'a changed payload': `${token.split('.')[0]}.${part(claims({ preferred_username: 'admin' }))}.${token.split('.')[2]}`,
    'a key that nobody has': sign(newKey('k9')),
    'what has no end': `${'a'.repeat(20_000)}.b.c`,
  };
  for (const [what, bad] of Object.entries(wrong)) {
    test(`refuses ${what}: at a page, in the editor, at a handshake and at a connection`, async () => {
      assert.equal(await page(companion, ask(bad)), 401);
      assert.equal(await companion.adminAuth.tokens(bad), null);
      assert.equal(await handshake(companion, ask(bad)), 'refused');
      assert.equal(await connect(companion, socketOf(ask(bad))), 'refused');
    });
  }

  test('a token that was good is refused once it has expired', async () => {
    let now = Date.now() / 1000;
    const aging = new Companion({ audience: HOST, jwks: gateway.url }, { now: () => now });
    const old = sign(key);
    assert.equal(await page(aging, ask(old)), 'passed');
    now += 66;
    assert.equal(await page(aging, ask(old)), 401);
    assert.equal(await page(aging, ask(old)), 401);
  });

  test('a group that is not named may nothing in the editor', async () => {
    assert.equal(await companion.adminAuth.tokens(sign(key, claims({ groups: ['guests'] }))), null);
    assert.deepEqual(companion.permissions(['admins', 'staff']), ['*', 'flows.read', 'settings.read']);
    const everybody = new Companion({ audience: HOST, jwks: gateway.url, permissions: { '*': 'read' } });
    assert.deepEqual(everybody.permissions([]), ['read']);
    assert.deepEqual(companion.permissions(['__proto__', 'constructor']), []);
  });

  test('only the container itself may ask its health path without an assertion', async () => {
    const own = { url: '/healthy?x', originalUrl: '/healthy?x', socket: { remoteAddress: '127.0.0.1' } };
    assert.equal(await page(companion, ask(undefined, own)), 'passed');
    assert.equal(await page(companion, ask(undefined, { ...own, socket: { remoteAddress: '172.17.0.1' } })), 401);
    assert.equal(await page(companion, ask(undefined, { ...own, originalUrl: '/healthy/x' })), 401);
    assert.equal(await page(companion, ask('forged', own)), 401);
  });

  test('remembers a connection past its assertion, by its handshake alone', async () => {
    let now = Date.now() / 1000;
    const aging = new Companion({ audience: HOST, jwks: gateway.url }, { now: () => now });
    const request = ask(sign(key));
    assert.equal(await handshake(aging, request), 'passed');
    now += 3600;
    const socket = socketOf(request);
    assert.equal(await connect(aging, socket), 'passed');
    assert.equal(aging.who('s1').name, 'alice');
    assert.equal(aging.msgReceived({ msg: { _socketId: 's1' } }), true);
    assert.equal(await connect(aging, socketOf(ask(request.headers['x-portcullis-assertion']), 's2')), 'refused');
    socket.emit('disconnect');
    assert.equal(aging.who('s1').name, 'alice', 'flows are told whose it was');
    await new Promise(setImmediate);
    assert.equal(aging.who('s1'), undefined);
  });

  test('w8_flows are told what was signed, whatever the connection says of itself', async () => {
    const socket = socketOf(ask(sign(key)), 's3');
    socket.handshake = { auth: { user: { userId: 'admin' } } };
    await connect(companion, socket);
    const client = { _client: { userId: 'admin', role: 'root' } };
    assert.equal(companion.clientDetails({ client, socket }), true);
    assert.equal(client._client.userId, 'alice');
    assert.equal(client._client.provider, 'Portcullis');
    const stranger = { _client: { userId: 'admin' } };
    assert.equal(companion.clientDetails({ client: stranger, socket: socketOf(ask(undefined), 's4') }), false);
    assert.equal(stranger._client, undefined);
    socket.emit('disconnect');
  });

  test('a hook is never what throws: whatever it is given, the answer is no', () => {
    for (const data of [undefined, null, {}, { msg: null }, { msg: {} }, { msg: { _socketId: 'x' } }, { client: null, socket: null }, { client: {}, socket: {} }]) {
      assert.equal(companion.msgReceived(data), false);
      assert.equal(companion.clientDetails(data), false);
    }
  });

  test('an error of its own is a refusal too', async () => {
    const broken = new Companion({ audience: HOST, jwks: gateway.url }, { keys: { find: () => { throw new TypeError('a mistake'); } } });
    const words = [];
    broken.log = { warn: (text) => words.push(text) };
    assert.equal(await page(broken, ask(sign(key))), 401);
    assert.equal(await page(broken, { url: '/', headers: null, socket: null }), 401);
    assert.equal(await connect(broken, socketOf(ask(sign(key)))), 'refused');
    assert.equal(await handshake(broken, ask(sign(key))), 'refused');
    assert.equal(await broken.adminAuth.tokens(sign(key)), null);
    assert(words.some((text) => text.includes('a mistake')), words.join());
  });

  test('without settings nobody is admitted, and wrong settings are an error at start', async () => {
    assert.equal(portcullis.companion.isConfigured, false);
    const none = new Companion(null);
    assert.equal(await page(none, ask(sign(key))), 401);
    assert.equal(await connect(none, socketOf(ask(sign(key)))), 'refused');
    assert.equal(await new Promise((resolve) => portcullis.sioMiddleware(socketOf(ask(sign(key))), (error) => resolve(error?.message))), 'refused');
    for (const settings of [undefined, {}, { audience: HOST }, { audience: '', jwks: gateway.url }, { audience: [], jwks: gateway.url }, { audience: HOST, jwks: 'ftp://x/' }, { audience: HOST, jwks: gateway.url, audiance: 'x' }]) {
      assert.throws(() => new Companion(settings ?? undefined), /portcullis: /);
    }
  });

  test('the file for uibuilder is put in place, taken away, and never over another', () => {
    const root = fs.mkdtempSync(path.join(os.tmpdir(), 'companion-'));
    const file = path.join(root, '.config', 'sioMiddleware.js');
    portcullis.install(root);
    portcullis.install(root);
    // The package cannot be found from there: the file refuses instead of failing to load.
    let refused;
    require(file)(socketOf(ask(sign(key))), (error) => (refused = error));
    assert.match(refused.message, /refused/);
    portcullis.uninstall(root);
    assert.equal(fs.existsSync(file), false);
    fs.writeFileSync(file, 'module.exports = () => {};');
    assert.throws(() => portcullis.install(root), /is not ours/);
    portcullis.uninstall(root);
    assert.equal(fs.existsSync(file), true);
    fs.rmSync(root, { recursive: true });
  });

  test('what settings.js gets is whole, and keeps what was there', () => {
    const made = companion.settings({ uibuilder: { telemetryEnabled: false, hooks: { msgSending: () => true }, socketOptions: { maxHttpBufferSize: 5 } } });
    assert.equal(made.httpAdminMiddleware, companion.middleware);
    assert.equal(made.uibuilder.socketOptions.connectionStateRecovery.skipMiddlewares, false);
    assert.equal(made.uibuilder.socketOptions.maxHttpBufferSize, 5);
    assert.equal(made.uibuilder.hooks.msgSending(), true);
    assert.deepEqual(companion.warnings(made, false).filter((words) => words.includes('sockets')), []);
  });
});

describe('the warnings', () => {
  const made = (jwks) => new Companion({ audience: HOST, jwks });

  test('token processing without TLS', async () => {
    assert.match(made('http://auth.example.test/.portcullis/jwks.json').warnings({}, false).join(), /without TLS/);
    assert.deepEqual(made('https://auth.example.test/.portcullis/jwks.json').warnings({}, false), []);
    const key = newKey('k1');
    const gateway = await serveKeys([key]);
    const companion = made(gateway.url);
    const words = [];
    companion.log = { warn: (text) => words.push(text) };
    const request = ask(sign(key));
    request.headers['x-forwarded-proto'] = 'http';
    await page(companion, request);
    await page(companion, request);
    assert.equal(words.filter((text) => text.includes('without TLS')).length, 1, words.join());
    gateway.server.close();
  });

  test('pages secured but sockets not, and not the other way round', () => {
    const companion = made('https://auth.example.test/.portcullis/jwks.json');
    const all = companion.settings();
    const pagesOnly = { httpNodeAuth: companion.middleware };
    assert.match(companion.warnings(pagesOnly, false).join(), /pages are secured but their sockets are not/);
    assert.deepEqual(companion.warnings(pagesOnly, true), []);
    assert.deepEqual(companion.warnings(all, false), []);
    assert.deepEqual(companion.warnings({ uibuilder: all.uibuilder }, true), [], 'sockets without pages are no mistake');
  });
});

describe('the keys', () => {
  test('are fetched once, and a new one is found without a restart', async () => {
    const [first, second] = [newKey('k1'), newKey('k2')];
    const gateway = await serveKeys([first]);
    const companion = new Companion({ audience: HOST, jwks: gateway.url, refetchFloor: 0 });
    const all = await Promise.all([1, 2, 3].map((n) => page(companion, ask(sign(first, claims({ sub: `u-${n}` }))))));
    assert.deepEqual(all, ['passed', 'passed', 'passed']);
    assert.equal(gateway.asked, 1);
    gateway.keys = [second];
    assert.equal(await page(companion, ask(sign(second))), 'passed');
    assert.equal(await page(companion, ask(sign(first, claims({ sub: 'u-4' })))), 401, 'a key that was taken away');
    gateway.server.close();
  });

  test('made-up key ids make no traffic', async () => {
    const key = newKey('k1');
    const gateway = await serveKeys([key]);
    const companion = new Companion({ audience: HOST, jwks: gateway.url });
    for (let n = 0; n < 20; n += 1) assert.equal(await page(companion, ask(sign(newKey(`made-up-${n}`)))), 401);
    assert.equal(gateway.asked, 1);
    assert.equal(await page(companion, ask(sign(key))), 'passed');
    gateway.server.close();
  });

  test('a gateway that does not answer, or answers by a redirect, opens nothing', async () => {
    const key = newKey('k1');
    const gateway = await serveKeys([key]);
    gateway.status = 302;
    assert.equal(await page(new Companion({ audience: HOST, jwks: gateway.url }), ask(sign(key))), 401);
    assert.equal(gateway.asked, 1, 'the redirect was followed');
    gateway.server.close();
    gateway.server.closeAllConnections();
    assert.equal(await page(new Companion({ audience: HOST, jwks: gateway.url }), ask(sign(key))), 401);
  });

  test('old keys serve for a while when the gateway is away, and then no more', async () => {
    const { Keys } = require('../lib/keys');
    const key = newKey('k1');
    const gateway = await serveKeys([key]);
    let now = 0;
    const keys = new Keys(new URL(gateway.url), { clock: () => now });
    await keys.find('k1');
    gateway.status = 503;
    now = 500_000;
    await keys.find('k1');
    now = 700_000;
    await assert.rejects(keys.find('k1'), /does not have/);
    gateway.server.close();
  });

  test('https with a certificate of a private CA, and not with any other', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'companion-'));
    const file = (name) => path.join(folder, name);
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file('key.pem'), '-out', file('ca.pem'), '-days', '1', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'pipe' });
    const key = newKey('k1');
    const gateway = await serveKeys([key], https.createServer({ key: fs.readFileSync(file('key.pem')), cert: fs.readFileSync(file('ca.pem')) }));
    const reach = (ca) => page(new Companion({ audience: HOST, jwks: gateway.url, ca }), ask(sign(key)));
    assert.equal(await reach(file('ca.pem')), 'passed');
    assert.equal(await reach(fs.readFileSync(file('ca.pem'), 'utf8')), 'passed');
    assert.equal(await reach(undefined), 401);
    gateway.server.close();
    fs.rmSync(folder, { recursive: true });
  });
});
