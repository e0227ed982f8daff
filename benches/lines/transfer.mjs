// 1 GiB down and 1 GiB up through the proxy, one after the other, by curl.
import { compared, costing, interleave, ratioOf } from '../lib/rounds.mjs';
import { truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { folder, run } from '../lib/process.mjs';
import { table } from '../lib/table.mjs';

export const title = '1 GiB: CPU per GiB';

export async function measure(bench) {
  const peers = await bench.peers('nginx', 'haproxy', 'portcullis');
  const file = path.join(folder, 'upload');
  writeFileSync(file, '');
  truncateSync(file, 2 ** 30);
  const curl = async (peer, host, where, more) => {
    const out = await run('curl', ['-sS', '-f', '--http1.1', '--cacert', bench.certificate.crt, '--resolve', `${host}:${peer.port}:127.0.0.1`,
      '-o', '/dev/null', '-w', '%{size_download} %{size_upload} %{time_total}', ...peer.headers(host).flatMap((it) => ['-H', it]), ...more(peer),
      `https://${host}:${peer.port}${where}`]);
    const [down, up, took] = out.trim().split(' ').map(Number);
    if (Math.max(down, up) !== 2 ** 30) throw new Error(`${peer.title}: ${out}`);
    return { done: 1, rate: 1024 / took };
  };
  const ways = [['download', bench.host, '/gib', () => []],
    // A browser says where its page is from.
    ['upload', bench.socketHost, '/sink', (peer) => ['-T', file, '-H', 'Expect:', '-H', `Origin: https://${bench.socketHost}:${peer.port}`]]];
  const rows = [];
  const details = [];
  for (const [way, host, where, more] of ways) {
    const results = await interleave(peers, async (peer) => {
      await bench.refresh();
      const result = await costing(peer, () => curl(peer, host, where, more));
      return { ...result, cost: result.cost / 1000 };
    });
    rows.push({ work: `${title}, ${way}`, most: 1.1, value: ratioOf(peers, results, 'cost'), unit: 'x' });
    details.push(`${way}:\n\n${table(['peer', 'CPU ms', 'ratio', 'rounds', 'MiB/s'], compared(peers, results, 'cost', ['rate']))}`);
  }
  return { rows, detail: details.join('\n\n') };
}
