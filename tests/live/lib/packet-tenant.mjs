// A tenant that hashes all that comes and all that goes: the real socket.io, in a process or a container of its own.
// usage: node packet-tenant.mjs PORT [PING_MS]
import { createHash } from 'node:crypto';
import http from 'node:http';
import { Server } from 'socket.io';
import { sendStream } from './stream.mjs';

/** stream -> what came on it, what went, and how its connections ended here */
const streams = new Map();
const of = (stream) => {
  if (!streams.has(stream)) streams.set(stream, { up: createHash('sha256'), count: 0, ended: [], recovered: [] });
  return streams.get(stream);
};

const server = http.createServer((_request, answer) => answer.end('packets'));
const plain = new Server(server, { maxHttpBufferSize: 1 << 20, pingInterval: Number(process.argv[3] ?? 25_000) });
// (Where it can recover, the server adds an argument of its own to every event.)
const recovering = new Server(server, { path: '/recovering/', connectionStateRecovery: { maxDisconnectionDuration: 60_000 } });

for (const namespace of [plain.of('/'), plain.of('/app'), recovering.of('/')]) {
  const { name } = namespace;
  namespace.on('connection', (socket) => {
    const { stream } = socket.handshake.auth;
    const it = of(stream);
    it.recovered.push(socket.recovered);
    socket.on('echo', (...args) => {
      const answer = typeof args.at(-1) === 'function' ? args.pop() : undefined;
      if (answer) answer(...args);
      else socket.emit('echoed', ...args);
    });
    socket.on('who', (answer) => answer({ user: socket.handshake.headers['remote-user'], namespace: name }));
    socket.on('join', (room, answer) => {
      socket.join(room);
      answer('joined');
    });
    socket.on('say', (room, words) => namespace.to(room).emit('said', words));
    socket.on('up', (message) => {
      it.up.update(message);
      it.count += 1;
    });
    socket.on('sum', (answer) => answer({ count: it.count, up: it.up.copy().digest('hex') }));
    socket.on('down', (count, answer) => answer(sendStream(socket, 'down', count)));
    socket.on('of', (other, answer) => {
      const { ended, recovered } = of(other);
      answer({ ended, recovered });
    });
    socket.on('disconnect', (why) => it.ended.push(why));
  });
}
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
