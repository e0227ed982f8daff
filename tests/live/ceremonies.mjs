// kill -9 at random moments of everything that changes what somebody signs in with: a key added, used and removed, recovery
// codes made and used, a new password. What was acknowledged is there after the restart, nothing is there by halves, and
// what was used up never works again. PORTCULLIS_CEREMONY_KILLS (of each) and PORTCULLIS_SEED change how many and which.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { chance, cut } from './lib/chance.mjs';
import { Gateway, PASSWORD } from './lib/gateway.mjs';
import { signIn } from './lib/http.mjs';
import { SoftKey } from './lib/key.mjs';

const KILLS = Number(process.env.PORTCULLIS_CEREMONY_KILLS ?? 40);
const SEED = Number(process.env.PORTCULLIS_SEED ?? Date.now() % 1e9);
/** A sign-in is fresh enough for changes for five minutes. */
const FRESH_MS = 200_000;

let gate;
let person;
/** The person's browser, and since when it is signed in. */
let browser;
let since = 0;
/** The key that signs in between the ceremonies. */
let main;
let codes = [];
const spare = [];

before(async () => {
  gate = await Gateway.open({ extra: '[login]\nmax_failures = 1000\nfloor = "1ms"\nargon2_memory_kib = 8192\nargon2_passes = 1' });
  person = await gate.person('person');
  browser = gate.newClient('browser');
  await signIn(browser, gate.portal, person);
  main = new SoftKey(gate.portal);
  assert((await add(browser, main, 'main')).url.endsWith('done=added'));
  codes = await make(browser);
});
after(async () => {
  await gate?.close();
});

const api = (client, path, body) => client.api(`${gate.portal}/.portcullis/api/v1/${path}`, body);
const post = (client, path, fields) => client.visit(`${gate.portal}${path}`, {
  method: 'POST', body: new URLSearchParams(fields).toString(), from: 'same-origin', headers: { 'content-type': 'application/x-www-form-urlencoded', origin: gate.portal },
});
const alive = async (client) => (await api(client, 'session')).status === 200;
const half = (client, password = person.password) => api(client, 'login', { username: person.name, password });

/** What the next step wants of keys. */
async function asked(client) {
  const first = await half(client);
  assert.equal(first.status, 200, first.text);
  const { ticket } = first.json();
  const start = await api(client, 'login/webauthn/start', { ticket });
  return { ticket, options: start.status === 200 ? start.json().publicKey : { allowCredentials: [] } };
}

async function byKey(client, key) {
  const { ticket, options } = await asked(client);
  if (!options.allowCredentials.some((it) => it.id === key.name)) return { status: 404, text: 'this key is not asked for' };
  const sent = { ticket, credential: key.sign(options) };
  return Object.assign(await api(client, 'login/webauthn/finish', sent), { sent });
}

/** Somebody who comes once, with nothing, and leaves. */
async function once(work) {
  const client = gate.newClient('once');
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

async function add(client, key, name) {
  const start = await client.api(`${gate.portal}/account/factors/start`, { kind: 'key' });
  assert.equal(start.status, 200, start.text);
  key.sent = { kind: 'key', name, credential: JSON.stringify(key.register(start.json().publicKey)) };
  return post(client, '/account/factors/add', key.sent);
}

async function remove(client, name) {
  const page = await client.visit(`${gate.portal}/account/factors`);
  const handle = page.text.match(new RegExp(`name="factor" value="([^"]+)"><button[^>]*aria-label="Remove ${name}"`))?.[1];
  assert(handle, page.text.slice(0, 300));
  const gone = await post(client, '/account/factors/remove', { factor: handle });
  assert(gone.url.endsWith('done=removed'), `${gone.status} ${gone.url}`);
}

async function make(client) {
  const page = await post(client, '/account/recovery', {});
  const found = [...page.text.matchAll(/<li><code>([^<]+)<\/code>/g)].map(([, code]) => code);
  assert.equal(found.length, 10, `${page.status} ${page.url} ${page.text.slice(0, 1500)}`);
  return found;
}

const byCode = async (client, code) => {
  const first = await half(client);
  assert.equal(first.status, 200, first.text);
  return api(client, 'login/recovery', { ticket: first.json().ticket, code });
};

/** Each: what is done, and what is held against it after the restart. `it.done`: it was acknowledged. */
const ceremonies = {
  'a key is added': {
    async act(it, client) {
      it.key = new SoftKey(gate.portal);
      it.name = `key ${it.round}`;
      const page = await add(client, it.key, it.name);
      assert(page.url.endsWith('done=added'), `${page.status} ${page.url}`);
      it.done = true;
    },
    async judge(it) {
      const listed = (await browser.visit(`${gate.portal}/account/factors`)).text.includes(`>${it.name}<`);
      const works = (await once((client) => byKey(client, it.key))).status === 200;
      assert.equal(works, listed, 'half-enrolled');
      if (it.done) assert(works, 'acknowledged, and not there');
      if (works) {
        const again = await post(browser, '/account/factors/add', it.key.sent);
        assert(!again.url.endsWith('done=added'), 'the same answer added a key once more');
      }
      // A person may have only so many.
      if (works && spare.push(it) > 5) await remove(browser, spare.shift().name);
      return works;
    },
  },
  'a key signs in': {
    async act(it, client) {
      it.client = client.stranger();
      const answer = await byKey(it.client, main);
      assert.equal(answer.status, 200, answer.text);
      it.sent = answer.sent;
      it.done = true;
    },
    async judge(it) {
      if (it.done) {
        assert(await alive(it.client), 'signed in, acknowledged, and forgotten');
        const replay = await once((client) => api(client, 'login/webauthn/finish', it.sent));
        assert.notEqual(replay.status, 200, 'the same answer signed in once more');
      }
      assert.equal((await once((client) => byKey(client, main))).status, 200, 'the key signs in no more');
      return Boolean(it.done);
    },
  },
  'a key is removed': {
    async act(it, client) {
      it.victim = spare.pop();
      if (!it.victim) {
        const key = new SoftKey(gate.portal);
        it.victim = { key, name: `victim ${it.round}` };
        await add(client, key, it.victim.name);
      }
      await remove(client, it.victim.name);
      it.done = true;
    },
    async judge(it) {
      if (!it.victim) return false;
      const listed = (await browser.visit(`${gate.portal}/account/factors`)).text.includes(`>${it.victim.name}<`);
      const works = (await once((client) => byKey(client, it.victim.key))).status === 200;
      assert.equal(works, listed, 'half-removed');
      if (it.done) assert(!works, 'removed, acknowledged, and there again');
      if (works) spare.push(it.victim);
      return !works;
    },
  },
  'recovery codes are made': {
    async act(it, client) {
      it.codes = await make(client);
      it.done = true;
    },
    async judge(it) {
      const old = codes.pop();
      const still = (await once((client) => byCode(client, old))).status === 200;
      if (it.done) {
        assert(!still, 'new codes were acknowledged, and an old one works');
        codes = it.codes;
        assert.equal((await once((client) => byCode(client, codes.pop()))).status, 200, 'a new code does not work');
      } else if (!still || codes.length === 0) {
        // Made, and never seen (or all used up here): whole all the same.
        const page = await browser.visit(`${gate.portal}/account/recovery`);
        if (!still) assert.match(page.text, /<strong>10<\/strong> recovery codes left/);
        codes = await make(browser);
      }
      return !still;
    },
  },
  'a recovery code is used': {
    async act(it, client) {
      it.code = codes.pop();
      it.client = client.stranger();
      const answer = await byCode(it.client, it.code);
      assert.equal(answer.status, 200, answer.text);
      it.done = true;
    },
    async judge(it) {
      if (it.done) assert(await alive(it.client), 'signed in, acknowledged, and forgotten');
      const works = it.code && (await once((client) => byCode(client, it.code))).status === 200;
      if (it.done) assert(!works, 'a used code works again');
      assert(!it.code || (await once((client) => byCode(client, it.code))).status !== 200, 'a code worked twice');
      if (codes.length === 0) codes = await make(browser);
      return !works;
    },
  },
  'the password is changed': {
    async act(it, client) {
      it.before = person.password;
      it.after = `${PASSWORD} ${it.round} ${Math.random().toString(36).slice(2)}`;
      it.other = client.stranger();
      assert.equal((await byKey(it.other, main)).status, 200);
      const page = await post(client, '/account/password', { old: it.before, password: it.after, again: it.after });
      assert(page.status === 200 && !/aria-invalid/.test(page.text), `${page.status} ${page.url} ${page.text.slice(0, 1500)}`);
      it.done = true;
    },
    async judge(it) {
      const [old, fresh] = await once(async (client) => [(await half(client, it.before)).status === 200, (await half(client, it.after)).status === 200]);
      assert.equal(old, !fresh, `the old password works: ${old}, the new one: ${fresh}`);
      if (it.done) assert(fresh, 'changed, acknowledged, and the old one is back');
      if (fresh) {
        person.password = it.after;
        assert(!(await alive(it.other)), 'the other session outlived the password');
      }
      return fresh;
    },
  },
};

for (const [what, { act, judge }] of Object.entries(ceremonies)) {
  test(`${KILLS} times kill -9 while ${what} (seed ${SEED})`, { timeout: 900_000 }, async (t) => {
    const random = chance(SEED ^ what.length);
    const tally = {};
    let usual;
    for (let round = 0; round < KILLS; round += 1) {
      if (Date.now() - since > FRESH_MS || !(await alive(browser))) {
        const answer = await byKey(browser, main);
        assert.equal(answer.status, 200, answer.text);
        since = Date.now();
      }
      const it = { round };
      const from = Date.now();
      const work = act(it, browser).then(() => Date.now() - from, (error) => error);
      // The first shows how long it takes undisturbed; the kill comes after it.
      await (usual ? sleep(random() * usual * 1.3) : work);
      gate.process.kill('SIGKILL');
      const how = await work;
      if (how instanceof Error) {
        assert(cut(how), how.stack);
        // Only who was quick is seen to the end: without this the kills would come earlier and earlier.
        usual *= 1.05;
      } else usual = usual ? usual * 0.7 + how * 0.3 : how;
      await gate.process.over;
      browser.agent.destroy();
      browser.agent = gate.newClient().agent;
      if (it.client) it.client.agent = browser.agent;
      if (it.other) it.other.agent = browser.agent;
      await gate.start();
      if (!(await alive(browser))) {
        // (A new password ends every other session; this one it keeps, if the answer arrived.)
        person.password = it.after && (await once((client) => half(client, it.after))).status === 200 ? it.after : person.password;
        assert.equal((await byKey(browser, main)).status, 200);
        since = Date.now();
      }
      const happened = await judge(it);
      const verdict = it.done ? 'acknowledged' : happened ? 'done, answer lost' : 'absent';
      tally[verdict] = (tally[verdict] ?? 0) + 1;
    }
    t.diagnostic(JSON.stringify(tally));
  });
}
