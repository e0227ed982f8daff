// `client.js` in Chromium: real uibuilder's browser client, socket.io-client 4 and 2, and a browser that blocks cookies.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Server } from 'socket.io';
import { LOOKS, openBrowser } from './lib/browser.mjs';
import { Container, ENGINE } from './lib/docker.mjs';
import { Gateway, until } from './lib/gateway.mjs';

const HERE = new URL('.', import.meta.url).pathname;
const SHOTS = process.env.PORTCULLIS_SHOTS ?? path.join(HERE, 'out');
const PAGE = (more) => `<!doctype html><html lang="en"><head><title>An app</title><meta name="viewport" content="width=device-width">
<script src="/socket.io.min.js"></script><script type="module" src="/app.js"></script></head><body><h1>An app</h1><p>What was typed stays: <input id="kept" aria-label="kept"></p>${more}</body></html>`;
const APP = `
import portcullis, { attach } from '/.portcullis/client.js';
window.told = [];
for (const name of ['authorised', 'expiring', 'invalid']) portcullis.addEventListener(name, (event) => window.told.push({ name, ...event.detail }));
window.socket = io({ autoConnect: false });
window.heard = [];
socket.on('said', (said) => heard.push(said));
socket.on('disconnect', (why) => window.told.push({ name: 'disconnect', why }));
attach(socket);
socket.connect();
`;
// A page of an app has a policy of its own; nothing of ours may need more than \`self\`.
const POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'none'; img-src 'self' data:; base-uri 'none'";

/** The browser clients of older uibuilders, as tests/live/setup.sh fetched them, and the script tags that pages have for each. */
const UIBUILDERS = path.join(HERE, '../../.work/uibuilder');
const SOCKETIO = '<script src="/uibuilder/vendor/socket.io/socket.io.js"></script>';
const OLDER = {
  '4.1.1, uibuilderfe': ['4.1.1/front-end/src/uibuilderfe.min.js', SOCKETIO],
  '5.1.1, uibuilderfe': ['5.1.1/front-end/uibuilderfe.min.js', SOCKETIO],
  '5.1.1': ['5.1.1/front-end/uibuilder.iife.min.js', ''],
  '6.8.2, uibuilderfe': ['6.8.2/front-end/uibuilderfe.min.js', SOCKETIO],
  '6.8.2': ['6.8.2/front-end/uibuilder.iife.min.js', ''],
};
const START = `
import { attach } from '/.portcullis/client.js';
window.mark = 'same page';
window.told = [];
for (const name of ['authorised', 'invalid']) window.portcullis.addEventListener(name, (event) => window.told.push({ name, ...event.detail }));
attach(window.uibuilder);
if (!window.uibuilder.get('started')) window.uibuilder.start('/app', '/uibuilder/vendor/socket.io');
`;

/** A tenant of uibuilder's shape, as these clients meet it: the namespace `/app` and the three channels. (5.1.1 needs a page with a style.) */
async function olderTenant() {
  const server = http.createServer((request, answer) => {
    const { pathname } = new URL(request.url, 'http://x');
    const name = decodeURIComponent(pathname.split('/')[2] ?? '');
    const [file, first] = OLDER[name] ?? [];
    if (file && pathname.endsWith('/')) {
      answer.writeHead(200, { 'content-type': 'text/html', 'set-cookie': ['uibuilder-namespace=app; Path=/', 'uibuilder-webRoot=; Path=/'] });
      answer.end(`<!doctype html><html lang="en"><head><title>An app</title><style>body { margin: 1rem }</style></head><body>${first}<script src="client.js"></script><script type="module" src="start.js"></script></body></html>`);
      return;
    }
    const body = file && { 'client.js': () => fs.readFileSync(path.join(UIBUILDERS, file)), 'start.js': () => START }[path.basename(pathname)];
    answer.writeHead(body ? 200 : 404, { 'content-type': 'text/javascript' });
    answer.end(body?.());
  });
  const io = new Server(server, { path: '/uibuilder/vendor/socket.io' });
  io.of('/app').on('connection', (socket) => {
    socket.emit('uiBuilderControl', { uibuilderCtrl: 'client connect', from: 'server', serverTimestamp: new Date(), version: decodeURIComponent(socket.handshake.headers.referer ?? '').match(/\/app\/([\d.]+)/)?.[1] ?? '7.0.0', _socketId: socket.id });
    socket.on('uiBuilderClient', ({ topic }) => socket.emit('uiBuilder', { topic, payload: { user: socket.handshake.headers['remote-user'] } }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async close() {
      await io.close();
      server.closeAllConnections();
    },
  };
}

/** Pages secured and sockets not. */
const CARELESS = '[[rule]]\nhosts = ["careless.example.test"]\npolicy = "open"\npages = "two-factor"';
const WARNING = /rule\.pages: asks for more than their sockets/g;

let gate;
let app;
let older;
let person;
let container;

/** An app of a tenant's: a page, the real socket.io, an echo that says what it was told of the sender. */
async function tenant() {
  const it = { seen: [] };
  const server = http.createServer((request, answer) => {
    const { pathname } = new URL(request.url, 'http://x');
    const files = {
      '/': ['text/html', PAGE('')], '/app.js': ['text/javascript', APP],
      '/socket.io.min.js': ['text/javascript', fs.readFileSync(path.join(HERE, 'node_modules/socket.io-client/dist/socket.io.min.js'))],
    };
    const [type, body] = files[pathname] ?? ['text/plain', ''];
    answer.writeHead(files[pathname] ? 200 : 404, { 'content-type': type, 'content-security-policy': POLICY });
    answer.end(body);
  });
  const io = new Server(server);
  io.on('connection', (socket) => {
    it.seen.push(socket.handshake.headers);
    socket.on('uiBuilderClient', (message) => it.seen.push(message));
    socket.on('say', (message) => {
      it.seen.push(message);
      socket.emit('said', { words: message.words, user: socket.handshake.headers['remote-user'] });
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  it.url = `http://127.0.0.1:${server.address().port}`;
  it.close = async () => {
    await io.close();
    server.closeAllConnections();
  };
  return it;
}

before(async () => {
  app = await tenant();
  older = await olderTenant();
  const more = 'login_api = true';
  gate = await Gateway.open({
    docker: [ENGINE],
    tenants: { place: { url: app.url, more }, token: { url: app.url, more }, window: app.url, older: { url: older.url, more } },
    extra: `[[rule]]\nhosts = ["token.example.test"]\npolicy = "two-factor"\npages = "open"\n${CARELESS}`,
  });
  person = await gate.person('alice', { groups: 'staff' });
  container = await Container.start('r1', { env: { VIRTUAL_HOST: gate.host('r1') } });
  await container.healthy(90_000);
}, { timeout: 180_000 });
after(async () => {
  await gate?.close();
  await container?.remove();
  await app?.close();
  await older?.close();
});

describe('the gateway warns of pages that are secured and sockets that are not', () => {
  test('in its log at start and when it reads the file again, and in check', { timeout: 60_000 }, async () => {
    assert.equal(gate.process.output.match(WARNING)?.length, 1, gate.process.output);
    assert.match(await gate.done(['check']), WARNING);
    gate.write({ extra: `${gate.parts.extra}\n` });
    await until('it says so again', () => gate.process.output.match(WARNING)?.length === 2);
  });
});

const dialogue = (page) => page.getByRole('dialog', { name: 'Sign in' });

async function fillDialogue(page, who = person) {
  const box = dialogue(page);
  await box.getByLabel('User name').fill(who.name);
  await box.getByLabel('Password').fill(who.password);
  await page.keyboard.press('Enter');
  await box.getByLabel('Six-digit code').fill(await who.phone.code());
  await page.keyboard.press('Enter');
  await box.waitFor({ state: 'detached' });
}

async function signInByPages(page, address) {
  await page.goto(address);
  await onThePortal(page);
  await page.waitForURL(address);
}

async function onThePortal(page, who = person) {
  await page.locator('input[autocomplete~="username"]').first().fill(who.name);
  await page.locator('input[type="password"]').fill(who.password);
  await page.locator('input[type="password"]').press('Enter');
  await page.locator('input[autocomplete="one-time-code"]').fill(await who.phone.code());
  await page.locator('input[autocomplete="one-time-code"]').press('Enter');
  // A code of the next half minute is taken, with a word about the phone's clock before one goes on.
  const onward = page.getByText(/^Go on to /);
  await onward.waitFor({ timeout: 2000 }).then(() => onward.click(), () => {});
}

async function say(page, words) {
  await page.waitForFunction(() => window.socket?.connected);
  await page.evaluate((text) => window.socket.emit('say', { words: text }), words);
  await page.waitForFunction((text) => window.heard.some((one) => one.words === text), words);
  return page.evaluate((text) => window.heard.find((one) => one.words === text), words);
}

const told = (page, name) => page.evaluate((wanted) => window.told.filter((one) => one.name === wanted), name);

describe('a page with client.js', () => {
  let browser;
  let page;
  const faults = [];
  before(async () => {
    browser = await openBrowser({ ca: gate.ca, root: gate.root });
    page = await browser.newPage();
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('console', (line) => /Content Security Policy/i.test(line.text()) && faults.push(line.text()));
  });
  after(async () => {
    await browser?.close();
  });

  test('talks, hears that its session is revoked, asks, and goes on without a reload', { timeout: 120_000 }, async () => {
    await signInByPages(page, gate.url('place'));
    assert.equal((await say(page, 'before')).user, 'alice');
    await page.locator('#kept').fill('half a letter');
    await gate.done(['session', 'revoke', '--user', 'alice']);
    await dialogue(page).waitFor();
    const [invalid] = await told(page, 'invalid');
    assert.equal(invalid.reason, 'revoked');
    assert.match(invalid.loginUrl, /^https:\/\/auth\./);
    assert.equal((await told(page, 'disconnect'))[0].why, 'io server disconnect');
    await fillDialogue(page);
    assert.equal((await say(page, 'after')).user, 'alice');
    assert.equal(await page.locator('#kept').inputValue(), 'half a letter', 'the page was loaded anew');
    assert.equal((await told(page, 'authorised')).length, 1);
    assert.deepEqual(faults, []);
  });

  test('the dialogue: keyboard alone, words for what is wrong, contrast, and no for an answer', { timeout: 120_000 }, async () => {
    await gate.done(['session', 'revoke', '--user', 'alice']);
    const box = dialogue(page);
    await box.waitFor();
    const focused = () => page.evaluate(() => [...document.querySelectorAll('div')].map((host) => host.shadowRoot?.activeElement).find(Boolean)?.name);
    assert.equal(await focused(), 'username');
    await page.keyboard.type('alice');
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'password');
    await page.keyboard.type('not the password');
    await page.keyboard.press('Enter');
    await box.getByRole('alert').filter({ hasText: 'wrong' }).waitFor();
    for (const view of LOOKS) {
      await page.emulateMedia({ colorScheme: view.colorScheme });
      await page.setViewportSize({ width: view.width, height: view.height });
      await page.screenshot({ path: path.join(SHOTS, `dialogue-${view.name}.png`) });
      assert.deepEqual(await page.evaluate(judge), [], view.name);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.keyboard.press('Escape');
    await box.waitFor({ state: 'detached' });
    const again = page.evaluate(() => window.portcullis.login());
    await fillDialogue(page);
    assert.equal(await again, true);
    assert.equal((await say(page, 'once more')).user, 'alice');
  });

  test('a host that takes no passwords: a window of the portal\'s, which hands back nothing', { timeout: 120_000 }, async () => {
    const other = await browser.newPage();
    // The login in place was for its own host alone.
    await signInByPages(other, gate.url('window'));
    assert.equal((await say(other, 'here')).user, 'alice');
    await gate.done(['session', 'revoke', '--user', 'alice']);
    await dialogue(other).waitFor();
    const [popup] = await Promise.all([other.waitForEvent('popup'), dialogue(other).getByRole('button', { name: 'Sign in in a new window' }).click()]);
    await onThePortal(popup);
    await popup.getByRole('heading', { name: 'You are signed in' }).waitFor();
    await dialogue(other).waitFor({ state: 'detached' });
    assert.equal((await say(other, 'there')).user, 'alice');
    await popup.close();
    await other.close();
  });

  test('logs out on the portal\'s page, and is told so without being asked to sign in', { timeout: 60_000 }, async () => {
    const there = await browser.newPage();
    await there.goto(gate.url('window'));
    await say(there, 'still here');
    await page.goto(gate.url('window'));
    await say(page, 'here too');
    await page.evaluate(() => void window.portcullis.logout());
    await page.waitForURL(/\/logout$/);
    await page.getByRole('button', { name: /sign out/i }).click();
    await there.waitForFunction(() => window.told.some((one) => one.name === 'invalid'));
    assert.equal(await dialogue(there).count(), 0);
    await there.close();
  });

  test('redirectToLogin leaves for the portal and comes back to the page', { timeout: 60_000 }, async () => {
    await page.goto(gate.url('token', '/?here=1'));
    await page.waitForFunction(() => window.portcullis);
    await page.evaluate(() => window.portcullis.redirectToLogin());
    await page.waitForURL(/\/login\?/);
    await onThePortal(page);
    await page.waitForURL(gate.url('token', '/?here=1'));
  });

  test('uibuilder\'s own client goes on after a revocation, without a reload', { timeout: 120_000 }, async () => {
    const uib = await browser.newPage();
    await uib.goto(gate.url('r1', '/app/'));
    await uib.waitForFunction(() => window.uibuilder?.get('ioConnected') === true);
    await uib.evaluate(async () => {
      const { attach } = await import('/.portcullis/client.js');
      window.mark = 'same page';
      window.told = [];
      window.portcullis.addEventListener('invalid', (event) => window.told.push(event.detail));
      attach(window.uibuilder);
    });
    const ask = (words) => uib.evaluate((topic) => new Promise((resolve) => {
      window.uibuilder.onChange('msg', (msg) => msg.topic === topic && resolve(msg.payload));
      window.uibuilder.send({ topic, payload: topic });
    }), words);
    assert.equal((await ask('one')).client.userId, 'alice');
    await gate.done(['session', 'revoke', '--user', 'alice']);
    await dialogue(uib).waitFor();
    assert.equal((await uib.evaluate(() => window.told))[0].reason, 'revoked');
    const [popup] = await Promise.all([uib.waitForEvent('popup'), dialogue(uib).getByRole('button', { name: 'Sign in in a new window' }).click()]);
    await onThePortal(popup);
    await dialogue(uib).waitFor({ state: 'detached' });
    await uib.waitForFunction(() => window.uibuilder.get('ioConnected') === true && window.uibuilder._socket.connected);
    assert.equal((await ask('two')).client.userId, 'alice');
    assert.equal(await uib.evaluate(() => window.mark), 'same page');
  });
});

describe('browser clients of older uibuilders', () => {
  let browser;
  before(async () => {
    browser = await openBrowser({ ca: gate.ca, root: gate.root });
  });
  after(async () => {
    await browser?.close();
  });

  for (const name of Object.keys(OLDER)) {
    test(`${name}: talks, and goes on after a revocation without a reload`, { timeout: 120_000 }, async () => {
      // (Somebody of its own: nobody waits for the next code.)
      const who = await gate.person(`p${name.replace(/[^a-z0-9]/g, '')}`);
      const page = await browser.newPage();
      const faults = [];
      page.on('pageerror', (error) => faults.push(String(error)));
      const address = gate.url('older', `/app/${encodeURIComponent(name)}/`);
      await page.goto(address);
      await onThePortal(page, who);
      await page.waitForURL(address);
      await page.waitForFunction(() => window.uibuilder?.get('ioConnected') === true);
      const ask = (words) => page.evaluate((topic) => new Promise((resolve) => {
        window.uibuilder.onChange('msg', (msg) => msg.topic === topic && resolve(msg.payload));
        window.uibuilder.send({ topic, payload: topic });
      }), words);
      assert.equal((await ask('one')).user, who.name);
      await gate.done(['session', 'revoke', '--user', who.name]);
      await dialogue(page).waitFor();
      const [invalid] = await told(page, 'invalid');
      assert.equal(invalid.reason, 'revoked');
      await fillDialogue(page, who);
      await page.waitForFunction(() => window.uibuilder.get('ioConnected') === true);
      assert.equal((await ask('two')).user, who.name);
      assert.equal(await page.evaluate(() => window.mark), 'same page');
      // The older client of 5 and 6 falls over every control message with an `_auth` in it, whoever sent it.
      const own = /^[56].*uibuilderfe/.test(name) ? /updateAuth is not a function/ : /^$/;
      assert.deepEqual(faults.filter((it) => !own.test(it)), []);
      await page.close();
      await gate.done(['session', 'revoke', '--user', who.name]);
    });
  }
});

describe('a token', () => {
  let browser;
  let page;
  before(async () => {
    browser = await openBrowser({ ca: gate.ca, root: gate.root });
    page = await browser.newPage();
    await page.goto(gate.url('token'));
    // Nobody is signed in, and the socket asks at once.
    await dialogue(page).waitFor();
    await page.keyboard.press('Escape');
  });
  after(async () => {
    await browser?.close();
  });

  test('a token is kept, shown and forgotten', async () => {
    assert.deepEqual(await page.evaluate(() => {
      const { save, token, forget } = window.portcullis;
      let wrong;
      try { save('nonsense'); } catch (error) { wrong = error.name; }
      save('a.b.c');
      const kept = [token(), localStorage.getItem('portcullis.token')];
      forget();
      return [wrong, ...kept, token(), localStorage.getItem('portcullis.token')];
    }), ['TypeError', 'a.b.c', 'a.b.c', null, null]);
  });

  test('a token goes with every message, and the tenant never sees it', { timeout: 60_000 }, async () => {
    await dialogue(page).waitFor({ state: 'detached' });
    const first = await page.evaluate((password) => window.portcullis.login({ username: 'alice', password, token: true }), person.password);
    const sent = [];
    page.on('websocket', (socket) => socket.on('framesent', (frame) => sent.push(String(frame.payload))));
    await page.evaluate(([ticket, code]) => window.portcullis.login({ ticket, code, token: true }), [first.ticket, await person.phone.code()]);
    assert.equal((await say(page, 'with a token')).user, 'alice');
    const token = await page.evaluate(() => window.portcullis.token());
    await until('it is on the WebSocket', async () => {
      await page.evaluate(() => window.socket.emit('uiBuilderClient', { topic: 'x', payload: 1 }));
      return sent.some((frame) => frame.startsWith('42') && frame.includes(`"jwt":"${token}"`));
    });
    await until('they arrived', () => app.seen.some((one) => one.topic === 'x'));
    assert(!JSON.stringify(app.seen).includes(token), 'the tenant saw the token');
    await assert.rejects(page.evaluate(async () => {
      const { attach } = await import('/.portcullis/client.js');
      attach(io('https://place.example.test/', { autoConnect: false }));
    }), /another host/);
  });
});

describe('a browser that blocks cookies', () => {
  let browser;
  let page;
  before(async () => {
    browser = await openBrowser({ ca: gate.ca, root: gate.root, noCookies: true });
    page = await browser.newPage();
  });
  after(async () => {
    await browser?.close();
  });

  test('the token lives in memory: sign in, talk, log out', { timeout: 120_000 }, async () => {
    await page.goto(gate.url('token'));
    assert.equal(await page.evaluate(() => { try { return String(localStorage); } catch (error) { return error.name; } }), 'SecurityError');
    await dialogue(page).waitFor();
    await fillDialogue(page);
    assert.equal((await say(page, 'by token')).user, 'alice');
    const token = await page.evaluate(() => window.portcullis.token());
    assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    assert.deepEqual((await browser.cookies()).filter((cookie) => cookie.name === '__Host-portcullis'), []);
    assert(!JSON.stringify(app.seen).includes(token), 'the tenant saw the token');
    await page.evaluate(() => window.portcullis.logout());
    await page.waitForFunction(() => window.told.some((one) => one.name === 'disconnect'));
    assert.equal(await page.evaluate(() => window.portcullis.token()), null);
  });
});

/** Runs in the page: contrast, sizes and labels inside the dialogue's shadow tree. */
function judge() {
  const faults = [];
  const root = [...document.querySelectorAll('div')].map((host) => host.shadowRoot).find(Boolean);
  const paint = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
  const light = (color) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const clear = (color) => /rgba\(.*, 0\)|transparent/.test(color);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) if (!clear(getComputedStyle(at).backgroundColor)) return getComputedStyle(at).backgroundColor;
    return 'white';
  };
  for (const element of root.querySelectorAll('h2, p, label, button, input')) {
    const style = getComputedStyle(element);
    if (element.textContent.trim() && ratio(style.color, behind(element)) < 4.5) faults.push(`contrast: ${element.textContent}`);
    if (['INPUT', 'BUTTON'].includes(element.tagName)) {
      const box = element.getBoundingClientRect();
      if (box.height < 44) faults.push(`small: ${element.textContent || element.name}`);
      if (box.left < 0 || box.right > innerWidth) faults.push(`out of sight: ${element.textContent || element.name}`);
      if (ratio(style.borderTopColor, behind(element.parentElement)) < 3) faults.push(`border: ${element.textContent || element.name}`);
    }
    if (element.tagName === 'INPUT' && element.labels.length === 0) faults.push(`no label: ${element.name}`);
  }
  return faults;
}
