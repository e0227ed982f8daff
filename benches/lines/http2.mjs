// HTTP/2: 64 connections with 4 streams each, 1 KiB for each request.
import { compared, costing, interleave, ratioOf, seconds } from '../lib/rounds.mjs';
import { http2 } from '../lib/load.mjs';
import { table } from '../lib/table.mjs';

export const title = 'HTTP/2, 64 connections x 4 streams: CPU per request';

export async function measure(bench) {
  const peers = await bench.peers();
  const results = await interleave(peers, async (peer) => {
    await bench.refresh();
    return costing(peer, () => http2(peer, seconds));
  });
  return {
    rows: [{ work: title, most: 1.2, value: ratioOf(peers, results, 'cost'), unit: 'x' }],
    detail: table(['peer', 'CPU us', 'ratio', 'rounds', 'requests/s'], compared(peers, results, 'cost', ['rate'])),
  };
}
