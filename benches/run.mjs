// `make bench`: every line of the table, or those that are named, and the table with the machine and the versions. All
// load goes to 127.0.0.1 and is bounded; every process that is started here is ended here. docs/performance.md says what it means.
import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Bench, versions } from './lib/bench.mjs';
import { program } from './lib/process.mjs';
import { program as gateway } from './peers/portcullis.mjs';
import { rounds, seconds } from './lib/rounds.mjs';
import { show, table, verdict } from './lib/table.mjs';

const lines = ['https1', 'http2', 'latency', 'sockets-busy', 'sockets-idle', 'connects', 'transfer', 'routes', 'event', 'revoke', 'logins', 'churn', 'isolation', 'rest'];

const asked = process.argv.slice(2);
const unknown = asked.filter((it) => !lines.includes(it));
if (unknown.length) {
  console.error(`no such line: ${unknown.join(', ')}; there are ${lines.join(' ')}`);
  process.exit(2);
}

function machine() {
  const memory = Math.round(os.totalmem() / 2 ** 30);
  return `${os.cpus()[0].model.trim()}, ${os.cpus().length} cores, ${memory} GiB, Linux ${os.release()}; load before: ${os.loadavg().map((it) => it.toFixed(2)).join(' ')}`;
}

async function main() {
  const began = Date.now();
  const head = [`${new Date().toISOString().slice(0, 16)}Z; ${machine()}.`, `${await versions()} (${gateway}).`,
    `${rounds} interleaved rounds of ${seconds} s; medians; ratios are medians of the rounds' own ratios to nginx without authentication.`];
  const bench = new Bench();
  await bench.open();
  const rows = [];
  const details = [];
  let failed = 0;
  for (const name of asked.length ? asked : lines) {
    const from = Date.now();
    const line = await import(`./lines/${name}.mjs`);
    process.stderr.write(`bench: ${name} ...`);
    try {
      const found = await line.measure(bench);
      rows.push(...found.rows);
      details.push(`### ${line.title} (\`${name}\`)\n\n${found.detail}`);
      process.stderr.write(` ${((Date.now() - from) / 1000).toFixed(0)} s\n`);
    } catch (error) {
      failed += 1;
      rows.push({ work: line.title, most: null, value: NaN, unit: '', note: 'failed, see below' });
      details.push(`### ${line.title} (\`${name}\`)\n\nFailed: ${error.message.slice(0, 2000)}`);
      process.stderr.write(` failed: ${error.stack}\n`);
    }
  }
  const summary = table(['work', 'at most', 'measured', ''], rows.map((it) => [it.work, bound(it), `${show(it.value)}${it.unit}`, remark(it)]));
  const text = [...head, '', summary, '', ...details.flatMap((it) => [it, '']), `Took ${((Date.now() - began) / 60_000).toFixed(1)} minutes.`, ''].join('\n');
  console.log(text);
  const kept = path.resolve('.work/bench');
  mkdirSync(kept, { recursive: true });
  const file = path.join(kept, `${new Date().toISOString().slice(0, 19).replace(/:/g, '')}${asked.length ? `-${asked.join('-')}` : ''}.md`);
  writeFileSync(file, text);
  console.log(`kept in ${path.relative('.', file)}`);
  return failed;
}

const bound = (it) => (it.most === null || it.most === undefined ? '' : `${it.below ? '< ' : ''}${show(it.most)}${it.unit}`);
const remark = (it) => [it.most === null || it.most === undefined ? '' : verdict(it.value, it.most), it.note ?? ''].filter(Boolean).join('; ');

await program(async () => ((await main()) === 0 ? 0 : 1));
