// Socket.IO round trips through the relay: 32 sockets, one message on its way in each, then sixteen.
import { compared, costing, interleave, ratioOf, seconds } from '../lib/rounds.mjs';
import { ours } from '../lib/load.mjs';
import { table } from '../lib/table.mjs';

export const title = 'Socket.IO round trip, 32 sockets: CPU per round trip';

export async function measure(bench) {
  const peers = await bench.peers('nginx', 'haproxy', 'envoy', 'caddy', 'portcullis');
  const rows = [];
  const details = [];
  for (const [inFlight, most] of [[1, 1.0], [16, 1.1]]) {
    const results = await interleave(peers, async (peer) => {
      await bench.refresh();
      return costing(peer, () => ours('rounds', peer, { host: bench.socketHost, 'in-flight': inFlight, seconds: Math.min(seconds, 3) }));
    });
    for (const one of results.values()) for (const it of one) it.rate = it.done / Math.min(seconds, 3);
    rows.push({ work: `${title}, ${inFlight} in flight`, most, value: ratioOf(peers, results, 'cost'), unit: 'x' });
    details.push(`${inFlight} in flight (only Portcullis looks at the messages; nobody else's sockets are authenticated):\n\n${
      table(['peer', 'CPU us', 'ratio', 'rounds', 'round trips/s', 'p50 us', 'p99 us'], compared(peers, results, 'cost', ['rate', 'p50', 'p99']))}`);
  }
  return { rows, detail: details.join('\n\n') };
}
