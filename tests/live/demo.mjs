// The first five minutes: `portcullis demo` in a real browser, and the same page in front of the real socket.io server.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { look, openBrowser, readQr } from './lib/browser.mjs';
import { BINARY, Gateway, PASSWORD, freePort, start, until } from './lib/gateway.mjs';
import { echoTenant } from './lib/tenants.mjs';
import { Authenticator } from './lib/totp.mjs';

const CLIENT_SCRIPT = path.resolve(new URL('.', import.meta.url).pathname, 'node_modules/socket.io-client/dist/socket.io.min.js');

/** Types into the first field that `page` shows for it, and sends its form. */
const code = (page) => page.locator('input[autocomplete="one-time-code"]');
const passwords = (page) => page.locator('input[type="password"]');
const user = (page) => page.locator('input[autocomplete~="username"]:visible, input[name="username"]:visible').first();
const send = (field) => field.press('Enter');

/** Signs a person in on the pages that `page` stands on. */
async function signIn(page, person) {
  await user(page).fill(person.name);
  await passwords(page).first().fill(person.password);
  await send(passwords(page).first());
  await code(page).fill(await person.phone.code());
  await send(code(page));
}

/** Says something on the demo page and waits for it to come back. */
async function talk(page, words) {
  await page.locator('#state', { hasText: /^connected by/ }).waitFor();
  await page.locator('#text').fill(words);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.locator('#log li', { hasText: words }).waitFor();
}

describe('make demo, in a browser that knows nothing but its CA', () => {
  const person = { password: PASSWORD };
  const faults = [];
  let folder;
  let demo;
  let port;
  let link;
  let browser;
  let page;

  before(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portcullis-demo-'));
    const data = path.join(folder, 'data');
    fs.mkdirSync(data);
    fs.copyFileSync(CLIENT_SCRIPT, path.join(data, 'socket.io.min.js'));
    port = await freePort();
    demo = start(BINARY, ['demo', '--port', String(port), '--data', data], { cwd: folder });
    link = await until('the set-up link is printed', () => {
      assert.equal(demo.exitCode, null, demo.output);
      return demo.output.match(/https:\/\/\S+\/setup\/[^\s\x1b]+/)?.[0];
    }, 40_000).catch((error) => {
      throw new Error(`${error.message}\n${demo.output}`);
    });
    browser = await openBrowser({ ca: findCa(folder), root: 'portcullis.localhost' });
    page = await browser.newPage();
  });
  after(async () => {
    await browser?.close();
    demo?.kill('SIGTERM');
    await demo?.over;
    fs.rmSync(folder, { recursive: true, force: true });
  });

  test('it prints the address and a link on the portal', () => {
    assert(demo.output.includes(`https://demo.portcullis.localhost:${port}`), demo.output);
    assert.equal(new URL(link).host, `auth.portcullis.localhost:${port}`);
  });

  test('a second one beside it says that the port is in use, and takes nothing from the first', { timeout: 30_000 }, async () => {
    const file = path.join(folder, 'data', 'demo.toml');
    const before = fs.readFileSync(file, 'utf8');
    const second = start(BINARY, ['demo', '--port', String(port), '--data', path.join(folder, 'data')], { cwd: folder });
    assert.notEqual(await second.over, 0);
    assert.match(second.output, new RegExp(`port ${port} is in use`));
    assert.equal(fs.readFileSync(file, 'utf8'), before);
  });

  test('the CA is fit for its own domain only', async () => {
    const { execFileSync } = await import('node:child_process');
    const text = execFileSync('openssl', ['x509', '-in', findCa(folder), '-noout', '-text']).toString();
    assert.match(text, /Name Constraints: critical[\s\S]*Permitted:\s+DNS:portcullis\.localhost/);
  });

  test('set-up link, password, QR code from a picture of the page, code', { timeout: 120_000 }, async () => {
    const answer = await page.goto(link);
    assert.equal(answer.status(), 200, await page.content());
    faults.push(...(await look(page, 'setup-password')));
    const name = await page.locator('input[autocomplete~="username"]').first().inputValue().catch(() => undefined);
    for (const field of await passwords(page).all()) await field.fill(person.password);
    if (await user(page).isVisible().catch(() => false)) {
      if (await user(page).isEditable()) await user(page).fill('admin');
    }
    await send(passwords(page).last());
    await code(page).waitFor();
    const uri = await readQr(page);
    assert(uri, 'no QR code could be read from the page');
    person.phone = new Authenticator(uri);
    person.name = person.phone.label.split(':').pop().trim() || name;
    faults.push(...(await look(page, 'setup-totp')));
    await code(page).fill(await person.phone.code());
    await send(code(page));
    await page.waitForLoadState('networkidle');
    assert.equal(await code(page).count(), 0, await page.content());
    faults.push(...(await look(page, 'setup-done')));
  });

  test('the link works once', async () => {
    const other = await browser.newPage();
    await other.goto(link);
    assert.equal(await passwords(other).count(), 0, 'a used link asks for a password');
    faults.push(...(await look(other, 'setup-link-gone')));
    await other.close();
  });

  test('sign out, sign in, back to the very page', { timeout: 120_000 }, async () => {
    await page.goto(`https://auth.portcullis.localhost:${port}/logout`);
    faults.push(...(await look(page, 'logout')));
    const button = page.locator('form[method="post" i] button').first();
    if (await button.count()) await button.click();
    await page.waitForLoadState('networkidle');
    await page.goto(`https://demo.portcullis.localhost:${port}/?from=here#there`);
    assert.equal(new URL(page.url()).hostname, 'auth.portcullis.localhost');
    faults.push(...(await look(page, 'login')));
    await user(page).fill(person.name);
    await passwords(page).first().fill('not the password at all');
    await send(passwords(page).first());
    await page.waitForLoadState('networkidle');
    faults.push(...(await look(page, 'login-wrong')));
    await user(page).fill(person.name);
    await passwords(page).first().fill(person.password);
    await send(passwords(page).first());
    await code(page).waitFor();
    faults.push(...(await look(page, 'login-code')));
    await code(page).fill(await person.phone.code());
    await send(code(page));
    await page.waitForURL(`https://demo.portcullis.localhost:${port}/?from=here**`);
    assert.equal(await page.locator('#user').innerText(), person.name);
  });

  test('the official Socket.IO client on the demo page talks both ways', { timeout: 60_000 }, async () => {
    await talk(page, 'there and back');
    await page.locator('#state', { hasText: 'connected by websocket' }).waitFor();
    faults.push(...(await look(page, 'demo')));
  });

  test('the cookies are host-only, Secure and HttpOnly', async () => {
    const cookies = (await browser.cookies()).filter((cookie) => cookie.name.startsWith('__Host-portcullis'));
    assert(cookies.some((cookie) => cookie.name === '__Host-portcullis' && cookie.domain === 'demo.portcullis.localhost'), JSON.stringify(cookies));
    for (const cookie of cookies) {
      assert(cookie.secure && cookie.httpOnly && cookie.path === '/', JSON.stringify(cookie));
      assert(!cookie.domain.startsWith('.'), JSON.stringify(cookie));
    }
  });

  test('signing out in another tab ends the open page within a second', { timeout: 60_000 }, async () => {
    const other = await browser.newPage();
    await other.goto(`https://auth.portcullis.localhost:${port}/account`);
    faults.push(...(await look(other, 'account')));
    await other.goto(`https://auth.portcullis.localhost:${port}/logout`);
    await page.evaluate(() => {
      window.over = new Promise((resolve) => window.demoSocket.once('disconnect', (reason) => resolve({ reason, at: Date.now() })));
      window.demoSocket.io.reconnection(false);
    });
    const before = Date.now();
    await other.locator('form[method="post" i] button').first().click();
    await other.waitForLoadState('networkidle');
    const over = await page.evaluate(() => Promise.race([window.over, new Promise((resolve) => setTimeout(resolve, 5000))]));
    assert(over, 'the socket stayed');
    assert(over.at - before < 1500, `${over.at - before} ms`);
    await page.goto(`https://demo.portcullis.localhost:${port}/`);
    assert.equal(new URL(page.url()).hostname, 'auth.portcullis.localhost');
    await other.close();
  });

  test('every page fits, reads and can be used in two widths and two themes', () => {
    assert.deepEqual(faults, []);
  });
});

describe('the same page before the real socket.io server', () => {
  let tenant;
  let gate;
  let alice;
  let browser;

  before(async () => {
    tenant = await echoTenant();
    gate = await Gateway.open({ tenants: { echo: tenant.url } });
    alice = await gate.person('alice');
    browser = await openBrowser({ ca: gate.ca, root: gate.root });
  });
  after(async () => {
    await browser?.close();
    await gate?.close();
    await tenant?.close();
  });

  test('signs in, runs and talks both ways', { timeout: 90_000 }, async () => {
    const page = await browser.newPage();
    await page.goto(gate.url('echo', '/?a=b'));
    assert.equal(new URL(page.url()).origin, gate.portal);
    await signIn(page, alice);
    await page.waitForURL(gate.url('echo', '/?a=b'));
    assert.equal(await page.locator('#user').innerText(), 'alice');
    await talk(page, 'hello, real server');
    await page.locator('#state', { hasText: 'connected by websocket' }).waitFor();
    await page.close();
  });

  test('a page that only polls works as well', { timeout: 60_000 }, async () => {
    const page = await browser.newPage();
    await page.goto(gate.url('echo', '/'));
    const said = await page.evaluate(() => new Promise((resolve, reject) => {
      const socket = window.io({ transports: ['polling'], forceNew: true });
      socket.on('said', (answer) => resolve({ ...answer, by: socket.io.engine.transport.name }));
      socket.on('connect_error', reject);
      socket.on('connect', () => socket.emit('say', 'by polling'));
    }));
    assert.deepEqual(said, { echo: 'by polling', user: 'alice', by: 'polling' });
    await page.close();
  });

  test('the tenant saw no credential of ours', () => {
    for (const asked of tenant.asked) {
      assert(!/portcullis(?!-assertion)/i.test(asked.headers.cookie ?? ''), asked.headers.cookie);
      assert(!asked.headers.authorization, asked.headers.authorization);
      assert.equal(asked.headers['remote-user'], 'alice');
      assert.equal(asked.headers['x-portcullis-assertion'].split('.').length, 3);
    }
  });
});

/** The CA's certificate, where the demo says that it keeps it. */
function findCa(folder) {
  const file = path.join(folder, 'certs', 'ca.pem');
  assert(fs.existsSync(file), `no CA at ${file}`);
  return file;
}
