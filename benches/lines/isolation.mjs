// One tenant's traffic beside what must not move it: scrapes, reloads, containers that come and go, another tenant's flood.
// Its p99 is held against the same traffic alone, right before; for the flood, nginx without auth is asked the same.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { often, rounds, seconds } from '../lib/rounds.mjs';
import { ours } from '../lib/load.mjs';
import { Engine } from '../lib/engine.mjs';
import { Person } from '../lib/login.mjs';
import { stop } from '../lib/process.mjs';
import { median, ratio, show, table } from '../lib/table.mjs';
import { gateway, tenant } from '../peers/portcullis.mjs';

export const title = 'what must not move a tenant: p99 of its traffic beside it';
const traffic = { rate: 2000, seconds };
/** Requests a second for the other tenant: with the traffic beside, some half of what the machine can do. */
const flood = { rate: 8000, seconds };
const [steady, flooded] = ['steady.example.test', 'flooded.example.test'];

export async function measure(bench) {
  const engine = await new Engine('isolation').open();
  const gate = await gateway(bench, 'isolation', tenant(steady, bench.work.sockets) + tenant(flooded, bench.work.files), { docker: engine.hosts });
  const person = await Person.add(gate, 'isolated');
  const child = await gate.open();
  try {
    await engine.followed();
    for (const host of [steady, flooded]) await person.signIn(gate.port, host);
    const to = (host) => person.at(gate, host, bench.certificate);
    const [nginx] = await bench.peers('nginx');
    const cases = [
      ['scrapes, 20/s', to(steady), (until) => often(50, until, () => fetch(`http://127.0.0.1:${gate.admin}/metrics`).then((it) => it.text()))],
      ['reloads, 10/s', to(steady), (until) => reloads(gate, child, until)],
      ['containers, 100/s', to(steady), (until) => engine.churn(bench.work.files, until)],
      [`a flood, ${flood.rate}/s`, to(steady), () => ours('rate', to(flooded), flood)],
      [`nginx without auth: a flood, ${flood.rate}/s`, { ...nginx, host: bench.socketHost }, () => ours('rate', nginx, flood)],
    ];
    const found = cases.map(() => ({ quiet: [], busy: [], done: [] }));
    for (let round = 0; round < rounds; round++) {
      for (const [n, [, peer, disturb]] of cases.entries()) {
        await person.refresh(gate.port);
        await bench.refresh();
        found[n].quiet.push(await ours('rate', peer, traffic));
        const [result, done] = await Promise.all([ours('rate', peer, traffic), disturb(performance.now() + seconds * 1000)]);
        found[n].busy.push(result);
        found[n].done.push(done?.done ?? done);
      }
    }
    const of = (list, key) => list.map((it) => it[key]);
    const failed = found.flatMap((it) => [...it.quiet, ...it.busy]).reduce((sum, it) => sum + it.failed, 0);
    return {
      rows: cases.map(([what], n) => ({ work: `p99 of 2,000 requests/s beside ${what}`, value: ratio(of(found[n].busy, 'p99'), of(found[n].quiet, 'p99')), unit: 'x',
        note: n === 0 ? `${failed} of all requests failed` : '' })),
      detail: table(['beside', 'times', 'p50 us alone', 'p50 us', 'p99 us alone', 'p99 us', 'p99.9 us alone', 'p99.9 us'],
        cases.map(([what], n) => [what, show(median(found[n].done)), ...['p50', 'p99', 'p999'].flatMap((key) =>
          [show(median(of(found[n].quiet, key))), show(median(of(found[n].busy, key)))])])),
    };
  } finally {
    await stop(child);
    engine.close();
  }
}

/** A file that changes, and a signal to read it. */
async function reloads(gate, child, until) {
  const text = readFileSync(gate.config, 'utf8');
  try {
    return await often(100, until, (n) => {
      writeFileSync(gate.config, text);
      if (n % 2 === 0) appendFileSync(gate.config, '[[tenant]]\nhosts = ["more.example.test"]\nupstreams = ["http://127.0.0.1:9"]\n');
      child.kill('SIGHUP');
    });
  } finally {
    writeFileSync(gate.config, text);
    child.kill('SIGHUP');
  }
}
