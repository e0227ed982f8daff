// Sockets through the gateway: the official client, a bare WebSocket, and Engine.IO polling by hand.
import { io } from 'socket.io-client';
import WebSocket from 'ws';

/** The official client, as the page at `host` with this client's cookies. */
export function connect(gate, client, host, { path = '/socket.io/', namespace = '/', transports = ['websocket'], auth, headers = {}, cookie, ...rest } = {}) {
  const name = gate.host(host);
  const origin = gate.url(host, '').replace(/\/$/, '');
  return io(`${origin}${namespace}`, {
    path,
    transports,
    auth,
    forceNew: true,
    reconnection: false,
    timeout: 15_000,
    agent: client.agent,
    withCredentials: false,
    extraHeaders: { cookie: cookie ?? client.cookies(name), origin, 'sec-fetch-site': 'same-origin', 'user-agent': client.name, ...headers },
    ...rest,
  });
}

/** A WebSocket handshake: `{ status, headers, body }` when refused, `{ socket }` when open. */
export function handshake(gate, client, host, path, { headers = {}, origin, cookie, protocols } = {}) {
  const from = origin === undefined ? gate.url(host, '').replace(/\/$/, '') : origin;
  const jar = cookie ?? client.cookies(gate.host(host));
  const socket = new WebSocket(`wss://${gate.host(host)}:${gate.port}${path}`, protocols ?? [], {
    agent: client.agent,
    handshakeTimeout: 15_000,
    perMessageDeflate: false,
    headers: { 'user-agent': client.name, ...(jar ? { cookie: jar } : {}), ...(from === null ? {} : { origin: from }), ...headers },
  });
  return new Promise((resolve, reject) => {
    socket.early = [];
    const keep = (data, binary) => socket.early.push(binary ? data : data.toString());
    socket.on('message', keep);
    socket.once('open', () => resolve({ socket }));
    socket.once('unexpected-response', (_request, answer) => {
      let body = '';
      answer.on('data', (part) => (body += part));
      answer.on('end', () => {
        resolve({ status: answer.statusCode, headers: answer.headers, body });
        socket.terminate();
      });
    });
    socket.once('error', reject);
  });
}

/** Resolves with `{ code, reason, at }` when a WebSocket is closed. */
export const closed = (socket) =>
  new Promise((resolve) => {
    socket.once('close', (code, reason) => resolve({ code, reason: String(reason), at: Date.now() }));
  });

/** Resolves with the first event of that name (all its arguments), or fails. */
export function heard(emitter, event, limit = 15_000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      emitter.off(event, got);
      reject(new Error(`no ${event} within ${limit} ms`));
    }, limit);
    const got = (...args) => {
      clearTimeout(timer);
      resolve(args);
    };
    emitter.once(event, got);
  });
}

/** A connected official client, or the error it met. */
export async function connected(socket) {
  if (socket.connected) return socket;
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return socket;
}

/** Engine.IO by long polling, one packet list at a time. */
export class Polling {
  static async open(gate, client, host, { path = '/socket.io/', headers = {} } = {}) {
    const poll = new Polling();
    Object.assign(poll, { gate, client, host, path, headers });
    poll.base = gate.url(host, path);
    const answer = await client.api(`${poll.base}?EIO=4&transport=polling`, undefined, { headers });
    poll.first = answer;
    if (answer.status === 200) poll.sid = JSON.parse(answer.text.slice(1)).sid;
    return poll;
  }

  get url() {
    return `${this.base}?EIO=4&transport=polling&sid=${encodeURIComponent(this.sid)}`;
  }

  read(options) {
    return this.client.api(this.url, undefined, { headers: this.headers, timeout: 40_000, ...options });
  }

  write(packets, options) {
    const origin = this.gate.url(this.host, '').replace(/\/$/, '');
    return this.client.request(this.url, {
      method: 'POST',
      body: packets.join('\x1e'),
      headers: { 'content-type': 'text/plain;charset=UTF-8', origin, 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', ...this.headers },
      ...options,
    });
  }
}

/** Socket.IO over one bare WebSocket, so that every packet and the close code can be seen. `auth`: an object, or JSON as it is. */
export class Raw {
  static async open(gate, client, host, { path = '/socket.io/', namespace = '/', auth, ...rest } = {}) {
    const raw = new Raw();
    const { socket, ...refused } = await handshake(gate, client, host, `${path.replace(/\/?$/, '/')}?EIO=4&transport=websocket`, rest);
    if (!socket) throw Object.assign(new Error(`refused: ${refused.status} ${refused.body}`), refused);
    Object.assign(raw, { socket, prefix: namespace === '/' ? '' : `${namespace},`, packets: [], pending: [] });
    raw.closed = closed(socket);
    const ready = new Promise((resolve, reject) => {
      const take = (packet) => {
        if (packet === '2') return socket.send('3');
        raw.packets.push(packet);
        if (packet.startsWith('0')) return socket.send(`40${raw.prefix}${typeof auth === 'string' ? auth : auth ? JSON.stringify(auth) : ''}`);
        if (packet.startsWith(`40${raw.prefix}`)) {
          raw.id = JSON.parse(packet.slice(2 + raw.prefix.length)).sid;
          return resolve();
        }
        if (packet.startsWith('44')) return reject(new Error(packet));
        if (packet.startsWith('42')) return raw.#deliver(JSON.parse(packet.slice(packet.indexOf('['))));
        return undefined;
      };
      socket.early.forEach(take);
      socket.removeAllListeners('message');
      socket.on('message', (data, binary) => take(binary ? data : data.toString()));
      socket.once('close', (code) => reject(new Error(`closed with ${code} before it was connected: ${raw.packets}`)));
    });
    await ready;
    return raw;
  }

  #deliver(event) {
    if (this.hear) this.hear(...event);
    else this.pending.push(event);
  }

  /** Who hears the events: all of them, those too that came before. */
  set events(hear) {
    this.hear = hear;
    this.pending.splice(0).forEach((event) => hear(...event));
  }

  emit(...event) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(`42${this.prefix}${JSON.stringify(event)}`);
  }

  close() {
    this.socket.terminate();
  }
}
