// Flame graphs of the gateway under the bench's load: `node benches/flame.mjs NAME`, drawn into docs/flame/NAME-*.svg. For a
// binary that keeps frame pointers (PORTCULLIS_BIN; benches/flame.sh builds one); needs perf. All load goes to 127.0.0.1.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Bench } from './lib/bench.mjs';
import { draw, fold } from './lib/flame.mjs';
import { http1, http2, ours } from './lib/load.mjs';
import { folder, program, run } from './lib/process.mjs';
import { setTimeout as sleep } from 'node:timers/promises';

const name = process.argv[2];
const seconds = 5;
const works = [
  ['https1', 'HTTPS/1.1, 64 connections, 1 KiB', (gate) => http1(gate, seconds + 2)],
  ['http2', 'HTTP/2, 64 connections x 4 streams, 1 KiB', (gate) => http2(gate, seconds + 2)],
  ['sockets', 'Socket.IO, 32 sockets, 16 messages in flight', (gate, bench) => ours('rounds', gate, { host: bench.socketHost, 'in-flight': 16, seconds: seconds + 2 })],
];

await program(async () => {
  const bench = new Bench();
  await bench.open();
  const [gate] = await bench.peers('portcullis');
  mkdirSync('docs/flame', { recursive: true });
  for (const [work, title, load] of works) {
    await bench.refresh();
    const loading = load(gate, bench);
    await sleep(1000);
    const data = path.join(folder, `${work}.data`);
    await run('perf', ['record', '-q', '-e', 'cpu-clock', '-F', '997', '-g', '-p', String(gate.pid), '-o', data, '--', 'sleep', String(seconds)]);
    await loading;
    const stacks = fold(await run('perf', ['script', '-i', data, '--no-inline', '-F', 'comm,ip,sym']));
    const file = `docs/flame/${name}-${work}.svg`;
    writeFileSync(file, draw(stacks, `${title}: where the CPU time went (${name})`));
    console.log(file);
  }
});
