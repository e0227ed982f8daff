// Who is not signed in, or signed in somewhere else: real redirects, real sockets, two tenants.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { Gateway } from './lib/gateway.mjs';
import { signInByPages } from './lib/http.mjs';
import { Polling, handshake } from './lib/sio.mjs';
import { echoTenant } from './lib/tenants.mjs';

let r1;
let r2;
let gate;
let alice;
let client;

before(async () => {
  r1 = await echoTenant();
  r2 = await echoTenant();
  gate = await Gateway.open({ tenants: { r1: r1.url, r2: r2.url } });
  alice = await gate.person('alice');
  client = await gate.signedIn(alice);
  assert.equal((await client.visit(gate.url('r1'))).status, 200);
  assert.equal((await client.visit(gate.url('r2'))).status, 200);
});
beforeEach(() => {
  r1.asked.length = 0;
  r2.asked.length = 0;
});
after(async () => {
  await gate?.close();
  await r1?.close();
  await r2?.close();
});

/** A browser with the given cookies and no others. */
function holding(cookies) {
  const other = client.stranger();
  for (const [host, jar] of Object.entries(cookies)) other.jar.set(gate.host(host), new Map(Object.entries(jar)));
  return other;
}

const ours = (host) => client.cookie(gate.host(host));

async function isRefused(who, host) {
  const tenant = { r1, r2 }[host];
  const asked = tenant.asked.length;
  const xhr = await who.api(gate.url(host, '/mirror'));
  assert.equal(xhr.status, 401, xhr.text);
  assert(xhr.json().login_url.startsWith(gate.portal), xhr.text);
  const page = await who.visit(gate.url(host, '/mirror'));
  assert.equal(new URL(page.url).origin, gate.portal);
  const poll = await Polling.open(gate, who, host);
  assert.equal(poll.first.status, 401, poll.first.text);
  const socket = await handshake(gate, who, host, '/socket.io/?EIO=4&transport=websocket');
  assert.equal(socket.status, 401);
  assert.equal(tenant.asked.length, asked, 'the tenant heard of it');
}

describe('not signed in', () => {
  test('a navigation goes to the portal and back to the very page', { timeout: 90_000 }, async () => {
    const dora = await gate.person('dora');
    const browser = gate.newClient('dora');
    const wanted = gate.url('r1', '/mirror?a=1&b=%2F%3F&c=%C3%A9');
    const page = await browser.visit(wanted);
    assert.equal(new URL(page.url).origin, gate.portal);
    const back = await signInByPages(browser, page, dora);
    assert.equal(back.url, wanted);
    assert.equal(back.status, 200);
    assert.equal(back.json().url, '/mirror?a=1&b=%2F%3F&c=%C3%A9');
  });

  test('a path that begins with two slashes comes back to this host', async () => {
    const page = await client.stranger().request(gate.url('r1', '/'), { path: '//evil.example/x', headers: { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' } });
    assert([302, 303, 400].includes(page.status), String(page.status));
    if (page.status !== 400) assert.equal(new URL(page.headers.location).origin, gate.portal);
  });

  test('XHR, polling and WebSocket get 401 in JSON, and the tenant hears nothing', async () => {
    const stranger = client.stranger();
    const xhr = await stranger.api(gate.url('r1', '/mirror'));
    assert.equal(xhr.status, 401);
    assert.match(xhr.headers['content-type'], /^application\/json/);
    assert(xhr.json().error && xhr.json().login_url, xhr.text);
    const post = await stranger.api(gate.url('r1', '/mirror'), { a: 1 });
    assert.equal(post.status, 401);
    const poll = await Polling.open(gate, stranger, 'r1');
    assert.equal(poll.first.status, 401);
    assert(poll.first.json().login_url);
    for (const path of ['/socket.io/?EIO=4&transport=websocket', '/comms', '/anything']) {
      const socket = await handshake(gate, stranger, 'r1', path);
      assert.equal(socket.status, 401, path);
      assert.match(socket.headers['content-type'], /^application\/json/);
      assert(JSON.parse(socket.body).login_url, socket.body);
    }
    assert.equal(r1.asked.length, 0);
  });

  test('an unknown host below the root answers a stranger as a known one does', async () => {
    const stranger = client.stranger();
    const shape = async (host) => {
      const answer = await stranger.api(gate.url(host, '/x'));
      const page = await stranger.request(gate.url(host, '/x'), { headers: { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' } });
      const names = (one) => Object.keys(one.headers).filter((name) => name !== 'date').sort();
      const body = answer.text.replaceAll(gate.host(host), 'HOST').replace(/state=[^"&]+/g, 'state=');
      return [answer.status, names(answer), body, page.status, names(page), new URL(page.headers.location).pathname];
    };
    assert.deepEqual(await shape('never-heard-of'), await shape('r1'));
  });
});

describe("r1's credentials", () => {
  test("r1's cookie is worth nothing on r2", () => isRefused(holding({ r2: { '__Host-portcullis': ours('r1') } }), 'r2'));

  test("the portal's cookie is worth nothing on r1", () => isRefused(holding({ r1: { '__Host-portcullis': ours('auth') } }), 'r1'));

  test("r1's cookie is worth nothing on the portal", async () => {
    const thief = holding({ auth: { '__Host-portcullis': ours('r1') } });
    const session = await thief.api(`${gate.portal}/.portcullis/api/v1/session`);
    assert.equal(session.status, 401, session.text);
    const account = await thief.visit(`${gate.portal}/account`);
    assert.match(account.text, /type="?password/i);
  });

  test('a cookie is no Bearer, nor a subprotocol', async () => {
    for (const host of ['r1', 'r2']) {
      const answer = await client.stranger().api(gate.url(host, '/mirror'), undefined, { headers: { authorization: `Bearer ${ours('r1')}` } });
      assert.equal(answer.status, 401, `${host}: ${answer.text}`);
    }
    const socket = await handshake(gate, client.stranger(), 'r1', '/socket.io/?EIO=4&transport=websocket', { protocols: ['portcullis', `portcullis.token.${ours('r1')}`] });
    assert.equal(socket.status, 401);
    assert.equal(r1.asked.length, 0);
  });

  test('a bad Bearer of ours does not fall back to a good cookie', async () => {
    const bad = `${ours('r1').slice(0, -6)}AAAAAA`;
    const answer = await client.api(gate.url('r1', '/mirror'), undefined, { headers: { authorization: `Bearer ${bad}` } });
    assert.equal(answer.status, 401);
  });

  test("a Bearer that is not ours (Node-RED's own) passes untouched beside the cookie", async () => {
    const answer = await client.api(gate.url('r1', '/mirror'), undefined, { headers: { authorization: 'Bearer not-one-of-ours' } });
    assert.equal(answer.status, 200);
    assert.equal(answer.json().headers.authorization, 'Bearer not-one-of-ours');
  });

  test('two cookies of our name are refused', async () => {
    const answer = await client.api(gate.url('r1', '/mirror'), undefined, { jar: false, headers: { cookie: `__Host-portcullis=${ours('r1')}; __Host-portcullis=${ours('r1')}` } });
    assert([400, 401].includes(answer.status), String(answer.status));
  });

  test('a ticket works once, on its host, in the browser that asked for it', { timeout: 90_000 }, async () => {
    const browser = gate.newClient('ticket');
    const finn = await gate.person('finn');
    const { signIn } = await import('./lib/http.mjs');
    await signIn(browser, gate.portal, finn);
    const navigate = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-site': 'none' };
    /** Walks the redirects up to the callback's address, which it returns unvisited. */
    const callback = async () => {
      browser.jar.delete(gate.host('r1'));
      let url = gate.url('r1', '/mirror');
      for (let hop = 0; hop < 8; hop += 1) {
        const answer = await browser.request(url, { headers: navigate });
        assert([302, 303].includes(answer.status), `${answer.status} ${url}`);
        url = new URL(answer.headers.location, url).href;
        if (new URL(url).pathname === '/.portcullis/callback') return url;
      }
      throw new Error(`no callback: ${url}`);
    };
    const signedIn = async (who, host) => (await who.api(gate.url(host, '/mirror'))).status === 200;

    const stolen = await callback();
    const thief = browser.stranger();
    await thief.request(stolen, { headers: navigate });
    assert(!(await signedIn(thief, 'r1')), 'a ticket worked in another browser');

    const elsewhere = await callback();
    const moved = elsewhere.replace(gate.host('r1'), gate.host('r2'));
    const carried = browser.stranger();
    carried.jar.set(gate.host('r2'), new Map(browser.jar.get(gate.host('r1'))));
    await carried.request(moved, { headers: navigate });
    assert(!(await signedIn(carried, 'r2')), 'a ticket of r1 worked on r2');

    const good = await callback();
    const attempt = new Map(browser.jar.get(gate.host('r1')));
    const answer = await browser.request(good, { headers: navigate });
    assert.equal(answer.status, 303);
    assert.equal(answer.headers.location, gate.url('r1', '/mirror'));
    assert.match(answer.headers['cache-control'], /no-store/);
    assert.equal(answer.headers['referrer-policy'], 'no-referrer');
    assert(await signedIn(browser, 'r1'));
    const again = browser.stranger();
    again.jar.set(gate.host('r1'), attempt);
    await again.request(good, { headers: navigate });
    assert(!(await signedIn(again, 'r1')), 'a ticket worked twice');
  });
});

describe('a sibling', () => {
  test('a request that another site or tenant caused is refused before the tenant', async () => {
    for (const site of ['same-site', 'cross-site']) {
      const answer = await client.api(gate.url('r1', '/mirror'), undefined, { headers: { 'sec-fetch-site': site, origin: gate.url('r2', '').replace(/\/$/, '') } });
      assert.equal(answer.status, 403, site);
    }
    const frame = await client.request(gate.url('r1', '/'), { headers: { accept: 'text/html', 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' } });
    assert.equal(frame.status, 403);
    assert.equal(r1.asked.length, 0);
  });

  test('a socket from another origin, or from none, is refused before the tenant', async () => {
    for (const origin of [gate.url('r2', '').replace(/\/$/, ''), 'https://evil.example', `http://${gate.host('r1')}:${gate.port}`, 'null', null]) {
      for (const path of ['/socket.io/?EIO=4&transport=websocket', '/comms']) {
        const socket = await handshake(gate, client, 'r1', path, { origin });
        assert.equal(socket.status, 403, `${origin} ${path}`);
      }
    }
    assert.equal(r1.asked.length, 0);
  });

  test('a link from another site opens the page', async () => {
    const page = await client.visit(gate.url('r1', '/mirror'), { from: 'cross-site' });
    assert.equal(page.status, 200);
  });
});
