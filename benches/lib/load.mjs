// The load generators: wrk and h2load for closed loops of plain requests, our own for everything else.
import { spawn } from 'node:child_process';
import { run, start } from './process.mjs';

export const binary = process.env.BENCH_LOAD ?? 'target/release/examples/load';

const headers = (peer, flag, host = peer.host) => peer.headers(host).flatMap((it) => [flag, it]);

export async function http1(peer, seconds) {
  const out = await run('wrk', ['-t1', '-c64', `-d${seconds}s`, '--latency', '-H', `Host: ${peer.host}:${peer.port}`, ...headers(peer, '-H'),
    `https://127.0.0.1:${peer.port}/kib`]);
  const bad = /Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)/.exec(out);
  if (bad) throw new Error(`${peer.title}: ${bad[0]}`);
  const micros = (name) => {
    const [, number, unit] = new RegExp(`${name}%\\s+([\\d.]+)(us|ms|s)`).exec(out);
    return Number(number) * { us: 1, ms: 1e3, s: 1e6 }[unit];
  };
  const done = Number(/(\d+) requests in/.exec(out)[1]);
  return { done, rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)[1]), p50: micros('50'), p99: micros('99') };
}

export async function http2(peer, seconds) {
  const out = await run('h2load', ['-t1', '-c64', '-m4', `-D${seconds}`, ...headers(peer, '-H'), '-H', `:authority: ${peer.host}:${peer.port}`,
    `https://127.0.0.1:${peer.port}/kib`]);
  const counts = /requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded/.exec(out);
  if (counts[1] !== counts[2] || Number(counts[2]) === 0) throw new Error(`${peer.title}: ${counts[0]}`);
  return { done: Number(counts[2]), rate: Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(out)[1]) };
}

/** Arguments of our own generator that say where to and as whom. */
function where(peer, host = peer.host) {
  return ['--port', peer.port, '--host', host, '--certificate', peer.certificate, ...headers(peer, '--header', host)].map(String);
}

/** Runs a command of our own generator to its end; gives what it counted. */
export async function ours(command, peer, options = {}) {
  const out = await run(binary, [command, ...where(peer, options.host), ...flags(options)]);
  return JSON.parse(out.trim().split('\n').at(-1));
}

function flags({ host, ...options }) {
  return Object.entries(options).flatMap(([name, value]) => (value === false ? [] : value === true ? [`--${name}`] : [`--${name}`, String(value)]));
}

/** Opens sockets that stay open; resolves when all are, with `close()` that gives what became of them. */
export async function idle(peer, options) {
  const child = start(binary, ['idle', ...where(peer, options.host), ...flags(options)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = [];
  let rest = '';
  let heard = () => {};
  child.stdout.on('data', (data) => {
    rest += data;
    const parts = rest.split('\n');
    rest = parts.pop();
    lines.push(...parts.map((it) => JSON.parse(it)));
    heard();
  });
  const line = (at) => new Promise((resolve, reject) => {
    heard = () => { if (lines[at]) resolve(lines[at]); };
    child.ended.then(() => (lines[at] ? resolve(lines[at]) : reject(new Error(`${peer.title}: sockets: ${child.errors}`))));
    heard();
  });
  const opened = await line(0);
  const late = setTimeout(() => child.kill('SIGTERM'), 180_000);
  return {
    ...opened,
    ended: async () => { const said = await line(1); clearTimeout(late); await child.ended; return said; },
    close: async () => { clearTimeout(late); child.kill('SIGTERM'); const said = await line(1); await child.ended; return said; },
  };
}
