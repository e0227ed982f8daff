// Security keys and passkeys, in a real browser that trusts the test's CA: Chromium's virtual authenticators, of both
// protocols; and python's fido2 as a client that was written by others.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { look, openBrowser } from './lib/browser.mjs';
import { Gateway, run } from './lib/gateway.mjs';
import { echoTenant } from './lib/tenants.mjs';

const HERE = new URL('.', import.meta.url).pathname;
const PYTHON = path.resolve(HERE, '../../.work/fido/bin/python');
const U2F = { protocol: 'u2f' };
const CTAP2 = { protocol: 'ctap2' };
const PASSKEY = { protocol: 'ctap2', hasResidentKey: true, hasUserVerification: true, isUserVerified: true };

let tenant;
let gate;
let browser;
const faults = [];

before(async () => {
  tenant = await echoTenant();
  const rule = ['[[rule]]', 'hosts = ["r1.example.test"]', 'paths = ["/admin/"]', 'policy = "hardware-key"'].join('\n');
  gate = await Gateway.open({ tenants: { r1: tenant.url }, extra: rule });
  browser = await openBrowser({ ca: gate.ca, root: gate.root });
});
after(async () => {
  await browser?.close();
  await gate?.close();
  await tenant?.close();
});

/** A page with an authenticator, which is one page's only. */
class Person {
  static async arrive(name) {
    const it = new Person();
    it.who = await gate.person(name);
    await browser.clearCookies();
    it.page = await browser.newPage();
    it.cdp = await browser.newCDPSession(it.page);
    await it.cdp.send('WebAuthn.enable', { enableUI: false });
    return it;
  }

  async plugIn(options) {
    const whole = { transport: 'usb', automaticPresenceSimulation: true, ...options };
    return (await this.cdp.send('WebAuthn.addVirtualAuthenticator', { options: whole })).authenticatorId;
  }

  pullOut(authenticatorId) {
    return this.cdp.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId });
  }

  async password(to = `${gate.portal}/login`) {
    await this.page.goto(to);
    await this.page.locator('#username').fill(this.who.name);
    await this.page.locator('#password').fill(this.who.password);
    await this.page.getByRole('button', { name: 'Continue' }).click();
  }

  async byCode() {
    await this.password();
    const other = this.page.getByRole('link', { name: 'Use your authenticator app instead' });
    await this.page.locator('#code').or(other).first().waitFor();
    if (await other.isVisible()) await other.click();
    await this.page.locator('#code').fill(await this.who.phone.code());
    await this.page.getByRole('button', { name: 'Sign in' }).click();
    await this.page.waitForURL('**/account');
  }

  async signOut() {
    await this.page.goto(`${gate.portal}/logout`);
    await this.page.locator('form button').first().click();
    await this.page.getByText('You are signed out').waitFor();
  }

  async add(kind, name) {
    await this.page.goto(`${gate.portal}/account/factors`);
    await this.page.locator(kind === 'passkey' ? '#passkey-name' : '#key-name').fill(name);
    await this.page.getByRole('button', { name: kind === 'passkey' ? 'Add a passkey' : 'Add a security key' }).click();
    await this.page.waitForURL('**/account/factors?done=added');
    await this.page.getByText(name, { exact: true }).waitFor();
  }

  useKey() {
    return this.page.getByRole('button', { name: 'Use your key' }).click();
  }

  /** What the portal says of who is signed in: asked in the address bar, for its pages may fetch nothing. */
  async session() {
    const answer = await this.page.goto(`${gate.portal}/.portcullis/api/v1/session`);
    return answer.json();
  }

  /** Name and password, then the key: what the session says of it. */
  async byKey() {
    await this.password();
    await this.useKey();
    await this.page.waitForURL('**/account');
    return this.session();
  }

  /** Reads what happened to the account meanwhile, and goes on. */
  async told(what) {
    await this.page.waitForURL('**/login/told**');
    await this.page.getByText(what).waitFor();
    await this.page.getByRole('button', { name: 'Go on', exact: true }).click();
    await this.page.waitForURL('**/account');
  }

  leave() {
    return this.page.close();
  }
}

for (const [what, options] of [['a U2F-protocol key', U2F], ['a CTAP2 key', CTAP2]]) {
  test(`${what} is the second step, before the app`, { timeout: 90_000 }, async () => {
    const person = await Person.arrive(`second-${options.protocol}`);
    await person.byCode();
    await person.plugIn(options);
    await person.add('key', 'Key ring');
    faults.push(...(await look(person.page, `factors-${options.protocol}`)));
    await person.signOut();
    await person.password();
    await person.page.getByRole('heading', { name: 'Use your key' }).waitFor();
    faults.push(...(await look(person.page, `key-${options.protocol}`)));
    await person.page.keyboard.press('Enter'); // the button has the focus: by keyboard alone
    await person.page.waitForURL('**/account');
    const session = await person.session();
    assert.deepEqual(session.amr, ['pwd', 'hwk', 'mfa']);
    assert.equal(session.level, 3);
    await person.leave();
  });
}

test('a passkey signs in without name and password, from the button and in the name field', { timeout: 90_000 }, async () => {
  const person = await Person.arrive('passkey');
  await person.byCode();
  const authenticatorId = await person.plugIn({ ...PASSKEY, transport: 'internal' });
  await person.add('passkey', 'Laptop');
  await person.signOut();
  // With a finger on it all the time, the offer in the name field is taken at once: nobody clicks.
  await person.page.goto(`${gate.portal}/login`);
  await person.page.waitForURL('**/account');
  const session = await person.session();
  assert.deepEqual(session.amr, ['hwk', 'user', 'mfa']);
  assert.equal(session.user.name, 'passkey');
  await person.signOut();
  await person.cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: false });
  await person.page.goto(gate.url('r1', '/?from=here'));
  await person.page.getByRole('button', { name: 'Sign in with a passkey' }).waitFor();
  faults.push(...(await look(person.page, 'login-passkey')));
  await person.cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: true });
  await person.page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await person.page.waitForURL(gate.url('r1', '/?from=here'));
  await person.leave();
});

test('a passkey whose owner is not verified is the second step only', { timeout: 90_000 }, async () => {
  const person = await Person.arrive('unverified');
  await person.byCode();
  const authenticatorId = await person.plugIn(PASSKEY);
  await person.add('passkey', 'Laptop');
  await person.signOut();
  await person.cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  await person.page.goto(`${gate.portal}/login`);
  await person.page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await person.page.locator('#passkey [data-says]', { hasText: 'No key answered' }).waitFor();
  assert.equal(new URL(person.page.url()).pathname, '/login');
  const session = await person.byKey();
  assert.deepEqual(session.amr, ['pwd', 'hwk', 'mfa']);
  await person.leave();
});

test('two keys, one lost: the other, then a recovery code, then a new key', { timeout: 120_000 }, async () => {
  const person = await Person.arrive('loser');
  await person.byCode();
  const first = await person.plugIn(U2F);
  await person.add('key', 'Key ring');
  await person.pullOut(first);
  const second = await person.plugIn(CTAP2);
  await person.add('key', 'In the safe');
  await person.page.goto(`${gate.portal}/account/recovery`);
  await person.page.getByRole('button', { name: 'Make recovery codes' }).click();
  const recovery = await person.page.locator('.codes code').first().innerText();
  await person.signOut();
  assert.equal((await person.byKey()).level, 3);
  await person.page.goto(`${gate.portal}/account/factors`);
  await person.page.getByRole('button', { name: 'Remove Key ring' }).click();
  await person.page.waitForURL('**/account/factors?done=removed');
  await person.page.getByRole('button', { name: 'Remove the authenticator app' }).click();
  await person.page.waitForURL('**/account/factors?done=removed');
  await person.page.getByText('The last one stays').waitFor();
  assert.equal(await person.page.getByRole('button', { name: /^Remove/ }).count(), 0);
  await person.pullOut(second);
  await person.signOut();
  await person.password();
  await person.page.getByRole('link', { name: 'Use a recovery code' }).click();
  await person.page.locator('#code').fill(recovery);
  await person.page.locator('main form button').first().click();
  await person.told('A recovery code was used');
  await person.plugIn(CTAP2);
  await person.add('key', 'A new one');
  await person.signOut();
  // Once more at the next sign-in, for it might have been somebody else who used the code.
  await person.password();
  await person.useKey();
  await person.told('A recovery code was used');
  assert.equal((await person.session()).level, 3);
  await person.leave();
});

test('an admin path asks for the key on top of a code, and lets in', { timeout: 90_000 }, async () => {
  const person = await Person.arrive('admin');
  await person.byCode();
  await person.page.goto(gate.url('r1', '/admin/x?y=1'));
  await person.page.getByText('your account has none that counts').waitFor();
  await person.plugIn(CTAP2);
  await person.add('key', 'Key ring');
  await person.page.goto(gate.url('r1', '/?plain'));
  assert.equal(person.page.url(), gate.url('r1', '/?plain'));
  await person.page.goto(gate.url('r1', '/admin/x?y=1'));
  await person.page.getByText('opens with a security key only').waitFor();
  assert.equal(await person.page.getByRole('link', { name: /authenticator/ }).count(), 0);
  faults.push(...(await look(person.page, 'key-step-up')));
  await person.useKey();
  await person.page.waitForURL(gate.url('r1', '/admin/x?y=1'));
  await person.leave();
});

test('a passkey that syncs signs in, and is no hardware', { timeout: 90_000 }, async () => {
  const person = await Person.arrive('synced');
  await person.byCode();
  await person.plugIn({ ...PASSKEY, transport: 'internal', defaultBackupEligibility: true, defaultBackupState: true });
  await person.add('passkey', 'Everywhere');
  await person.page.getByText('on all devices of its account').waitFor();
  for (let round = 0; round < 2; round += 1) {
    await person.signOut();
    await person.page.goto(`${gate.portal}/login`);
    await person.page.waitForURL('**/account');
    assert.deepEqual((await person.session()).amr, ['swk', 'user', 'mfa']);
  }
  await person.page.goto(gate.url('r1', '/admin/'));
  await person.page.getByText('your account has none that counts').waitFor();
  await person.leave();
});

test('a cloned key is refused, told and written down', { timeout: 90_000 }, async () => {
  const person = await Person.arrive('cloned');
  await person.byCode();
  const authenticatorId = await person.plugIn(CTAP2);
  await person.add('key', 'Key ring');
  await person.signOut();
  await person.byKey();
  await person.signOut();
  const { credentials: [credential] } = await person.cdp.send('WebAuthn.getCredentials', { authenticatorId });
  await person.cdp.send('WebAuthn.clearCredentials', { authenticatorId });
  await person.cdp.send('WebAuthn.addCredential', { authenticatorId, credential: { ...credential, signCount: 0 } });
  await person.password();
  await person.useKey();
  await person.page.getByText('has counted backwards').waitFor();
  faults.push(...(await look(person.page, 'key-cloned')));
  const events = (await gate.done(['audit', '--user', 'cloned'])).trim().split('\n').map((line) => JSON.parse(line));
  assert(events.some((event) => JSON.stringify(event).includes('factor_refused') && JSON.stringify(event).includes('counter')), JSON.stringify(events));
  await person.leave();
});

test('a key that was not registered here gets clear words', { timeout: 60_000 }, async () => {
  const person = await Person.arrive('stranger');
  await person.byCode();
  const own = await person.plugIn(CTAP2);
  await person.add('key', 'Key ring');
  await person.signOut();
  await person.pullOut(own);
  await person.plugIn(CTAP2);
  await person.password();
  await person.useKey();
  await person.page.locator('[data-says]', { hasText: 'not registered here' }).waitFor({ timeout: 40_000 });
  await person.page.getByRole('link', { name: 'Use your authenticator app instead' }).waitFor();
  await person.leave();
});

test('without JavaScript, and without WebAuthn, the pages say so and the app works', { timeout: 90_000 }, async () => {
  const person = await Person.arrive('bare');
  await person.byCode();
  await person.plugIn(CTAP2);
  await person.add('key', 'Key ring');
  await person.signOut();
  await person.page.addInitScript(() => { delete window.PublicKeyCredential; });
  await person.password();
  await person.page.getByText('This browser cannot use keys and passkeys').waitFor();
  assert(await person.page.getByRole('button', { name: 'Use your key' }).isDisabled());
  await person.byCode();
  await person.leave();
});

test("python's fido2 registers and signs in by the endpoints", { timeout: 90_000 }, async () => {
  const who = await gate.person('fido');
  const done = await run(PYTHON, [path.join(HERE, 'fido.py'), gate.ca, gate.portal, who.name, who.password, await who.phone.code()]);
  assert.equal(done.code, 0, done.stdout + done.stderr);
  assert.match(done.stdout, /signed in: pwd hwk mfa/);
  assert.match(done.stdout, /replayed: 401/);
});

describe('every page', () => {
  test('fits, reads and can be used in two widths and two themes', () => {
    assert.deepEqual(faults, []);
  });
});
