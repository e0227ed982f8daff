// What it takes before anybody has come: memory at rest, and the time from its start until it answers the first request.
import { setTimeout as sleep } from 'node:timers/promises';
import { rounds } from '../lib/rounds.mjs';
import { resident, start, stop } from '../lib/process.mjs';
import { Probe } from '../lib/probe.mjs';
import { median, show, table } from '../lib/table.mjs';
import { gateway } from '../peers/portcullis.mjs';

export const title = 'resident memory at rest; cold start to first answer';

export async function measure(bench) {
  const host = 'rest.example.test';
  const gate = await gateway(bench, 'rest', `[[tenant]]\nhosts = ["${host}"]\nupstreams = ["http://127.0.0.1:${bench.work.files}"]\n`);
  const [first, memory, once] = [[], [], []];
  for (let round = 0; round <= rounds; round++) {
    const began = performance.now();
    const child = start(...gate.command('run'));
    const probe = await opened(gate.port, host, child);
    const status = await probe.ask();
    const took = performance.now() - began;
    // Whoever has not signed in is sent to do so, or told.
    if (![302, 401].includes(status)) throw new Error(`the first answer was ${status}`);
    probe.close();
    await sleep(1500);
    const held = resident(child.pid) / 1024;
    await stop(child);
    // The first start makes the store and its keys: it is shown, and not among the rounds.
    if (round === 0) once.push(took);
    else {
      first.push(took);
      memory.push(held);
    }
  }
  return {
    rows: [{ work: 'resident memory at rest', most: 20, below: true, value: median(memory), unit: ' MiB' },
      { work: 'cold start to first answer', most: 100, below: true, value: median(first), unit: ' ms', note: `the very first, which makes the store: ${show(once[0])} ms` }],
    detail: table(['', 'median', 'least', 'most'], [['first answer, ms', first], ['resident, MiB', memory]].map(([what, list]) => [what, show(median(list)), show(Math.min(...list)), show(Math.max(...list))])),
  };
}

async function opened(port, host, child) {
  for (let n = 0; n < 2000 && child.exitCode === null; n++) {
    try {
      return await Probe.open(port, host);
    } catch {
      await sleep(1);
    }
  }
  throw new Error(`no answer: ${child.errors}`);
}
