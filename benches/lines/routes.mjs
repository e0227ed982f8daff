// Instructions for each request with 10 tenants and with 10,000, counted by callgrind over the whole gateway: TLS, token,
// policy, the way to the tenant and back.
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Person } from '../lib/login.mjs';
import { answers, folder, run, start, stop } from '../lib/process.mjs';
import { show, table } from '../lib/table.mjs';
import { gateway, tenant } from '../peers/portcullis.mjs';

export const title = '10,000 routes against 10: instructions per request';
const requests = 2000;

export async function measure(bench) {
  const few = await instructions(bench, 10);
  const many = await instructions(bench, 10_000);
  return {
    rows: [{ work: title, most: 1.02, value: many / few, unit: 'x' }],
    detail: table(['tenants', 'instructions per request'], [[10, show(few)], [10_000, show(many)]]),
  };
}

async function instructions(bench, tenants) {
  const name = `routes-${tenants}`;
  const all = Array.from({ length: tenants }, (_, n) => tenant(`r${n}.example.test`, bench.work.files));
  const gate = await gateway(bench, name, all.join(''));
  const host = `r${tenants - 1}.example.test`;
  // Signing in is done outside, where a hash does not take a minute; the session is in the store.
  const person = await Person.add(gate, 'bench');
  const plain = await gate.open();
  await person.signIn(gate.port, host);
  await stop(plain);
  const [program, args] = gate.command('run');
  const out = path.join(folder, `${name}.callgrind`);
  const child = start('valgrind', ['--tool=callgrind', '--instr-atstart=no', `--callgrind-out-file=${out}`, program, ...args]);
  try {
    await under(gate.port, child);
    const load = (count) => run('h2load', ['--h1', '-n', String(count), '-c', '4', '-t1', '-H', `Cookie: ${person.cookies.get(host)}`, '-H', `:authority: ${host}:${gate.port}`,
      `https://127.0.0.1:${gate.port}/kib`]);
    await load(200);
    await run('callgrind_control', ['-i', 'on', String(child.pid)]);
    const said = await load(requests);
    if (!said.includes(`status codes: ${requests} 2xx`)) throw new Error(said);
    await run('callgrind_control', ['-i', 'off', String(child.pid)]);
    await run('callgrind_control', ['-d', String(child.pid)]);
    await sleep(500);
    return total(out) / requests;
  } finally {
    await stop(child);
  }
}

/** A gateway under valgrind starts some fifty times slower. */
async function under(port, child) {
  for (let n = 0; ; n++) {
    try {
      return await answers(port, child);
    } catch (error) {
      if (n >= 12 || child.exitCode !== null) throw error;
    }
  }
}

/** What every dump of this run counted. */
function total(out) {
  const own = path.basename(out);
  const dumps = readdirSync(path.dirname(out)).filter((it) => it.startsWith(own));
  const of = (file) => Number(/^totals: (\d+)/m.exec(readFileSync(path.join(path.dirname(out), file), 'utf8'))?.[1] ?? 0);
  return dumps.reduce((sum, it) => sum + of(it), 0);
}
