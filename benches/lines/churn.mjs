// A change of routes every 10 ms for 30 s, beside traffic that must not notice: containers come and go, as the watcher is
// told by an engine that is played (lib/engine.mjs), while 2,000 requests a second (every other a POST) and 200 sockets
// with a message a second each go to another container that stays.
import { setTimeout as sleep } from 'node:timers/promises';
import { idle, ours } from '../lib/load.mjs';
import { Engine } from '../lib/engine.mjs';
import { Person } from '../lib/login.mjs';
import { stop } from '../lib/process.mjs';
import { show, table } from '../lib/table.mjs';
import { gateway } from '../peers/portcullis.mjs';

export const title = 'a route change every 10 ms for 30 s at half load';
const length = Number(process.env.BENCH_CHURN_SECONDS ?? 30);
const host = 'steady.example.test';
const sockets = 200;

export async function measure(bench) {
  const engine = await new Engine('churn').open();
  engine.run('steady', [`VIRTUAL_HOST=${host}`, `VIRTUAL_PORT=${bench.work.sockets}`], { tell: false });
  const gate = await gateway(bench, 'churn', `[[tenant]]\nhosts = ["${host}"]\nlogin_api = true\n`, { docker: engine.hosts });
  const person = await Person.add(gate, 'churn');
  const child = await gate.open();
  try {
    await engine.followed();
    await sleep(500);
    await person.signIn(gate.port, host);
    const peer = person.at(gate, host, bench.certificate);
    const held = await idle(peer, { sockets, beat: 1000 });
    const load = ours('rate', peer, { rate: 2000, seconds: length, posts: true });
    const changes = await engine.churn(bench.work.files, performance.now() + length * 1000);
    const result = await load;
    const swaps = await metric(gate, 'portcullis_routes');
    const said = await held.close();
    const wrong = result.failed + said.closed;
    return {
      rows: [{ work: `${title}: failed or dropped`, most: 0, value: wrong, unit: '', note: `${result.done} requests, ${sockets} sockets, ${changes} changes` }],
      detail: table(['requests', 'failed', 'p99 us', 'sockets', 'dropped', 'changes told', 'containers inspected', 'routes at the end'],
        [[result.done, result.failed, show(result.p99), sockets, said.closed, changes, engine.inspections, swaps]]),
    };
  } finally {
    await stop(child);
    engine.close();
  }
}

async function metric(gate, name) {
  const text = await (await fetch(`http://127.0.0.1:${gate.admin}/metrics`)).text();
  return new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? 'n/a';
}
