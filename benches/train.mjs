// What a profile is recorded of (benches/pgo.sh): the work that the bench measures, done once by a build that counts.
// All load goes to 127.0.0.1 and is bounded; every process that is started here is ended here.
import { Bench } from './lib/bench.mjs';
import { http1, http2, ours } from './lib/load.mjs';
import { stopAll } from './lib/process.mjs';

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, async () => { await stopAll(); process.exit(1); });

const bench = new Bench();
let code = 1;
try {
  await bench.open();
  const [gate] = await bench.peers('portcullis');
  await http1(gate, 3);
  await http2(gate, 3);
  for (const inFlight of [1, 16]) await ours('rounds', gate, { host: bench.socketHost, 'in-flight': inFlight, seconds: 3 });
  for (const resume of [false, true]) await ours('connects', gate, { resume, seconds: 2 });
  code = 0;
} catch (error) {
  console.error(error);
} finally {
  await stopAll();
}
process.exit(code);
