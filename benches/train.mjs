// What a profile is recorded of (benches/pgo.sh): the work that the bench measures, done once by a build that counts.
// All load goes to 127.0.0.1 and is bounded; every process that is started here is ended here.
import { Bench } from './lib/bench.mjs';
import { http1, http2, ours } from './lib/load.mjs';
import { program } from './lib/process.mjs';

await program(async () => {
  const bench = new Bench();
  await bench.open();
  const [gate] = await bench.peers('portcullis');
  await http1(gate, 3);
  await http2(gate, 3);
  for (const inFlight of [1, 16]) await ours('rounds', gate, { host: bench.socketHost, 'in-flight': inFlight, seconds: 3 });
  for (const resume of [false, true]) await ours('connects', gate, { resume, seconds: 2 });
});
