// What an open socket holds while nothing happens on it: 4,000 of them through a fresh process, less what it held before.
import { setTimeout as sleep } from 'node:timers/promises';
import { interleave, rounds } from '../lib/rounds.mjs';
import { idle, ours } from '../lib/load.mjs';
import { resident } from '../lib/process.mjs';
import { median, show, table } from '../lib/table.mjs';

export const title = 'memory per idle guarded WebSocket (4,000)';
const sockets = 4000;

export async function measure(bench) {
  const peers = await bench.peers('nginx', 'haproxy', 'portcullis');
  const results = await interleave(peers, async (peer) => {
    await bench.refresh();
    await bench.stop(peer);
    await bench.start(peer);
    // What a process needs once, it has then.
    await ours('rounds', peer, { host: bench.socketHost, seconds: 0.5 });
    await sleep(300);
    const before = resident(peer.pid);
    const held = await idle(peer, { host: bench.socketHost, sockets });
    // Buffers that are given back when a socket rests have been given back.
    await sleep(1500);
    const after = resident(peer.pid);
    await held.close();
    return { each: (after - before) / sockets, after: after / 1024 };
  }, rounds);
  const of = (name, key) => results.get(name).map((it) => it[key]);
  const [theirs, our] = [median(of('haproxy', 'each')), median(of('portcullis', 'each'))];
  return {
    rows: [{ work: title, most: theirs, value: our, unit: ' KiB', note: `HAProxy: ${show(theirs)} KiB` }],
    detail: table(['peer', 'KiB each', 'MiB in all'], peers.map((peer) => [peer.title, show(median(of(peer.name, 'each'))), show(median(of(peer.name, 'after')))])),
  };
}
