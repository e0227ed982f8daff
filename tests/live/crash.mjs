// kill -9 at random moments of enrolment, sign-in and sign-out: what was acknowledged is there after the restart,
// what was not is cleanly absent. PORTCULLIS_KILLS and PORTCULLIS_SEED change how many and which.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { chance, cut } from './lib/chance.mjs';
import { Gateway, PASSWORD } from './lib/gateway.mjs';
import { asks, fill, findForm, forms, signIn, unescape } from './lib/http.mjs';
import { Authenticator } from './lib/totp.mjs';

const KILLS = Number(process.env.PORTCULLIS_KILLS ?? 200);
const SEED = Number(process.env.PORTCULLIS_SEED ?? Date.now() % 1e9);

let gate;
const people = [];
/** How long each kind of work takes, undisturbed; grows and shrinks with what was seen. */
const usual = { enrol: 400, login: 250, logout: 60 };

before(async () => {
  gate = await Gateway.open({});
});
after(async () => {
  await gate?.close();
});

const link = async (name) => {
  const said = await gate.done(['user', 'add', name]);
  const path = (said.match(/\/setup\/[^\s"]+/) ?? (await gate.done(['user', 'invite', name])).match(/\/setup\/[^\s"]+/))?.[0];
  assert(path, said);
  return `${gate.portal}${path}`;
};

/** Sets an account up by its link. Marks in `person` what has been acknowledged. */
async function enrol(person, client) {
  const first = await client.visit(person.link);
  const password = findForm(first, 'setup');
  assert(password, `${first.status} ${first.url} ${first.text.slice(0, 500)}`);
  const second = await client.submit(first, password, fill(password, { user: person.name, password: PASSWORD }));
  const code = findForm(second, 'code');
  assert(code, `${second.status} ${second.url} ${second.text.slice(0, 1500)}`);
  const uri = second.text.match(/otpauth:\/\/[^\s"'<]+/)?.[0];
  const shown = uri ? undefined : second.text.replace(/<[^>]+>/g, ' ').match(/(?:[A-Z2-7]{4}\s*){8,}/)?.[0].replace(/\s/g, '');
  assert(uri || shown, 'no secret on the page');
  person.draft = new Authenticator(uri ? unescape(uri) : `otpauth://totp/${person.name}?secret=${shown}`);
  const done = await client.submit(second, code, fill(code, { code: await person.draft.code() }));
  assert(done.status < 400, `${done.status} ${done.text.slice(0, 500)}`);
  assert(!forms(done.text).some((form) => asks(form) === 'code'), done.text.slice(0, 1500));
  person.phone = person.draft;
  person.enrolled = true;
}

async function login(person, client) {
  person.asked = true;
  await signIn(client, gate.portal, person);
  person.client = client;
}

async function logout(person, client) {
  person.leaving = true;
  const answer = await client.api(`${gate.portal}/.portcullis/api/v1/logout`, {});
  assert.equal(answer.status, 200, answer.text);
  person.left = true;
}

const alive = async (client) => (await client.api(`${gate.portal}/.portcullis/api/v1/session`)).status === 200;

/** Holds what stands after a restart against what was acknowledged before it. */
async function judge(kind, person, client) {
  if (kind === 'enrol') {
    if (person.enrolled) {
      person.right = true;
      const page = await client.stranger().visit(person.link);
      assert(!findForm(page, 'setup'), `${person.name}: acknowledged, but the link still works`);
      return 'acknowledged';
    }
    const fresh = client.stranger();
    const page = await fresh.visit(person.link);
    if (findForm(page, 'setup')) {
      // Cleanly absent: nobody signs in, and the same link sets the account up.
      const early = await fresh.api(`${gate.portal}/.portcullis/api/v1/login`, { username: person.name, password: PASSWORD });
      assert.equal(early.status, 401, `${person.name}: not set up, but the password works: ${early.text}`);
      await enrol(person, fresh);
      return 'absent';
    }
    // The answer was lost, the deed was done: then wholly.
    assert(person.draft, `${person.name}: the link is gone, and no secret was ever shown`);
    person.phone = person.draft;
    person.enrolled = true;
    await signIn(client.stranger(), gate.portal, person);
    return 'done, answer lost';
  }
  if (kind === 'login') {
    if (person.client) {
      assert(await alive(person.client), `${person.name}: signed in, acknowledged, and forgotten`);
      // The used code stays used.
      const replay = gate.newClient('replay');
      const first = await replay.api(`${gate.portal}/.portcullis/api/v1/login`, { username: person.name, password: PASSWORD });
      const second = await replay.api(`${gate.portal}/.portcullis/api/v1/login/totp`, { ticket: first.json().ticket, code: person.phone.again() });
      replay.close();
      assert.notEqual(second.status, 200, `${person.name}: a used code worked again after the restart`);
      return 'acknowledged';
    }
    const again = gate.newClient(person.name);
    await signIn(again, gate.portal, person);
    person.client = again;
    return 'absent';
  }
  const lives = await alive(person.client);
  if (person.left) assert(!lives, `${person.name}: signed out, acknowledged, and alive again`);
  const verdict = lives ? 'absent' : person.left ? 'acknowledged' : 'done, answer lost';
  if (lives) await logout(person, person.client);
  person.left = true;
  return verdict;
}

test(`${KILLS} times kill -9 during enrolment, sign-in and sign-out (seed ${SEED})`, { timeout: 1_500_000 }, async (t) => {
  const random = chance(SEED);
  const tally = {};
  const queue = { login: [], logout: [] };
  for (let round = 0; round < KILLS; round += 1) {
    const kind = queue.logout.length > 3 ? 'logout' : queue.login.length > 3 ? 'login' : 'enrol';
    let person;
    if (kind === 'enrol') {
      person = { name: `person${round}`, password: PASSWORD };
      person.link = await link(person.name);
      people.push(person);
    } else {
      person = queue[kind].shift();
    }
    const client = kind === 'logout' ? person.client : gate.newClient(person.name);
    const work = { enrol, login, logout }[kind](person, client);
    const from = Date.now();
    const finished = work.then(() => Date.now() - from, (error) => error);
    await sleep(random() * usual[kind] * 1.3);
    gate.process.kill('SIGKILL');
    const how = await finished;
    if (how instanceof Error) assert(cut(how), how.stack);
    else usual[kind] = usual[kind] * 0.7 + how * 0.3;
    await gate.process.over;
    client.agent.destroy();
    client.agent = gate.newClient().agent;
    if (person.client) person.client.agent = client.agent;
    await gate.start();
    const verdict = `${kind}: ${await judge(kind, person, client)}`;
    tally[verdict] = (tally[verdict] ?? 0) + 1;
    if (kind === 'enrol') queue.login.push(person);
    if (kind === 'login') queue.logout.push(person);
  }
  t.diagnostic(JSON.stringify(tally));
  // At the end everything that was ever acknowledged is still there.
  for (const person of people.filter((one) => one.client)) {
    const lives = await alive(person.client);
    assert.equal(lives, !person.left, `${person.name}: ${lives ? 'alive' : 'gone'} at the end`);
  }
});
