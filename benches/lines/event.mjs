// A container starts beside 10,000 others: from the engine's event until the first request is answered by it. The engine
// is played (lib/engine.mjs): no real one can hold so many here. The time is that of the event, the inspection, the new
// table and the request that sees it.
import { setTimeout as sleep } from 'node:timers/promises';
import { stop } from '../lib/process.mjs';
import { Engine } from '../lib/engine.mjs';
import { Probe } from '../lib/probe.mjs';
import { median, show, table } from '../lib/table.mjs';
import { gateway } from '../peers/portcullis.mjs';

export const title = 'one container event applied';
const times = 15;

export async function measure(bench) {
  const found = [];
  for (const many of [10, 10_000]) found.push([many, await beside(bench, many)]);
  const [, big] = found[1];
  return {
    rows: [{ work: `${title} beside 10,000 containers (event to first answer)`, most: 5, below: true, value: median(big.applied), unit: ' ms' }],
    detail: table(['containers', 'median ms', 'least', 'most', 'of it a request ms', 'all followed after s'], found.map(([many, it]) =>
      [many, show(median(it.applied)), show(Math.min(...it.applied)), show(Math.max(...it.applied)), show(median(it.request)), show(it.followed)])),
  };
}

async function beside(bench, many) {
  const engine = await new Engine(`event-${many}`).open();
  const env = (host) => [`VIRTUAL_HOST=${host}`, `VIRTUAL_PORT=${bench.work.files}`];
  for (let n = 0; n < many; n++) engine.run(`c${n}`, env(`c${n}.example.test`), { tell: false });
  // Without a root domain nobody has to sign in: a host that is not known answers otherwise than one that is.
  const gate = await gateway(bench, `event-${many}`, '', { docker: engine.hosts, root: '' });
  const began = performance.now();
  const child = await gate.open();
  try {
    const last = await Probe.open(gate.port, `c${many - 1}.example.test`);
    const followed = (await last.until(200, began, { patience: 240_000, pause: 50 })) / 1000;
    // The second list, a second later, is over then too.
    await sleep(2500);
    const [applied, request] = [[], []];
    for (let n = 0; n < times; n++) {
      const probe = await Probe.open(gate.port, `new${n}.example.test`);
      const before = performance.now();
      await probe.ask();
      request.push(performance.now() - before);
      const from = performance.now();
      engine.run(`new${n}`, env(`new${n}.example.test`));
      applied.push(await probe.until(200, from));
      probe.close();
      // Events that come sooner than this after the last are put together on purpose.
      await sleep(300);
    }
    last.close();
    return { applied, request, followed };
  } finally {
    await stop(child);
    engine.close();
  }
}
