// Processes of the bench: each that is started here is ended here, whatever happens; and what they cost, from /proc.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a run leaves behind while it runs: configurations, certificates, databases. */
export const folder = mkdtempSync(path.join(os.tmpdir(), 'portcullis-bench-'));
const tick = Number(execFileSync('getconf', ['CLK_TCK']).toString());
const children = new Set();

/** Starts a program that stays; `errors` holds the last of what it says. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options });
  child.errors = '';
  const keep = (data) => { child.errors = (child.errors + data).slice(-4000); };
  child.stderr?.on('data', keep);
  child.on('error', (error) => keep(String(error)));
  children.add(child);
  child.ended = new Promise((resolve) => child.on('close', () => { children.delete(child); resolve(); }));
  return child;
}

/** Ends a program that was started here, and waits until it is gone. */
export async function stop(child) {
  if (!children.has(child)) return;
  child.kill('SIGTERM');
  const gone = await Promise.race([child.ended.then(() => true), sleep(3000, false, { ref: false })]);
  if (!gone) child.kill('SIGKILL');
  await child.ended;
}

/** Ends everything. */
export async function stopAll() {
  await Promise.all([...children].map(stop));
  rmSync(folder, { recursive: true, force: true });
}

/** Is the whole program: runs `main`, ends everything that was started, and exits; with 0 unless `main` fails or gives another code. */
export async function program(main) {
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, async () => { await stopAll(); process.exit(1); });
  let code = 1;
  try {
    code = (await main()) ?? 0;
  } catch (error) {
    console.error(error);
  } finally {
    await stopAll();
  }
  process.exit(code);
}

/** Runs a program to its end and gives what it printed. */
export async function run(command, args, { patience = 120_000, env } = {}) {
  const child = start(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: env ?? process.env });
  let out = '';
  child.stdout.on('data', (data) => { out += data; });
  const late = setTimeout(() => child.kill('SIGKILL'), patience);
  await child.ended;
  clearTimeout(late);
  if (child.exitCode !== 0) throw new Error(`${path.basename(command)} ${args[0] ?? ''}: exit ${child.exitCode ?? child.signalCode}: ${child.errors}${out}`);
  return out;
}

export async function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Waits until `port` takes connections. */
export async function answers(port, child) {
  for (let n = 0; n < 400 && child.exitCode === null; n++) {
    const open = await new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await sleep(25);
  }
  throw new Error(`nothing answers on ${port}: ${child.errors}`);
}

function fields(pid) {
  return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
}

/** `pid` and all that descend from it. */
function tree(pid) {
  const parents = new Map();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), Number(fields(name)[1]));
    } catch { /* it has ended since */ }
  }
  const found = [pid];
  for (let at = 0; at < found.length; at++) {
    for (const [child, parent] of parents) if (parent === found[at]) found.push(child);
  }
  return found;
}

/** CPU seconds that a process and all that descend from it have used. */
export function cpu(pid) {
  return tree(pid).reduce((sum, id) => {
    const it = fields(id);
    return sum + (Number(it[11]) + Number(it[12])) / tick;
  }, 0);
}

/** Resident memory of a process and all that descend from it, in KiB. Pages that they share count once for each. */
export function resident(pid) {
  return tree(pid).reduce((sum, id) => sum + Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0), 0);
}
