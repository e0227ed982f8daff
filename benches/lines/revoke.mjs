// The end of a session that holds 1,000 open sockets: from the return of `portcullis session revoke` until the last of
// them has been closed, as their client sees it. (Closed before the call returned: less than nothing.)
import { interleave, rounds } from '../lib/rounds.mjs';
import { idle } from '../lib/load.mjs';
import { Person } from '../lib/login.mjs';
import { run } from '../lib/process.mjs';
import { median, show, table } from '../lib/table.mjs';

export const title = 'revoking a session with 1,000 open sockets';
const sockets = 1000;

export async function measure(bench) {
  const [gate] = await bench.peers('portcullis');
  const results = await interleave([gate], async (peer, round) => {
    const person = await Person.add(gate, `leaving${round}`);
    await person.signIn(gate.port, bench.socketHost);
    const held = await idle({ ...peer, headers: () => [`Cookie: ${person.cookies.get(bench.socketHost)}`] }, { host: bench.socketHost, sockets });
    const called = performance.timeOrigin + performance.now();
    await run(...gate.command('session', 'revoke', '--user', person.name));
    const returned = performance.timeOrigin + performance.now();
    const said = await held.ended();
    if (said.closed !== sockets) throw new Error(`${said.closed} of ${sockets} were closed`);
    return { call: returned - called, first: said.first_us / 1000 - called, last: said.last_us / 1000 - returned };
  }, rounds);
  const of = (key) => results.get(gate.name).map((it) => it[key]);
  return {
    rows: [{ work: `${title}: last close after the call returned`, most: 100, below: true, value: median(of('last')), unit: ' ms', note: `worst ${show(Math.max(...of('last')))} ms` }],
    detail: table(['', 'median ms', 'most'], [['the call', show(median(of('call'))), show(Math.max(...of('call')))],
      ['first close after it was made', show(median(of('first'))), show(Math.max(...of('first')))],
      ['last close after it returned', show(median(of('last'))), show(Math.max(...of('last')))]]),
  };
}
