// Two builds of the gateway beside each other: `node benches/builds.mjs OLD NEW`, for what a change of the build is worth.
// The same store, session and ports; round by round nginx without auth, the one and the other, each after a second of
// warming up. BENCH_ROUNDS and BENCH_SECONDS as for the bench. All load goes to 127.0.0.1.
import { rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { http1, http2, ours } from './lib/load.mjs';
import { folder, program } from './lib/process.mjs';
import { costing, rounds, seconds } from './lib/rounds.mjs';
import { median, ratio, show, spread, table } from './lib/table.mjs';

const builds = process.argv.slice(2).map((it) => path.resolve(it));
if (builds.length !== 2) {
  console.error('usage: node benches/builds.mjs OLD NEW');
  process.exit(2);
}
const link = path.join(folder, 'build');
process.env.PORTCULLIS_BIN = link;
const point = (build) => {
  rmSync(link, { force: true });
  symlinkSync(build, link);
};
point(builds[0]);
const { Bench } = await import('./lib/bench.mjs');
const works = {
  'HTTPS/1.1': (peer, bench, s) => http1(peer, s),
  'HTTP/2': (peer, bench, s) => http2(peer, s),
  'sockets, 16 in flight': (peer, bench, s) => ours('rounds', peer, { host: bench.socketHost, 'in-flight': 16, seconds: s }),
};

await program(async () => {
  const bench = new Bench();
  await bench.open();
  const [nginx, gate] = await bench.peers('nginx', 'portcullis');
  const all = [null, ...builds];
  const costs = Object.fromEntries(Object.keys(works).map((it) => [it, all.map(() => [])]));
  for (let round = 0; round < rounds; round++) {
    for (const [n, build] of all.entries()) {
      const peer = build ? gate : nginx;
      if (build) {
        await bench.stop(gate);
        point(build);
        await bench.start(gate);
        await bench.refresh();
      }
      for (const [name, work] of Object.entries(works)) {
        await work(peer, bench, 1);
        costs[name][n].push((await costing(peer, () => work(peer, bench, seconds))).cost);
      }
    }
  }
  const held = (a, b) => `${show(ratio(a, b))} (${spread(a, b).map(show).join('-')})`;
  console.log(table(['CPU', 'nginx us', 'OLD, to nginx', 'NEW, to nginx', 'NEW, to OLD'], Object.entries(costs).map(([name, [none, old, now]]) =>
    [name, show(median(none)), held(old, none), held(now, none), held(now, old)])));
});
