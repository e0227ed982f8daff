// A crowd of one person's sockets on the counting tenant: busy and silent, Socket.IO, plain WebSocket, polling, a body
// without end; every number that anybody sends is written down at both ends.
import assert from 'node:assert/strict';
import https from 'node:https';
import { until } from './gateway.mjs';
import { Raw, closed, connect, connected, handshake } from './sio.mjs';

const BUSY = 25; // of each kind: Socket.IO and plain WebSocket
const SILENT = 25; // of each kind
const POLLERS = 4;
const EVERY_MS = 40;

export class Crowd {
  static async gather(gate, tenant, client, who, { busy = BUSY, silent = SILENT, pollers = POLLERS, body = true } = {}) {
    const crowd = new Crowd();
    Object.assign(crowd, { gate, tenant, client, who, members: [], sent: new Map(), heard: new Map() });
    const jobs = [];
    for (let i = 0; i < busy + silent; i += 1) {
      const every = i < busy ? EVERY_MS : 0;
      jobs.push(() => crowd.#socketio(`${who}-sio-${i}`, every), () => crowd.#plain(`${who}-ws-${i}`, every));
    }
    for (let i = 0; i < pollers; i += 1) jobs.push(() => crowd.#poller(`${who}-poll-${i}`));
    if (body) jobs.push(() => crowd.#body(`${who}-body`));
    // A few at a time: this is a crowd, not a flood.
    while (jobs.length) await Promise.all(jobs.splice(0, 10).map((job) => job()));
    crowd.timer = setInterval(() => crowd.members.forEach((member) => member.every && crowd.#say(member)), EVERY_MS);
    return crowd;
  }

  #say(member) {
    const told = this.sent.get(member.stream) ?? [];
    this.sent.set(member.stream, told);
    const message = { stream: member.stream, n: told.length + 1 };
    if (member.send(message)) told.push({ n: message.n, at: Date.now() });
  }

  #hear(stream, { n, at }) {
    if (!this.heard.has(stream)) this.heard.set(stream, []);
    this.heard.get(stream).push({ n, at, heard: Date.now() });
  }

  async #socketio(stream, every) {
    const raw = await Raw.open(this.gate, this.client, 'count', { auth: { stream, every } });
    raw.events = (name, message) => (name === 'down' ? this.#hear(stream, message) : undefined);
    const send = (message) => raw.socket.readyState === 1 && (raw.emit('up', message), true);
    this.members.push({ kind: 'sio', stream, every, raw, send, over: raw.closed, stop: () => raw.close() });
  }

  async #plain(stream, every) {
    const { socket, status, body } = await handshake(this.gate, this.client, 'count', `/ws?stream=${stream}&every=${every}`);
    assert(socket, `refused: ${status} ${body}`);
    socket.early.forEach((data) => this.#hear(stream, JSON.parse(data)));
    socket.removeAllListeners('message');
    socket.on('message', (data) => this.#hear(stream, JSON.parse(data)));
    const send = (message) => socket.readyState === 1 && (socket.send(JSON.stringify(message)), true);
    this.members.push({ kind: 'ws', stream, every, send, over: closed(socket), stop: () => socket.terminate() });
  }

  async #poller(stream) {
    const socket = connect(this.gate, this.client, 'count', { transports: ['polling'], auth: { stream, every: EVERY_MS } });
    const over = new Promise((resolve) => socket.once('disconnect', (reason) => resolve({ reason, at: Date.now() })));
    socket.on('down', (message) => this.#hear(stream, message));
    await connected(socket);
    const send = (message) => socket.connected && (socket.emit('up', message), true);
    this.members.push({ kind: 'poll', stream, every: EVERY_MS, send, over, stop: () => socket.close() });
  }

  async #body(stream) {
    const host = this.gate.host('count');
    const answer = await new Promise((resolve, reject) => {
      https.get({ host, port: this.gate.port, path: `/stream?stream=${stream}`, agent: this.client.agent, headers: { cookie: this.client.cookies(host), 'sec-fetch-site': 'same-origin' } }, resolve)
        .on('error', reject);
    });
    assert.equal(answer.statusCode, 200);
    let rest = '';
    answer.on('data', (part) => {
      const lines = (rest + part).split('\n');
      rest = lines.pop();
      for (const line of lines) this.#hear(stream, { n: Number(line.split(' ')[0]), at: Number(line.split(' ')[1]) });
    });
    const over = new Promise((resolve) => {
      answer.once('close', () => resolve({ at: Date.now() }));
      answer.on('error', () => {});
    });
    this.members.push({ kind: 'body', stream, every: 0, over, stop: () => answer.destroy() });
  }

  /** Everybody has been heard at both ends. */
  flowing() {
    return until(`${this.who}'s streams flow both ways`, () =>
      this.members.every((member) => !member.every || ((this.heard.get(member.stream)?.length ?? 0) > 3 && (this.tenant.arrived.get(member.stream)?.length ?? 0) > 3)));
  }

  async disperse() {
    clearInterval(this.timer);
    this.members.forEach((member) => member.stop());
    await Promise.all(this.members.map((member) => member.over));
  }

  /** What of this crowd's still passed although it was sent after `moment`, in words. */
  leaks(moment) {
    const leaks = [];
    for (const { stream } of this.members) {
      const told = this.sent.get(stream) ?? [];
      for (const { n, at } of this.tenant.arrived.get(stream) ?? []) {
        if (told[n - 1]?.at > moment) leaks.push(`${stream}: ${n}, sent ${told[n - 1].at - moment} ms after the end, reached the tenant (${at - moment})`);
      }
      for (const { n, at, heard } of this.heard.get(stream) ?? []) {
        if (at > moment) leaks.push(`${stream}: ${n}, sent ${at - moment} ms after the end, reached the client (${heard - moment})`);
      }
    }
    return leaks;
  }

  /** Gaps or doubles in what arrived, at either end. */
  gaps() {
    const gaps = [];
    for (const { stream } of this.members) {
      for (const [side, list] of [['tenant', this.tenant.arrived.get(stream)], ['client', this.heard.get(stream)]]) {
        (list ?? []).forEach(({ n }, i) => n !== i + 1 && gaps.push(`${stream}: the ${side}'s number ${i + 1} is ${n}`));
      }
    }
    return gaps.slice(0, 5);
  }
}
