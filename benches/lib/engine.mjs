// A Docker engine as the gateway sees it: an API on a unix socket that lists, describes and tells events. It holds what
// a real one would have to start and stop, and says it as fast as the bench wants it said.
import { createServer } from 'node:http';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { folder } from './process.mjs';
import { often } from './rounds.mjs';

const idOf = (name) => createHash('sha256').update(name).digest('hex');

export class Engine {
  #running = new Map();
  #listeners = new Set();
  #names = new Map();
  inspections = 0;
  events = 0;

  constructor(name) {
    this.socket = path.join(folder, `${name}.sock`);
    this.server = createServer((request, response) => this.#answer(request, response));
  }

  async open() {
    await new Promise((resolve) => { this.server.listen(this.socket, resolve); });
    return this;
  }

  close() {
    for (const it of this.#listeners) it.destroy();
    this.server.closeAllConnections();
    this.server.close();
  }

  get hosts() {
    return `["unix://${this.socket}"]`;
  }

  /** Waits, five seconds at most, until somebody follows the events. */
  async followed() {
    for (let n = 0; this.followers === 0 && n < 100; n++) await sleep(50);
  }

  /** How many follow the events. */
  get followers() {
    return this.#listeners.size;
  }

  /** Starts a container on the host's network, with these settings; `tell` says so to whoever follows. */
  run(name, env, { tell = true } = {}) {
    const id = idOf(name);
    const at = new Date().toISOString();
    this.#names.set(id, name);
    this.#running.set(id, JSON.stringify({
      Id: id, Name: `/${name}`, Created: at, Image: 'sha256:1',
      State: { Status: 'running', Running: true, Paused: false, StartedAt: at },
      HostConfig: { NetworkMode: 'host' },
      Config: { Env: env, Labels: {}, ExposedPorts: {} },
      NetworkSettings: { Ports: {}, Networks: { host: { NetworkID: 'h', IPAddress: '' } } },
    }));
    if (tell) this.#tell('start', id);
  }

  /** Starts and kills in turn, fifty containers in a ring, one every 10 ms until then; how many changes that was. */
  churn(port, until) {
    return often(10, until, (n) => {
      const name = `c${(n >> 1) % 50}`;
      if (n % 2 === 0) this.run(name, [`VIRTUAL_HOST=${name}.example.test`, `VIRTUAL_PORT=${port}`]);
      else this.kill(name);
    });
  }

  kill(name) {
    const id = idOf(name);
    this.#running.delete(id);
    this.#tell('die', id);
  }

  #tell(action, id) {
    this.events += 1;
    const now = Date.now();
    const event = JSON.stringify({ Type: 'container', Action: action, Actor: { ID: id, Attributes: {} }, scope: 'local', time: Math.floor(now / 1000), timeNano: now * 1_000_000 });
    for (const it of this.#listeners) it.write(`${event}\n`);
  }

  #answer(request, response) {
    const [, ...parts] = request.url.split('?')[0].replace(/^\/v[\d.]+/, '').split('/');
    const say = (body, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
      response.end(body);
    };
    if (parts[0] === 'version') return say('{"ApiVersion":"1.41"}');
    if (parts[0] === 'images') return say('{"Id":"sha256:1","Config":{}}');
    if (parts[0] === 'events') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      this.#listeners.add(response);
      response.on('close', () => this.#listeners.delete(response));
      return undefined;
    }
    if (parts[0] === 'containers' && parts[1] === 'json') {
      const all = [...this.#running.keys()].map((id) => ({ Id: id, Names: [`/${this.#names.get(id)}`], Image: 'bench', ImageID: 'sha256:1', State: 'running', Status: 'Up' }));
      return say(JSON.stringify(all));
    }
    if (parts[0] === 'containers' && parts[2] === 'json') {
      this.inspections += 1;
      const found = this.#running.get(parts[1]);
      return found ? say(found) : say('{"message":"No such container"}', 404);
    }
    return say('{"message":"not here"}', 404);
  }
}
