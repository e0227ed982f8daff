// Tenants on loopback: the real socket.io server behind the demo's page, and one that counts and records.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { Server } from 'socket.io';
import { WebSocketServer } from 'ws';

const WEB = path.resolve(new URL('.', import.meta.url).pathname, '../../../web/demo');
const CLIENT = path.resolve(new URL('.', import.meta.url).pathname, '../node_modules/socket.io-client/dist/socket.io.min.js');
const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript' };

async function listening(server) {
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return server.address().port;
}

function closer(server, io) {
  return async () => {
    await io?.close();
    server.closeAllConnections?.();
    await new Promise((resolve) => server.close(resolve));
  };
}

/** The demo's page and echo, served by node and the real `socket.io`. */
export async function echoTenant() {
  const asked = [];
  const server = http.createServer((request, answer) => {
    asked.push({ method: request.method, url: request.url, headers: request.headers });
    const { pathname } = new URL(request.url, 'http://tenant');
    if (pathname === '/mirror') {
      answer.setHeader('content-type', 'application/json');
      answer.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, raw: request.rawHeaders }));
      return;
    }
    const file = pathname === '/socket.io.min.js' ? CLIENT : path.join(WEB, pathname === '/' ? 'index.html' : path.basename(pathname));
    if (!fs.existsSync(file)) {
      answer.statusCode = 404;
      answer.end('not here');
      return;
    }
    answer.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    answer.end(fs.readFileSync(file, 'utf8').replace('{{user}}', String(request.headers['remote-user'] ?? 'nobody')));
  });
  const io = new Server(server);
  io.on('connection', (socket) => {
    socket.on('say', (words) => socket.emit('said', { echo: words, user: socket.handshake.headers['remote-user'] }));
    socket.on('who', (answer) => answer({ headers: socket.handshake.headers, auth: socket.handshake.auth }));
  });
  const port = await listening(server);
  return { url: `http://127.0.0.1:${port}`, port, asked, io, close: closer(server, io) };
}

/**
 * A tenant of numbered streams. Socket.IO clients and plain WebSockets (at `/ws`) send `{stream, n}`, which is recorded as
 * it arrives; with `?every=MS` in the query the tenant itself sends numbers to the client. Nothing is ever forgotten.
 */
export async function countingTenant({ recovery = false, ...options } = {}) {
  /** stream -> [{ n, at }] as they arrived here */
  const arrived = new Map();
  /** stream -> the last number sent from here */
  const sent = new Map();
  /** stream -> when and why the connection ended here */
  const ended = new Map();
  const opened = new Map();
  const keep = (stream, n) => {
    if (!arrived.has(stream)) arrived.set(stream, []);
    arrived.get(stream).push({ n, at: Date.now() });
  };
  const server = http.createServer((request, answer) => {
    answer.setHeader('content-type', 'text/plain');
    if (request.url.startsWith('/stream')) {
      // A body without end, one line every 20 ms.
      const stream = new URL(request.url, 'http://tenant').searchParams.get('stream');
      let n = 0;
      const timer = setInterval(() => {
        n += 1;
        sent.set(stream, n);
        answer.write(`${n} ${Date.now()}\n`);
      }, 20);
      answer.on('close', () => {
        clearInterval(timer);
        ended.set(stream, { at: Date.now(), why: 'close' });
      });
      return;
    }
    answer.end('counting');
  });
  const io = new Server(server, { ...options, ...(recovery ? { connectionStateRecovery: { maxDisconnectionDuration: 120_000 } } : {}) });
  const count = (stream, every, send) => {
    if (!every) return undefined;
    let n = 0;
    return setInterval(() => {
      n += 1;
      sent.set(stream, n);
      send({ stream, n, at: Date.now() });
    }, every);
  };
  io.on('connection', (socket) => {
    const { stream, every } = socket.handshake.auth;
    opened.set(stream, { at: Date.now(), headers: socket.handshake.headers, recovered: socket.recovered, socket });
    const timer = count(stream, Number(every), (message) => socket.emit('down', message));
    socket.on('up', (message) => keep(message.stream, message.n));
    socket.on('disconnect', (why) => {
      clearInterval(timer);
      ended.set(stream, { at: Date.now(), why });
    });
  });
  const plain = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url, 'http://tenant');
    if (url.pathname !== '/ws') return;
    plain.handleUpgrade(request, socket, head, (peer) => {
      const stream = url.searchParams.get('stream');
      opened.set(stream, { at: Date.now(), headers: request.headers });
      const timer = count(stream, Number(url.searchParams.get('every')), (message) => peer.send(JSON.stringify(message)));
      peer.on('message', (data) => {
        const message = JSON.parse(data);
        keep(message.stream, message.n);
      });
      peer.on('close', (code) => {
        clearInterval(timer);
        ended.set(stream, { at: Date.now(), why: code });
      });
      peer.on('error', () => {});
    });
  });
  const port = await listening(server);
  const close = closer(server, io);
  return {
    url: `http://127.0.0.1:${port}`, port, io, arrived, sent, ended, opened,
    async close() {
      plain.clients.forEach((peer) => peer.terminate());
      await close();
    },
  };
}
