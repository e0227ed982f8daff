// Nothing passes after the end: numbered streams both ways, busy and silent sockets, pollers and a body without end;
// the session ends in one of the ways it can, and somebody else's sockets never notice.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Crowd } from './lib/crowd.mjs';
import { Gateway, until } from './lib/gateway.mjs';
import { signIn } from './lib/http.mjs';
import { Polling, Raw, handshake } from './lib/sio.mjs';
import { countingTenant } from './lib/tenants.mjs';

/** Ends `crowd` by `end` (resolves with the moment after which nothing may pass), and holds everything to it. */
async function nothingPasses(what) {
  try {
    await holds(what);
  } finally {
    await what.crowd.disperse();
  }
}

async function holds({ crowd, bystanders, end, within = 1000 }) {
  await Promise.all([crowd.flowing(), bystanders.flowing()]);
  const noticed = [];
  bystanders.members.forEach((member) => member.over.then(() => noticed.push(member.stream)));
  const moment = await end();
  const late = Symbol('late');
  const ends = await Promise.all(crowd.members.map((member) => Promise.race([member.over, sleep(within + 4000, late, { ref: false })])));
  // Senders go on a while after the end; so does the tenant.
  await sleep(500);
  clearInterval(crowd.timer);
  const wrong = [];
  crowd.members.forEach((member, i) => {
    const over = ends[i];
    if (over === late) wrong.push(`${member.stream} was never closed`);
    else if (over.at - moment > within) wrong.push(`${member.stream} was closed ${over.at - moment} ms after the end`);
    else if (['sio', 'ws'].includes(member.kind) && over.code !== 1008) wrong.push(`${member.stream} was closed with ${over.code}`);
  });
  assert.deepEqual(wrong.slice(0, 8), [], `${wrong.length} of ${crowd.members.length}`);
  assert.deepEqual(crowd.leaks(moment).slice(0, 8), []);
  assert.deepEqual(noticed, [], 'somebody else lost a socket');
  assert.deepEqual(bystanders.gaps(), []);
  const before = bystanders.members.map((member) => bystanders.heard.get(member.stream)?.length ?? 0);
  await until('the others go on', () => bystanders.members.every((member, i) => !member.every || bystanders.heard.get(member.stream).length > before[i]));
  for (const member of crowd.members.filter((one) => one.kind === 'sio')) {
    const control = member.raw.packets.filter((packet) => packet.startsWith('42') && packet.includes('uibuilderCtrl'));
    assert(control.some((packet) => /"(session invalid|logoff)"/.test(packet)), `${member.stream} was not told: ${member.raw.packets.slice(-3)}`);
    assert.equal(member.raw.packets.at(-1), '41', `the last packet of ${member.stream}`);
    assert.equal(crowd.tenant.ended.get(member.stream)?.why, 'client namespace disconnect', `${member.stream}: the tenant could recover it`);
  }
}

/** What a person who has lost the session gets. */
async function isOut(gate, client) {
  const xhr = await client.api(gate.url('count', '/anything'));
  assert.equal(xhr.status, 401);
  assert(xhr.json().login_url, xhr.text);
  const poll = await Polling.open(gate, client, 'count');
  assert.equal(poll.first.status, 401);
  const socket = await handshake(gate, client, 'count', '/ws?stream=late');
  assert.equal(socket.status, 401);
  assert(JSON.parse(socket.body).error, socket.body);
}

describe('nothing passes after the end', { concurrency: 1 }, () => {
  let tenant;
  let gate;
  let bystanders;
  let bob;

  before(async () => {
    tenant = await countingTenant({ recovery: true });
    gate = await Gateway.open({ tenants: { count: tenant.url } });
    bob = await gate.signedIn(await gate.person('bob'));
    await bob.visit(gate.url('count'));
    bystanders = await Crowd.gather(gate, tenant, bob, 'bob', { busy: 3, silent: 3, pollers: 1, body: true });
  });
  after(async () => {
    await bystanders?.disperse();
    await gate?.close();
    await tenant?.close();
  });

  /** A new person, signed in and on the tenant's host, with a crowd of sockets. */
  async function someone(name) {
    const person = await gate.person(name, { groups: 'crew' });
    const client = await gate.signedIn(person);
    const page = await client.visit(gate.url('count'));
    assert.equal(page.status, 200, page.text);
    return { person, client, crowd: await Crowd.gather(gate, tenant, client, name) };
  }

  test('log-out in another tab', { timeout: 120_000 }, async () => {
    const { client, crowd } = await someone('ann');
    await nothingPasses({
      crowd, bystanders,
      end: async () => {
        const answer = await client.api(`${gate.portal}/.portcullis/api/v1/logout`, {});
        const moment = Date.now();
        assert.equal(answer.status, 200, answer.text);
        return moment;
      },
    });
    await isOut(gate, client);
  });

  test('session revoke', { timeout: 120_000 }, async () => {
    const { client, crowd } = await someone('ben');
    await nothingPasses({
      crowd, bystanders,
      end: async () => {
        await gate.done(['session', 'revoke', '--user', 'ben']);
        return Date.now();
      },
    });
    await isOut(gate, client);
  });

  test('user disable', { timeout: 120_000 }, async () => {
    const { client, crowd } = await someone('cat');
    await nothingPasses({
      crowd, bystanders,
      end: async () => {
        await gate.done(['user', 'disable', 'cat']);
        return Date.now();
      },
    });
    await isOut(gate, client);
  });

  test('a change of the file that no longer lets them in', { timeout: 120_000 }, async () => {
    const { client, crowd } = await someone('dan');
    await nothingPasses({
      crowd, bystanders,
      end: async () => {
        gate.write({ extra: `[[rule]]\nhosts = ["${gate.host('count')}"]\nusers = ["bob"]\npolicy = "two-factor"\n\n[[rule]]\nhosts = ["${gate.host('count')}"]\nusers = ["nobody-at-all"]\npolicy = "two-factor"\n` });
        gate.process.kill('SIGHUP');
        // The file is read when it is read; from the first closed socket on it holds.
        const first = await Promise.race([...crowd.members.map((member) => member.over), sleep(10_000, undefined, { ref: false })]);
        assert(first, 'the change was not taken up in 10 s');
        return first.at + 250;
      },
    });
    const page = await client.visit(gate.url('count'));
    assert.equal(page.status, 403, page.url);
    gate.write({ extra: '' });
    gate.process.kill('SIGHUP');
    await until('dan is let in again', async () => (await client.visit(gate.url('count'))).status === 200);
  });
});

describe('nothing passes after the hard limit of a login', { concurrency: 1 }, () => {
  let tenant;
  let gate;
  before(async () => {
    tenant = await countingTenant({ recovery: true });
    gate = await Gateway.open({ tenants: { count: tenant.url }, session: { absolute: '50s', idle: '40s' } });
  });
  after(async () => {
    await gate?.close();
    await tenant?.close();
  });

  test('the login expires', { timeout: 120_000 }, async () => {
    const eve = await gate.person('eve');
    const bob = await gate.person('bob');
    const client = gate.newClient("eve's browser");
    const login = await signIn(client, gate.portal, eve);
    const end = typeof login.login_expires_at === 'number' ? login.login_expires_at * 1000 : Date.parse(login.login_expires_at);
    assert(end - Date.now() < 51_000 && end > Date.now(), `${login.login_expires_at}`);
    await client.visit(gate.url('count'));
    const crowd = await Crowd.gather(gate, tenant, client, 'eve');
    await sleep(Math.max(0, end - Date.now() - 16_000));
    const other = await gate.signedIn(bob);
    await other.visit(gate.url('count'));
    const bystanders = await Crowd.gather(gate, tenant, other, 'bob', { busy: 2, silent: 2, pollers: 1 });
    try {
      await nothingPasses({
        crowd, bystanders,
        end: async () => {
          await sleep(end - Date.now());
          // Two clocks of one machine, and a timer of this program.
          return end + 20;
        },
      });
      await isOut(gate, client);
    } finally {
      await bystanders.disperse();
    }
  });
});

describe('a session that nobody uses', { concurrency: 1 }, () => {
  let tenant;
  before(async () => {
    // Pings often: they must count for nothing.
    tenant = await countingTenant({ pingInterval: 500, pingTimeout: 2000 });
  });
  after(async () => {
    await tenant?.close();
  });

  /** A person with one socket that only listens, to numbers every 50 ms. */
  async function listener(gate) {
    const client = await gate.signedIn(await gate.person('ida'));
    await client.visit(gate.url('count'));
    const heard = [];
    const raw = await Raw.open(gate, client, 'count', { auth: { stream: `ida-${gate.port}`, every: 50 } });
    raw.events = (name, message) => name === 'down' && heard.push(message);
    return { client, raw, heard, since: Date.now() };
  }

  test('idle ends it although its socket is open, where only sending counts', { timeout: 60_000 }, async () => {
    const gate = await Gateway.open({ tenants: { count: tenant.url }, session: { idle: '4s' }, extra: '[sockets]\nidle = "session"\ngrace = "1s"\n' });
    try {
      const { client, raw, heard, since } = await listener(gate);
      const over = await Promise.race([raw.closed, sleep(15_000, undefined, { ref: false })]);
      assert(over, 'it was never closed');
      assert.equal(over.code, 1008);
      const last = heard.at(-1).at;
      assert(last - since > 2500 && last - since < 5500, `the last number came ${last - since} ms after the last use`);
      // The grace in which a new token could come, and the second in which every socket is closed.
      assert(over.at - last < 2000, `closed ${over.at - last} ms after the last number`);
      assert.equal((await client.api(gate.url('count', '/x'))).status, 401);
    } finally {
      await gate.close();
    }
  });

  test('an open page counts as use by default', { timeout: 60_000 }, async () => {
    const gate = await Gateway.open({ tenants: { count: tenant.url }, session: { idle: '3s' } });
    try {
      const { client, raw, heard } = await listener(gate);
      await sleep(8000);
      assert.equal(raw.socket.readyState, 1);
      assert(heard.at(-1).at > Date.now() - 500);
      assert.equal((await client.api(gate.url('count', '/x'))).status, 200);
      raw.close();
    } finally {
      await gate.close();
    }
  });
});
