// People who look after their own accounts, in a real browser that trusts the test's CA: every part of the account page
// from end to end, and once the whole way with nothing but a keyboard.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { look, openBrowser, readQr } from './lib/browser.mjs';
import { Gateway, PASSWORD } from './lib/gateway.mjs';
import { signIn } from './lib/http.mjs';
import { echoTenant } from './lib/tenants.mjs';
import { Authenticator } from './lib/totp.mjs';

const SHOTS = path.resolve(new URL('.', import.meta.url).pathname, 'out');
const PHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1';
const FIREFOX = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0';

let tenant;
let gate;
let browser;
const faults = [];

before(async () => {
  tenant = await echoTenant();
  gate = await Gateway.open({ tenants: { r1: tenant.url } });
  browser = await openBrowser({ ca: gate.ca, root: gate.root });
});
after(async () => {
  await browser?.close();
  await gate?.close();
  await tenant?.close();
});

const seen = async (page, name) => faults.push(...(await look(page, name)));
const alive = async (client) => (await client.api(`${gate.portal}/.portcullis/api/v1/session`)).status === 200;

/** A page of somebody who has cookies of nobody. */
async function arrive() {
  await browser.clearCookies();
  const page = await browser.newPage();
  page.go = (path) => page.goto(`${gate.portal}${path}`);
  page.press = (name) => page.getByRole('button', { name, exact: true }).click();
  return page;
}

/** Name and password, from wherever the page was asked for. */
async function password(page, who, to = `${gate.portal}/login`) {
  await page.goto(to);
  await page.locator('#username').fill(who.name);
  await page.locator('#password').fill(who.password);
  await page.press('Continue');
  await page.locator('#code').waitFor();
}

async function enter(page, who) {
  await password(page, who);
  await page.locator('#code').fill(await who.phone.code());
  await page.press('Sign in');
  await page.waitForURL('**/account');
}

/** What somebody with that browser has open beside. */
async function elsewhere(who, agent) {
  const client = gate.newClient(agent);
  await signIn(client, gate.portal, who);
  return client;
}

/** Goes by Tab to the control of that name, which must be seen to have the focus, and be in the window. */
async function tabTo(page, name) {
  const passed = [];
  for (let steps = 0; steps < 60; steps += 1) {
    const at = await page.evaluate(() => {
      const it = document.activeElement;
      const box = it.getBoundingClientRect();
      return {
        name: (it.getAttribute('aria-label') || it.labels?.[0]?.textContent || it.textContent).trim(),
        shown: it.matches(':focus-visible') && getComputedStyle(it).outlineStyle !== 'none',
        inside: box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth,
      };
    });
    if (at.name === name) {
      assert(at.shown, `${name}: the focus is not to be seen`);
      assert(at.inside, `${name}: the focus is outside of the window`);
      return;
    }
    passed.push(at.name.slice(0, 30));
    await page.keyboard.press('Tab');
  }
  throw new Error(`no way by Tab to ${name} on ${page.url()}: ${passed.join(' | ')}`);
}

test('by keyboard alone: set-up, sign-in, a key added, sign-out', { timeout: 120_000 }, async () => {
  await gate.done(['user', 'add', 'typist']);
  const said = await gate.done(['user', 'invite', 'typist']);
  const page = await arrive();
  const { keyboard } = page;
  const type = async (name, text) => {
    await tabTo(page, name);
    await keyboard.type(text);
  };
  await page.go(said.match(/\/setup\/[^\s"]+/)[0]);
  await type('New password', PASSWORD);
  await type('The same password again', PASSWORD);
  await keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Connect your authenticator app' }).waitFor();
  const phone = new Authenticator(await readQr(page));
  await type('Six-digit code from the app', await phone.code());
  await keyboard.press('Enter');
  await page.getByRole('heading', { name: /^All set/ }).waitFor();
  await tabTo(page, 'Sign in');
  await keyboard.press('Enter');
  await page.waitForURL('**/login');
  await type('User name', 'typist');
  await type('Password', PASSWORD);
  await keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Enter your code' }).waitFor();
  await type('Six-digit code', await phone.code());
  await keyboard.press('Enter');
  await page.waitForURL('**/account');
  const cdp = await browser.newCDPSession(page);
  await cdp.send('WebAuthn.enable', { enableUI: false });
  await cdp.send('WebAuthn.addVirtualAuthenticator', { options: { protocol: 'ctap2', transport: 'usb', automaticPresenceSimulation: true } });
  await tabTo(page, 'Second steps');
  await keyboard.press('Enter');
  await page.waitForURL('**/account/factors');
  await type('Name of the security key', 'Key ring');
  await keyboard.press('Enter');
  await page.waitForURL('**/account/factors?done=added');
  await page.getByText('Key ring', { exact: true }).waitFor();
  await tabTo(page, 'Overview');
  await keyboard.press('Enter');
  await page.waitForURL('**/account');
  await tabTo(page, 'Sign out');
  await keyboard.press('Enter');
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  await page.close();
});

test('sessions are told in words, this one is marked, one ends, all others end', { timeout: 90_000 }, async () => {
  const who = await gate.person('owner', { groups: 'night-shift' });
  const page = await arrive();
  await enter(page, who);
  const [phone, desk] = [await elsewhere(who, PHONE), await elsewhere(who, FIREFOX)];
  await page.go('/account');
  const lines = page.locator('ul.list > li');
  const texts = await lines.allInnerTexts();
  assert.equal(texts.length, 3, texts.join('\n'));
  assert.match(texts[0], /Chromium on Linux|Chrome on Linux/);
  assert.match(texts[0], /this browser/);
  assert.equal(texts.filter((it) => it.includes('this browser')).length, 1);
  assert.equal(await lines.first().getByRole('button').count(), 0, 'this one is ended by signing out');
  const iphone = texts.find((it) => it.includes('iPhone'));
  assert.match(iphone, /Safari on iPhone/);
  assert.match(iphone, /127\.0\.0\.1 · since .* UTC · last used just now/);
  assert(texts.some((it) => it.includes('Firefox on Windows')), texts.join('\n'));
  assert.match(await page.locator('dl.facts').innerText(), /owner[\s\S]*night-shift[\s\S]*password, authenticator app/);
  await seen(page, 'account-sessions');
  await page.getByRole('button', { name: /^End the session Safari on iPhone/ }).click();
  await page.getByRole('status').getByText('That session is over').waitFor();
  assert(!(await alive(phone)) && (await alive(desk)));
  await page.press('End all other sessions');
  await page.getByRole('status').getByText('All your other sessions are over.').waitFor();
  assert(!(await alive(desk)));
  assert.equal(await lines.count(), 1);
  await page.go('/account/activity');
  const events = await page.locator('ul.list').innerText();
  assert.match(events, /Signed in: password, authenticator app/);
  assert.match(events, /Firefox on Windows · 127\.0\.0\.1/);
  await seen(page, 'account-activity');
  await page.close();
});

test('a new password: help in words, the other session over, the old one worth nothing', { timeout: 90_000 }, async () => {
  const who = await gate.person('changer');
  const page = await arrive();
  await enter(page, who);
  const other = await elsewhere(who, PHONE);
  await page.go('/account/password');
  const change = async (old, fresh, again = fresh) => {
    await page.locator('#old').fill(old);
    await page.locator('#password').fill(fresh);
    await page.locator('#again').fill(again);
    await page.press('Change password');
  };
  const alert = page.getByRole('alert');
  for (const [old, fresh, again, words] of [
    [who.password, 'password1234', undefined, /\w+ \w+/],
    [who.password, 'changer-2026', undefined, /\w+ \w+/],
    [who.password, 'five green kettles whistle', 'five green kettles', /not the same/],
    ['not this one at all', 'five green kettles whistle', undefined, /not your password/],
  ]) {
    await change(old, fresh, again);
    await alert.waitFor();
    assert.match(await alert.innerText(), words);
    assert.match(await page.title(), /^Error: /);
    assert.equal(await page.locator('[aria-invalid=true][aria-describedby~=errors]').count(), 1);
    assert.equal(await page.locator('input[type=password]').evaluateAll((all) => all.map((it) => it.value).join('')), '', 'a password is sent back');
  }
  await seen(page, 'account-password-wrong');
  assert(await alive(other), 'nothing has changed yet');
  await change(who.password, 'five green kettles whistle');
  await page.getByRole('status').getByText('Your password is changed').waitFor();
  assert(!(await alive(other)), 'the other session goes on');
  const login = (it) => gate.newClient('asks').api(`${gate.portal}/.portcullis/api/v1/login`, { username: who.name, password: it });
  assert.equal((await login(who.password)).status, 401);
  assert.equal((await login('five green kettles whistle')).status, 200);
  await page.go('/account');
  await page.getByText('this browser', { exact: true }).waitFor();
  await page.close();
});

test('recovery codes: shown once, downloaded, printed, counted down, told, replaced', { timeout: 120_000 }, async () => {
  const who = await gate.person('careful');
  const page = await arrive();
  await enter(page, who);
  await page.go('/account/recovery');
  await page.getByText('You have no recovery codes.').waitFor();
  await page.press('Make recovery codes');
  const codes = await page.locator('.codes code').allInnerTexts();
  assert.equal(new Set(codes).size, 10);
  await seen(page, 'account-recovery-shown');
  const [download] = await Promise.all([page.waitForEvent('download'), page.press('Download as text')]);
  assert.equal(download.suggestedFilename(), 'recovery-codes.txt');
  const text = fs.readFileSync(await download.path(), 'utf8');
  assert(text.includes('careful') && codes.every((it) => text.includes(it)), text);
  await page.emulateMedia({ media: 'print' });
  const printed = await page.evaluate(() => document.body.innerText);
  assert(codes.every((it) => printed.includes(it)), 'a code is not printed');
  assert.equal(printed.replace(/[a-z0-9]{4}(-[a-z0-9]{4}){3}/g, '').replace(/\s|\d+\./g, ''), 'Recoverycodes', 'more than the codes is printed');
  await page.screenshot({ path: path.join(SHOTS, 'account-recovery-printed.png'), fullPage: true });
  await page.emulateMedia({ media: 'screen' });
  await page.go('/account/recovery');
  await page.getByText('You have 10 recovery codes left.').waitFor();
  const later = await page.content();
  assert(!codes.some((it) => later.includes(it)), 'shown twice');

  // Used: the way goes on to where one wanted to go, past what is told.
  await browser.clearCookies();
  const wanted = gate.url('r1', '/?plan=a%2Fb&plan=c');
  await password(page, who, wanted);
  await page.getByRole('link', { name: 'Use a recovery code' }).click();
  await page.locator('#code').fill('0000-0000-0000-0000');
  await page.press('Sign in');
  await page.getByRole('alert').getByText('wrong or was used before').waitFor();
  await page.locator('#code').fill(codes[0].toUpperCase().replaceAll('-', ' '));
  await page.press('Sign in');
  await page.waitForURL('**/login/told**');
  await page.getByText(/A recovery code was used on .* 9 are left\./).waitFor();
  await seen(page, 'told-recovery');
  await page.press('Go on to r1.example.test');
  await page.waitForURL(wanted);

  await browser.clearCookies();
  await password(page, who);
  await page.getByRole('link', { name: 'Use a recovery code' }).click();
  await page.locator('#code').fill(codes[0]);
  await page.press('Sign in');
  await page.getByRole('alert').getByText('wrong or was used before').waitFor();
  await page.locator('#code').fill(codes[1]);
  await page.press('Sign in');
  await page.waitForURL('**/login/told**');
  await page.press('Go on');
  await page.waitForURL('**/account');
  await page.go('/account/recovery');
  await page.getByText('You have 8 recovery codes left.').waitFor();
  await page.press('Make new recovery codes');
  const fresh = await page.locator('.codes code').allInnerTexts();
  assert(fresh.length === 10 && !fresh.some((it) => codes.includes(it)));
  await page.getByRole('link', { name: 'I have kept them' }).click();
  await page.waitForURL('**/account');
  await browser.clearCookies();
  await password(page, who);
  await page.getByRole('link', { name: 'Use a recovery code' }).click();
  await page.locator('#code').fill(codes[2]);
  await page.press('Sign in');
  await page.getByRole('alert').getByText('wrong or was used before').waitFor();
  await page.close();
});

test('another app takes the place of the old one; a key is named, used, renamed, removed; the last one stays', { timeout: 120_000 }, async () => {
  const who = await gate.person('keeper');
  const page = await arrive();
  await enter(page, who);
  await page.go('/account/factors');
  await page.getByText('The last one stays').waitFor();
  assert.equal(await page.getByRole('button', { name: /^Remove/ }).count(), 0);
  const other = await elsewhere(who, FIREFOX);
  await page.getByRole('link', { name: /^Connect another authenticator app/ }).click();
  const fresh = new Authenticator(await readQr(page));
  assert.notEqual(fresh.secret, who.phone.secret);
  await page.locator('#code').fill('000000');
  await page.press('Connect it');
  await page.getByRole('alert').getByText("not the new app's").waitFor();
  assert.equal(new Authenticator(await readQr(page)).secret, fresh.secret, 'another secret after a slip');
  assert(await alive(other), 'nothing has changed yet');
  await page.locator('#code').fill(await fresh.code());
  await page.press('Connect it');
  await page.waitForURL('**/account/factors?done=added');
  assert(!(await alive(other)), 'the other session goes on');
  const cdp = await browser.newCDPSession(page);
  await cdp.send('WebAuthn.enable', { enableUI: false });
  await cdp.send('WebAuthn.addVirtualAuthenticator', { options: { protocol: 'ctap2', transport: 'usb', automaticPresenceSimulation: true } });
  await page.locator('#key-name').fill('Desk <b>drawer</b>');
  await page.press('Add a security key');
  await page.getByText('Desk <b>drawer</b>', { exact: true }).waitFor();
  const line = page.locator('ul.list > li', { hasText: 'Security key' });
  assert.match(await line.innerText(), /last used never/);
  await page.getByText('Rename', { exact: true }).click();
  await line.locator('input[name=name]').fill('Desk drawer');
  await page.press('Save');
  await page.waitForURL('**/account/factors?done=renamed');
  // A key is there now, and is asked for first; the old app's codes are worth nothing.
  await browser.clearCookies();
  await page.goto(`${gate.portal}/login`);
  await page.locator('#username').fill(who.name);
  await page.locator('#password').fill(who.password);
  await page.press('Continue');
  await page.getByRole('heading', { name: 'Use your key' }).waitFor();
  await page.getByRole('link', { name: 'Use your authenticator app instead' }).click();
  await page.locator('#code').fill(await who.phone.code());
  await page.press('Sign in');
  await page.getByRole('alert').waitFor();
  await page.getByRole('link', { name: 'Use your key instead' }).click();
  await page.press('Use your key');
  await page.waitForURL('**/account');
  await page.go('/account/factors');
  assert.match(await line.innerText(), /last used \d+ \w+ 20\d\d/);
  await page.getByRole('button', { name: 'Remove the authenticator app' }).click();
  await page.waitForURL('**/account/factors?done=removed');
  await page.getByText('The last one stays').waitFor();
  // Who asks all the same, past the page, is told.
  await page.locator('form[action="/account/factors/rename"]').evaluate((form) => {
    form.action = '/account/factors/remove';
    form.closest('details').open = true;
  });
  await page.press('Save');
  const refused = await page.getByRole('alert').innerText();
  assert.match(refused, /last second step, and stays/);
  await seen(page, 'account-factors-last');
  await page.close();
});

test('name and e-mail are changed, and apps are told them', { timeout: 60_000 }, async () => {
  const who = await gate.person('named');
  const page = await arrive();
  await enter(page, who);
  await page.go('/account/profile');
  await page.locator('#name').fill('Zoë <i>Example</i>');
  await page.locator('#email').fill('zoe@example.test');
  await page.press('Save');
  await page.getByRole('status').getByText('Saved.').waitFor();
  await page.go('/account');
  await page.getByRole('heading', { name: 'Hello, Zoë <i>Example</i>' }).waitFor();
  await page.goto(gate.url('r1', '/mirror'));
  const { headers } = JSON.parse(await page.locator('body').innerText());
  assert.equal(headers['remote-user'], 'named');
  assert.equal(headers['remote-email'], 'zoe@example.test');
  await page.close();
});

test('factors reset by the people who run it: out at once, in by a link, told, and on to where one wanted', { timeout: 90_000 }, async () => {
  const who = await gate.person('forgetful');
  const page = await arrive();
  await enter(page, who);
  const other = await elsewhere(who, PHONE);
  const said = await gate.done(['user', 'reset-factors', who.name]);
  assert(!(await alive(other)));
  await page.go('/account');
  await page.waitForURL('**/login');
  await page.go(said.match(/\/setup\/[^\s"]+/)[0]);
  await page.locator('#password').fill('three brown owls at noon');
  await page.locator('#again').fill('three brown owls at noon');
  await page.press('Continue');
  await page.getByRole('heading', { name: 'Connect your authenticator app' }).waitFor();
  const phone = new Authenticator(await readQr(page));
  await page.locator('#code').fill(await phone.code());
  await page.press('Finish');
  await page.getByRole('heading', { name: /^All set/ }).waitFor();
  await page.go(said.match(/\/setup\/[^\s"]+/)[0]);
  assert.equal(await page.locator('form').count(), 0, 'the link works twice');
  const wanted = gate.url('r1', '/?from=%2Fdeep%2Fdown&x=1');
  await password(page, { name: who.name, password: 'three brown owls at noon' }, wanted);
  await page.locator('#code').fill(await phone.code());
  await page.press('Sign in');
  await page.waitForURL('**/login/told**');
  await page.getByText('took your second step away').waitFor();
  await seen(page, 'told-reset');
  await page.press('Go on to r1.example.test');
  await page.waitForURL(wanted);
  const events = (await gate.done(['audit', '--user', who.name])).trim().split('\n');
  assert(events.some((it) => it.includes('factors_reset')), events.join('\n'));
  await page.close();
});

describe('every page', () => {
  test('fits, reads and can be used in two widths and two themes', () => {
    assert.deepEqual(faults, []);
  });
});
