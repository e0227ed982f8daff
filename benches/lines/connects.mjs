// A new TLS 1.3 connection for each request, and one that is resumed with a ticket.
import { compared, costing, interleave, ratioOf, seconds } from '../lib/rounds.mjs';
import { ours } from '../lib/load.mjs';
import { median, table } from '../lib/table.mjs';

export const title = 'new TLS 1.3 connection + one request';

export async function measure(bench) {
  const peers = await bench.peers('nginx', 'haproxy', 'portcullis');
  const rows = [];
  const details = [];
  const kinds = [
    ['full, X25519', {}, 1.0],
    ['resumed, X25519', { resume: true }, 1.0],
    // Not asked for by the target: Portcullis takes X25519MLKEM768 from whoever offers it, as browsers do; the others here cannot.
    ['full, X25519MLKEM768 offered', { hybrid: true }, null],
  ];
  for (const [kind, options, most] of kinds) {
    const results = await interleave(peers, async (peer) => {
      await bench.refresh();
      return costing(peer, () => ours('connects', peer, { ...options, seconds: Math.min(seconds, 3) }));
    });
    for (const one of results.values()) for (const it of one) it.share = (it.resumed / it.done) * 100;
    const share = median(results.get('portcullis').map((it) => it.share));
    rows.push({ work: `${title}, ${kind}`, most, value: ratioOf(peers, results, 'cost'), unit: 'x', note: options.resume ? `${share.toFixed(0)} % resumed` : '' });
    details.push(`${kind}:\n\n${table(['peer', 'CPU us', 'ratio', 'rounds', 'p50 us', 'p99 us', '% resumed'], compared(peers, results, 'cost', ['p50', 'p99', 'share']))}`);
  }
  return { rows, detail: details.join('\n\n') };
}
