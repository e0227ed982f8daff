// HTTPS/1.1: a signed-in person's connections that are kept, and 1 KiB for each request.
import { compared, costing, interleave, ratioOf, seconds } from '../lib/rounds.mjs';
import { http1 } from '../lib/load.mjs';
import { table } from '../lib/table.mjs';

export const title = 'HTTPS/1.1 keep-alive, 1 KiB, 64 connections: CPU per request';

export async function measure(bench) {
  const peers = await bench.peers();
  const results = await interleave(peers, async (peer) => {
    await bench.refresh();
    return costing(peer, () => http1(peer, seconds));
  });
  const ratio = ratioOf(peers, results, 'cost');
  return {
    rows: [{ work: title, most: 1.0, value: ratio, unit: 'x' }],
    detail: table(['peer', 'CPU us', 'ratio', 'rounds', 'requests/s', 'p50 us', 'p99 us'], compared(peers, results, 'cost', ['rate', 'p50', 'p99'])),
  };
}
