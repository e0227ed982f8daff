// Logins beside proxied traffic: 50 a second are offered for 10 seconds, with the right password, so that each costs a
// hash; what the hashers cannot take is answered 503 with Retry-After. The traffic's p99 is held against the same
// traffic without logins, in the same round.
import https from 'node:https';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { rounds } from '../lib/rounds.mjs';
import { ours } from '../lib/load.mjs';
import { Person, post } from '../lib/login.mjs';
import { median, ratio, show, table } from '../lib/table.mjs';

export const title = '50 logins/s beside proxied traffic: p99 of the traffic';
const length = 10;
const perSecond = 50;
const traffic = { rate: 2000, seconds: length };

export async function measure(bench) {
  const [gate] = await bench.peers('portcullis');
  // Each password is asked for once a second at most: guesses that come faster are somebody else's matter.
  const people = [];
  for (let n = 0; n < perSecond; n++) people.push(await Person.add(gate, `login${n}`, { enrol: false }));
  const [quiet, busy, counts] = [[], [], []];
  for (let round = 0; round < rounds; round++) {
    await bench.refresh();
    quiet.push(await ours('rate', gate, traffic));
    await bench.refresh();
    const asked = ours('rate', gate, traffic);
    // Who signs in sits at another machine: this script must not keep the traffic waiting for it.
    os.setPriority(os.constants.priority.PRIORITY_LOW);
    const [result, count] = await Promise.all([asked, offer(bench, gate, people)]);
    os.setPriority(os.constants.priority.PRIORITY_NORMAL);
    busy.push(result);
    counts.push(count);
  }
  const of = (list, key) => list.map((it) => it[key]);
  const failed = [...quiet, ...busy].reduce((sum, it) => sum + it.failed, 0);
  const served = median(of(counts, 'served'));
  const bad = counts.reduce((sum, it) => sum + it.other, 0);
  return {
    rows: [{ work: title, most: 1.2, value: ratio(of(busy, 'p99'), of(quiet, 'p99')), unit: 'x',
      note: `${show(served)} of ${perSecond * length} logins served, ${show(median(of(counts, 'refused')))} answered 503 with Retry-After, ${bad} otherwise${bad ? ` (${[...new Set(counts.flatMap((it) => [...it.kinds]))].join(', ')})` : ''}; ${failed} requests failed` }],
    detail: table([`${traffic.rate} requests/s`, 'p50 us', 'p99 us', 'p99.9 us'], [['alone', quiet], ['beside logins', busy]].map(([what, list]) =>
      [what, show(median(of(list, 'p50'))), show(median(of(list, 'p99'))), show(median(of(list, 'p999')))])),
  };
}

async function offer(bench, gate, people) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 128 });
  const count = { served: 0, refused: 0, other: 0, kinds: new Set() };
  const waiting = [];
  const began = performance.now();
  for (let n = 0; n < perSecond * length; n++) {
    await sleep(Math.max(0, began + (n * 1000) / perSecond - performance.now()));
    const { name: username, password } = people[n % people.length];
    waiting.push(post(gate.port, bench.host, 'login', { username, password }, { agent }).then((answer) => {
      if (answer.status === 200) count.served += 1;
      else if (answer.status === 503 && answer.headers['retry-after']) count.refused += 1;
      else {
        count.other += 1;
        count.kinds.add(answer.status);
      }
    }, (error) => {
      count.other += 1;
      count.kinds.add(error.code ?? error.message);
    }));
  }
  await Promise.all(waiting);
  agent.destroy();
  return count;
}
