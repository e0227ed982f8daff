// What an operator does beside a running gateway: exit codes, listings for programs, a revocation that is not confirmed, a
// reload that keeps what is open and, where the new file is wrong, the old one in force.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Gateway, until } from './lib/gateway.mjs';
import { handshake } from './lib/sio.mjs';
import { countingTenant } from './lib/tenants.mjs';

let tenant;
let gate;
let alice;
let client;

before(async () => {
  tenant = await countingTenant({});
  gate = await Gateway.open({ tenants: { count: tenant.url } });
  alice = await gate.person('alice');
  client = await gate.signedIn(alice);
  await client.visit(gate.url('count'));
});
after(async () => {
  gate?.process.kill('SIGCONT');
  await gate?.close();
  await tenant?.close();
});

const code = async (...args) => (await gate.cli(args)).code;

/** A plain WebSocket to the tenant that says a number every 50 ms. */
async function ticking(stream) {
  const { socket, status, body } = await handshake(gate, client, 'count', `/ws?stream=${stream}&every=50`);
  assert(socket, `${status} ${body}`);
  let last = 0;
  socket.on('message', (data) => (last = JSON.parse(data).n));
  return { socket, goesOn: async () => { const from = last; await until('it goes on', () => last > from + 2); } };
}

describe('exit codes', { concurrency: 1 }, () => {
  test('0 is done, 2 is bad usage or a bad file, 3 is no such thing', async () => {
    assert.equal(await code('check'), 0);
    assert.equal(await code('healthcheck'), 0);
    for (const args of [['user', 'show', 'nobody'], ['user', 'disable', 'nobody'], ['session', 'revoke', '000000000000'], ['session', 'revoke', '--user', 'nobody'], ['claim', 'release', 'x.example.test']]) {
      assert.equal(await code(...args), 3, args.join(' '));
    }
    for (const args of [['nonsense'], ['session', 'revoke', 'no-id'], ['session', 'revoke'], ['user', 'add', 'a,b'], ['explain', 'ftp://x/'], ['explain', gate.url('count'), '--level', '9']]) {
      assert.equal(await code(...args), 2, args.join(' '));
    }
  });

  test('every listing is JSON with --json', async () => {
    for (const args of [['user', 'list'], ['session', 'list'], ['session', 'list', '--user', 'alice'], ['claim', 'list']]) {
      const found = JSON.parse(await gate.done([...args, '--json']));
      assert(Array.isArray(found) && found.length > 0, `${args.join(' ')}: ${JSON.stringify(found)}`);
    }
    assert.equal(JSON.parse(await gate.done(['user', 'show', 'alice', '--json'])).name, 'alice');
    assert(JSON.parse(await gate.done(['routes', '--json'])).routes.length > 0);
    assert.equal(JSON.parse(await gate.done(['explain', gate.url('count'), '--json'])).answer, 'sign_in');
    JSON.parse(await gate.done(['check', '--schema']));
  });

  test('1 is stored and not confirmed: a gateway that does not answer', { timeout: 60_000 }, async () => {
    const other = await gate.person('bert');
    const his = await gate.signedIn(other);
    gate.process.kill('SIGSTOP');
    const revoked = await gate.cli(['session', 'revoke', '--user', 'bert']).finally(() => gate.process.kill('SIGCONT'));
    assert.equal(revoked.code, 1, revoked.stdout + revoked.stderr);
    assert.match(revoked.stderr, new RegExp(`not confirmed.*${gate.process.pid}`));
    // It was stored all the same, and holds as soon as the gateway is back.
    await until('the revocation holds', async () => (await his.api(`${gate.portal}/.portcullis/api/v1/session`)).status === 401);
    assert.equal(await code('session', 'revoke', '--user', 'bert'), 0);
  });
});

describe('a file that changes', { concurrency: 1 }, () => {
  test('every fault is told at once with its place, and the old file stays in force', { timeout: 60_000 }, async () => {
    const good = fs.readFileSync(gate.file, 'utf8');
    const open = await ticking('faulty');
    fs.writeFileSync(gate.file, good.replace('workers = 2', 'worker = 2').replace('[session]', '[session]\nidle = "5 parsecs"\ntokens = "1m"'));
    const said = await gate.cli(['check']);
    assert.equal(said.code, 2);
    for (const key of [/:\d+:\d+: unknown key "worker".*"workers"/, /:\d+:\d+: session\.idle: /, /:\d+:\d+: unknown key "tokens".*"token"/]) assert.match(said.stderr + said.stdout, key);
    const from = gate.process.output.length;
    gate.process.kill('SIGHUP');
    await until('the gateway has refused it', () => /parsecs/.test(gate.process.output.slice(from)));
    assert.match(await gate.metrics(), /portcullis_reloads_total\{[^}]*"refused"[^}]*\} [1-9]/);
    await open.goesOn();
    assert.equal((await client.api(gate.url('count', '/x'))).status, 200);
    assert.equal(await gate.health(), 200);
    fs.writeFileSync(gate.file, good);
    open.socket.terminate();
  });

  test('what it does not concern stays open, and what it adds is there', { timeout: 60_000 }, async () => {
    const open = await ticking('kept');
    gate.write({ tenants: { count: tenant.url, more: tenant.url } });
    gate.process.kill('SIGHUP');
    await until('the new host is routed', async () => {
      const page = await client.visit(gate.url('more'));
      return page.status === 200 && new URL(page.url).hostname === gate.host('more');
    });
    await open.goesOn();
    assert.equal(open.socket.readyState, 1);
    open.socket.terminate();
  });
});
