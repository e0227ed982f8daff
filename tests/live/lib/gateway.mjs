// A gateway of a test's own: its folder, its ports, its accounts; started and ended by its process id.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as after } from 'node:timers/promises';
import { certificates } from './ca.mjs';
import { Client, signIn } from './http.mjs';
import { Authenticator } from './totp.mjs';

export const BINARY = process.env.PORTCULLIS_BIN ?? path.resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '../../../target/debug/portcullis');
export const PASSWORD = 'seven quiet herons at dawn';

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Asks until `ask` gives something truthy. */
export async function until(what, ask, limit = 20_000, every = 20) {
  const end = Date.now() + limit;
  let last;
  while (Date.now() < end) {
    try {
      const found = await ask();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    await after(every);
  }
  throw new Error(`${what}: not within ${limit} ms${last ? ` (${last.message})` : ''}`);
}

/** Every child of this process that may still run, so that none outlives it. */
const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  running.add(child);
  child.output = '';
  child.stdout.on('data', (part) => (child.output += part));
  child.stderr.on('data', (part) => (child.output += part));
  child.over = new Promise((resolve) => {
    child.once('error', (error) => {
      child.output += `\n${error}`;
      running.delete(child);
      resolve(-1);
    });
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve(code ?? signal);
    });
  });
  return child;
}

/** Runs a program to its end: `{ code, stdout, stderr }`. */
export function run(command, args, { input, limit = 60_000, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    running.add(child);
    let stdout = '';
    let stderr = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), limit);
    child.stdout.on('data', (part) => (stdout += part));
    child.stderr.on('data', (part) => (stderr += part));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ code: code ?? signal, stdout, stderr });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

const toml = (value) => JSON.stringify(value);

export class Gateway {
  /**
   * `tenants`: { 'r1': 'http://127.0.0.1:1880' }, below the root; `extra`: more of the file; `session`, `docker`: those sections' lines;
   * `also`: addresses beside loopback that it listens on, at the same port.
   */
  static async make({ root = 'example.test', tenants = {}, docker = [], session = {}, also = [], extra = '' } = {}) {
    const gate = new Gateway();
    gate.root = root;
    gate.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portcullis-live-'));
    Object.assign(gate, certificates(gate.folder, root));
    gate.port = await freePort();
    gate.plain = await freePort();
    gate.admin = await freePort();
    gate.file = path.join(gate.folder, 'portcullis.toml');
    gate.parts = { tenants, docker, session, also, extra };
    gate.write();
    return gate;
  }

  static async open(options) {
    const gate = await Gateway.make(options);
    await gate.start();
    return gate;
  }

  /** Writes the file, with `changes` to what it was made of; a running gateway reloads by itself. */
  write(changes = {}) {
    Object.assign(this.parts, changes);
    const { tenants, docker, session, also, extra } = this.parts;
    const lines = [
      `root_domain = ${toml(this.root)}`,
      '[listen]', `https = ${toml(['127.0.0.1', ...also].map((address) => `${address}:${this.port}`))}`, `http = ["127.0.0.1:${this.plain}"]`, `admin = "127.0.0.1:${this.admin}"`, 'workers = 2',
      '[certificates]', `dir = ${toml(this.certs)}`,
      '[docker]', `hosts = ${toml(docker)}`,
      '[store]', `url = ${toml(`sqlite:${path.join(this.folder, 'portcullis.db')}`)}`,
      '[session]', ...Object.entries(session).map(([key, value]) => `${key} = ${toml(value)}`),
    ];
    for (const [name, upstream] of Object.entries(tenants)) {
      const { url, more = '' } = typeof upstream === 'string' ? { url: upstream } : upstream;
      lines.push('[[tenant]]', `hosts = [${toml(`${name}.${this.root}`)}]`, ...(url ? [`upstreams = [${toml(url)}]`] : []), more);
    }
    lines.push(extra, '');
    fs.writeFileSync(`${this.file}.new`, lines.join('\n'));
    fs.renameSync(`${this.file}.new`, this.file);
  }

  async start() {
    this.process = start(BINARY, ['run', '--config', this.file], { cwd: this.folder });
    await until('the gateway is ready', async () => {
      if (this.process.exitCode !== null || this.process.signalCode !== null) throw new Error(`it ended: ${this.process.output}`);
      return (await this.health()) === 200;
    }, 30_000).catch((error) => {
      throw new Error(`${error.message}\n${this.process.output}`);
    });
  }

  health() {
    return new Promise((resolve) => {
      http.get({ host: '127.0.0.1', port: this.admin, path: '/health/ready', timeout: 2000 }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      }).on('error', () => resolve(0));
    });
  }

  metrics() {
    return new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: this.admin, path: '/metrics' }, (answer) => {
        let text = '';
        answer.on('data', (part) => (text += part)).on('end', () => resolve(text));
      }).on('error', reject);
    });
  }

  /** Ends it as an operator does, and says how it went. */
  async stop(signal = 'SIGTERM') {
    if (!this.process) return undefined;
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 30_000);
    this.process.kill(signal);
    const code = await this.process.over;
    clearTimeout(timer);
    return code;
  }

  async close() {
    await this.stop();
    this.client?.close();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  /** Runs a subcommand beside the running gateway. */
  cli(args, options) {
    return run(BINARY, [...args, '--config', this.file], { cwd: this.folder, ...options });
  }

  async done(args, options) {
    const result = await this.cli(args, options);
    assert.equal(result.code, 0, `portcullis ${args.join(' ')}: ${result.code}\n${result.stdout}${result.stderr}`);
    return result.stdout;
  }

  url(host, rest = '/') {
    return `https://${host}.${this.root}:${this.port}${rest}`;
  }

  get portal() {
    return `https://auth.${this.root}:${this.port}`;
  }

  host(name) {
    return `${name}.${this.root}`;
  }

  newClient(agent) {
    return new Client({ ca: this.ca, agent });
  }

  /** An account with a password and an authenticator, made by the command line. */
  async person(name, { groups } = {}) {
    await this.done(['user', 'add', name, '--password-stdin', ...(groups ? ['--groups', groups] : [])], { input: `${PASSWORD}\n` });
    const said = await this.done(['user', 'enrol-totp', name]);
    const uri = said.match(/otpauth:\/\/\S+/)?.[0];
    assert(uri, `no otpauth address in: ${said}`);
    return { name, password: PASSWORD, phone: new Authenticator(uri) };
  }

  /** A browser of that person, signed in on the portal. */
  async signedIn(person) {
    const client = this.newClient(`${person.name}'s browser`);
    await signIn(client, this.portal, person);
    return client;
  }
}
