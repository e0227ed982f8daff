// Tokens instead of cookies, with the real socket.io at both ends: signing in through the API, talking by both transports,
// a refresh in the middle of a burst, the end of a token in mid-stream, an idle session revived, and somebody else's token.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Gateway, until } from './lib/gateway.mjs';
import { signIn } from './lib/http.mjs';
import { Polling, Raw, connect, connected, heard } from './lib/sio.mjs';
import { countingTenant } from './lib/tenants.mjs';

const CONTROL = 'uiBuilderControl';

/** A login at the tenant's own host, without a cookie: the token. */
async function token(gate, host, person) {
  const client = gate.newClient('a page without cookies');
  const api = gate.url(host, '/.portcullis/api/v1/login');
  const first = await client.api(api, { username: person.name, password: person.password, token: true });
  assert.equal(first.status, 200, first.text);
  const done = await client.api(`${api}/totp`, { ticket: first.json().ticket, code: await person.phone.code(), token: true });
  assert.equal(done.status, 200, done.text);
  assert(![done.headers['set-cookie'] ?? []].flat().some((line) => line.startsWith('__Host-portcullis=')), 'a cookie was set');
  return done.json().token;
}

async function refreshed(gate, host, jwt) {
  const client = gate.newClient('a page without cookies');
  const answer = await client.api(gate.url(host, '/.portcullis/api/v1/session/refresh'), {}, { headers: { authorization: `Bearer ${jwt}` } });
  assert.equal(answer.status, 200, answer.text);
  return answer.json().token;
}

/** The official client with a token alone. */
function talk(gate, host, jwt, transport, auth) {
  return connect(gate, gate.newClient('a page without cookies'), host, {
    auth, cookie: '', transports: [transport],
    headers: transport === 'polling' ? { authorization: `Bearer ${jwt}` } : {},
    ...(transport === 'websocket' && { protocols: ['portcullis', `portcullis.token.${jwt}`] }),
  });
}

const numbers = (tenant, stream) => (tenant.arrived.get(stream) ?? []).map((it) => it.n);
const oneTo = (n) => Array.from({ length: n }, (_, i) => i + 1);
const raw = (gate, host, jwt, auth) => Raw.open(gate, gate.newClient('a page without cookies'), host, { auth, cookie: '', origin: null, protocols: ['portcullis', `portcullis.token.${jwt}`] });

describe('tokens instead of cookies', { concurrency: 1 }, () => {
  let tenant;
  let gate;
  let people;
  before(async () => {
    tenant = await countingTenant({ recovery: true, pingInterval: 1000, pingTimeout: 5000 });
    const more = 'login_api = true';
    gate = await Gateway.open({
      tenants: { plain: { url: tenant.url, more }, strict: { url: tenant.url, more: `${more}\nsocketio = { mode = "in-band" }` } },
      extra: '[[rule]]\npages = "open"\nsockets = "two-factor"\n',
    });
    people = { ann: await gate.person('ann'), bob: await gate.person('bob') };
  });
  after(async () => {
    await gate?.close();
    await tenant?.close();
  });

  for (const host of ['plain', 'strict']) {
    test(`${host}: sign in through the API, talk by both transports, a refresh in a burst, log out`, { timeout: 150_000 }, async () => {
      const nobody = gate.newClient('nobody');
      assert.equal((await nobody.api(gate.url(host, '/'))).status, 200, 'pages are open');
      const refused = await Polling.open(gate, nobody, host);
      assert.equal(refused.first.status, 401);
      assert(refused.first.json().login_url);
      const first = await token(gate, host, people.ann);
      for (const [transport, count] of [['websocket', 10_000], ['polling', 500]]) {
        const stream = `${host}-${transport}`;
        const socket = await connected(talk(gate, host, first, transport, { stream, every: 25 }));
        const down = [];
        socket.on('down', (message) => down.push(message.n));
        await sleep(1000); // a token that is newer by a second
        const newer = await refreshed(gate, host, first);
        const authorised = heard(socket, CONTROL, 60_000);
        for (let n = 1; n <= count; n += 1) socket.emit('up', { stream, n, ...(n === count / 2 && { _auth: { jwt: newer } }) });
        await until(`${count} messages by ${transport}`, () => numbers(tenant, stream).length >= count, 60_000);
        assert.deepEqual(numbers(tenant, stream), oneTo(count), 'lost or reordered');
        const [said] = await authorised;
        assert.equal(said.uibuilderCtrl, 'authorised');
        assert.equal(said._auth.jwt, newer);
        assert(said._auth.sessionExpiry > Date.now());
        await until('numbers from the tenant', () => down.length > 5);
        assert.deepEqual(down, Array.from(down, (_, i) => down[0] + i), 'a gap');
        assert(!JSON.stringify(tenant.opened.get(stream).headers).includes(first.split('.')[2]), 'the tenant saw the token');
        if (transport === 'websocket') socket.disconnect();
        else {
          // One that the tenant says nothing to: its poll is pending when the end comes, and is told of it.
          const quiet = await connected(talk(gate, host, newer, transport, { stream: `${stream}-quiet` }));
          await until('a poll is pending', () => tenant.opened.get(`${stream}-quiet`)?.socket.conn.transport.writable);
          const lost = new Promise((resolve) => quiet.on('disconnect', resolve));
          const last = heard(quiet, CONTROL);
          const out = await nobody.api(gate.url(host, '/.portcullis/api/v1/logout'), {}, { headers: { authorization: `Bearer ${newer}` } });
          assert.equal(out.status, 200, out.text);
          assert.equal((await last)[0].uibuilderCtrl, 'logoff');
          assert.equal(await lost, 'io server disconnect', 'a 41');
          for (const it of [stream, `${stream}-quiet`]) {
            await until('the tenant heard of it', () => tenant.ended.has(it));
            assert.equal(tenant.ended.get(it).why, 'client namespace disconnect', 'the tenant could recover it');
          }
          socket.disconnect();
        }
      }
      const again = await Polling.open(gate, nobody, host, { headers: { authorization: `Bearer ${first}` } });
      assert.equal(again.first.status, 401);
    });
  }

  test('in a message: nothing but a good one passes, and none arrives', { timeout: 60_000 }, async () => {
    // Her cookie opens it; each message needs a token.
    const client = gate.newClient("bob's browser");
    await signIn(client, gate.url('strict', ''), people.bob);
    const jwt = await token(gate, 'strict', people.bob);
    const socket = await connected(connect(gate, client, 'strict', { auth: { stream: 'in-band' } }));
    const said = [];
    socket.on(CONTROL, (message) => said.push([message.uibuilderCtrl, message.reason].filter(Boolean).join(' ')));
    for (let n = 1; n <= 50; n += 1) socket.emit('up', { stream: 'in-band', n, _auth: { jwt } });
    socket.emit('up', { stream: 'in-band', n: 'forged', _auth: { jwt: `${jwt.slice(0, -8)}AAAAAAAA` } });
    socket.emit('up', { stream: 'in-band', n: 'bare' });
    await until('what was dropped', () => said.length >= 3);
    assert.deepEqual(said, ['authorised', 'jwt_auth_fail signature', 'jwt_auth_fail missing']);
    socket.emit('up', { stream: 'in-band', n: 51, _auth: { jwt } });
    await until('the good ones', () => numbers(tenant, 'in-band').length >= 51);
    assert.deepEqual(numbers(tenant, 'in-band'), oneTo(51));
    socket.disconnect();
  });
});

describe('the end of a token, and of a session', { concurrency: 1 }, () => {
  let tenant;
  before(async () => {
    tenant = await countingTenant({ recovery: true, pingInterval: 500, pingTimeout: 3000 });
  });
  after(async () => {
    await tenant?.close();
  });

  /** Numbers both ways, recorded at both ends. */
  function streams(socket, stream) {
    const down = [];
    socket.events = (name, message) => (name === 'down' ? down.push({ n: message.n, at: Date.now() }) : socket.said?.push(message));
    let n = 0;
    const timer = setInterval(() => socket.emit('up', { stream, n: (n += 1) }), 25);
    socket.closed.then(() => clearInterval(timer));
    return { down, up: () => tenant.arrived.get(stream) ?? [], stop: () => clearInterval(timer) };
  }

  /** Nothing of the streams moved between the two moments, at either end. */
  function silent({ up, down }, from, to) {
    const inside = ({ at }) => at > from && at < to;
    assert.deepEqual(up().filter(inside), [], 'passed up');
    assert.deepEqual(down.filter(inside), [], 'passed down');
  }

  test('in-band: after exp nothing passes either way; a newer token goes on without a reconnect', { timeout: 60_000 }, async () => {
    const gate = await Gateway.open({ session: { token: '5s' }, tenants: { strict: { url: tenant.url, more: 'login_api = true\nsocketio = { mode = "in-band" }' } }, extra: '[sockets]\ngrace = "3s"\n' });
    try {
      const first = await token(gate, 'strict', await gate.person('ann'));
      const end = JSON.parse(Buffer.from(first.split('.')[1], 'base64url')).exp * 1000;
      const socket = await raw(gate, 'strict', first, { stream: 'exp', every: 20 });
      socket.said = [];
      const flow = streams(socket, 'exp');
      await sleep(end - Date.now() - 1200);
      const second = await refreshed(gate, 'strict', first);
      await sleep(end - Date.now() + 1500);
      assert(flow.up().length > 20 && flow.down.length > 20, 'it flowed before');
      const back = Date.now();
      silent(flow, end + 30, back);
      assert(socket.said.some((it) => it.uibuilderCtrl === 'jwt_auth_fail' && it.reason === 'expired'));
      socket.emit(CONTROL, { uibuilderCtrl: 'auth', _auth: { jwt: second } });
      await until('it goes on', () => flow.up().at(-1).at > back && flow.down.at(-1).at > back);
      assert(socket.said.some((it) => it.uibuilderCtrl === 'authorised' && it._auth.jwt === second));
      // And nobody brings a third: it is over when the grace is.
      const over = await Promise.race([socket.closed, sleep(15_000, undefined, { ref: false })]);
      assert.equal(over?.code, 1008);
      assert.equal(socket.packets.at(-1), '41');
      const exp = JSON.parse(Buffer.from(second.split('.')[1], 'base64url')).exp * 1000;
      silent(flow, exp + 30, Infinity);
      assert(Math.abs(over.at - exp - 3000) < 1500, `${over.at - exp} ms after exp`);
      await until('the tenant heard of it', () => tenant.ended.has('exp'));
      assert.equal(tenant.ended.get('exp').why, 'client namespace disconnect');
    } finally {
      await gate.close();
    }
  });

  test('an idle session: the same user goes on, without a reload; another user ends it', { timeout: 90_000 }, async () => {
    const gate = await Gateway.open({ session: { idle: '4s' }, tenants: { plain: { url: tenant.url, more: 'login_api = true' } }, extra: '[sockets]\nidle = "session"\ngrace = "20s"\n' });
    try {
      const [ann, bob] = [await gate.person('ann'), await gate.person('bob')];
      for (const [who, stream] of [[ann, 'idle-ann'], [bob, 'idle-bob']]) {
        const socket = await raw(gate, 'plain', await token(gate, 'plain', ann), { stream, every: 20 });
        socket.said = [];
        const down = [];
        socket.events = (name, message) => (name === 'down' ? down.push(Date.now()) : socket.said.push(message));
        await until('the session is idle', () => socket.said.some((it) => it.reason === 'expired'), 15_000);
        const from = Date.now();
        socket.emit('up', { stream, n: 'in the grace' });
        const jwt = await token(gate, 'plain', who);
        assert.deepEqual(down.filter((at) => at > from + 30), [], 'passed in the grace');
        socket.emit('up', { stream, n: 1, _auth: { jwt } });
        if (who === ann) {
          await until('it goes on', () => numbers(tenant, stream).length > 0 && down.at(-1) > from + 30);
          assert.deepEqual(numbers(tenant, stream), [1]);
          socket.close();
        } else {
          const over = await Promise.race([socket.closed, sleep(10_000, undefined, { ref: false })]);
          assert.equal(over?.code, 1008);
          assert.equal(socket.packets.at(-1), '41');
          await until('the tenant heard of it', () => tenant.ended.has(stream));
          assert.equal(tenant.ended.get(stream).why, 'client namespace disconnect');
          assert.deepEqual(numbers(tenant, stream), []);
        }
      }
    } finally {
      await gate.close();
    }
  });

  test('a polling connection is told to the tenant before its leg is cut', { timeout: 60_000 }, async () => {
    // Its pings are far apart: the poll that is told of the end is pending when it comes.
    const patient = await countingTenant({ recovery: true });
    const gate = await Gateway.open({ tenants: { plain: patient.url } });
    try {
      const client = await gate.signedIn(await gate.person('ann'));
      await client.visit(gate.url('plain'));
      const poll = await Polling.open(gate, client, 'plain');
      assert.equal((await poll.write(['40{"stream":"polled"}'])).status, 200);
      let pending = poll.read();
      let said = '';
      const reading = (async () => {
        for (;;) {
          const answer = await pending;
          said = answer.text;
          if (answer.status !== 200 || said.endsWith('41')) return answer.status;
          if (said.includes('2')) await poll.write(['3']).catch(() => {});
          pending = poll.read();
        }
      })();
      // The tenant may write: it has a poll to answer, after the one that brought its own CONNECT.
      await until('a poll is pending', () => said.startsWith('40') && patient.opened.get('polled')?.socket.conn.transport.writable);
      await gate.done(['session', 'revoke', '--user', 'ann']);
      await Promise.race([reading, sleep(10_000, undefined, { ref: false })]);
      const packets = said.split('\x1e');
      assert.equal(packets.at(-1), '41', said);
      assert(packets.at(-2).includes('"session invalid"'), said);
      await until('the tenant heard of it', () => patient.ended.has('polled'));
      assert.equal(patient.ended.get('polled').why, 'client namespace disconnect', 'the tenant could recover it');
    } finally {
      await gate.close();
      await patient.close();
    }
  });
});
