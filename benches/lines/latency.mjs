// p99 at the same offered load: 70 % of the best that nginx without auth can do here, sent by a timetable that does not
// wait for answers.
import { compared, costing, interleave, ratioOf, rounds, seconds } from '../lib/rounds.mjs';
import { http1, http2, ours } from '../lib/load.mjs';
import { median, show, table } from '../lib/table.mjs';

export const title = 'p99 at the same offered load (70 % of nginx\'s best)';

export async function measure(bench) {
  const peers = await bench.peers('nginx', 'haproxy', 'portcullis');
  const rows = [];
  const details = [];
  for (const [name, best, options] of [['HTTPS/1.1', http1, { protocol: 'http1' }], ['HTTP/2', http2, { protocol: 'http2', streams: 4 }]]) {
    // Our own generator costs more for each request than wrk does, on the same cores: what it can do is the best.
    const found = [];
    for (let n = 0; n < 3; n++) {
      const closed = await best(peers[0], 2);
      const open = await ours('rate', peers[0], { ...options, seconds: 2, rate: closed.rate * 2 });
      found.push(Math.min(closed.rate, open.per_second));
    }
    const rate = Math.round(median(found) * 0.7);
    const results = await interleave(peers, async (peer) => {
      await bench.refresh();
      return costing(peer, () => ours('rate', peer, { ...options, seconds, rate }));
    }, Math.max(rounds, 1));
    const failed = peers.flatMap((peer) => results.get(peer.name).map((it) => it.failed)).reduce((sum, it) => sum + it, 0);
    rows.push({ work: `${title}, ${name}`, most: 1.1, value: ratioOf(peers, results, 'p99'), unit: 'x', note: `${rate}/s offered; ${failed} failed` });
    details.push(`${name}, ${show(rate)} requests/s offered:\n\n${table(['peer', 'p99 us', 'ratio', 'rounds', 'p50 us', 'p99.9 us', 'served/s', 'CPU us'],
      compared(peers, results, 'p99', ['p50', 'p999', 'per_second', 'cost']))}`);
  }
  return { rows, detail: details.join('\n\n') };
}
