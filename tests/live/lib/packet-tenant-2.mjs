// A tenant of the old kind: the real socket.io 2, which speaks Engine.IO 3, in a process or a container of its own. It
// echoes, and hashes all that comes and all that goes.
// usage: node packet-tenant-2.mjs PORT
import { createHash } from 'node:crypto';
import http from 'node:http';
import { createRequire } from 'node:module';
import { sendStream } from './stream.mjs';

const Server = createRequire(import.meta.url)('socket.io-2');
const server = http.createServer((_request, answer) => answer.end('packets'));
const io = Server(server, { maxHttpBufferSize: 1 << 20, pingInterval: 10_000 });
/** stream -> what came on it, and how its connections ended here */
const streams = new Map();
const of = (stream) => {
  if (!streams.has(stream)) streams.set(stream, { up: createHash('sha256'), count: 0, last: 0, ended: [] });
  return streams.get(stream);
};

for (const namespace of [io.of('/'), io.of('/app')]) {
  const { name } = namespace;
  namespace.on('connection', (socket) => {
    const { headers, query } = socket.handshake;
    const { stream } = query;
    const it = of(stream);
    socket.on('echo', (...args) => {
      const answer = typeof args.at(-1) === 'function' ? args.pop() : undefined;
      if (answer) answer(...args);
      else socket.emit('echoed', ...args);
    });
    socket.on('who', (answer) => answer({ user: headers['remote-user'], namespace: name, secret: query.secret ?? null }));
    socket.on('join', (room, answer) => socket.join(room, () => answer('joined')));
    socket.on('say', (room, words) => namespace.to(room).emit('said', words));
    socket.on('up', (message) => {
      it.up.update(message);
      it.count += 1;
    });
    socket.on('tick', (n) => (it.last = n));
    socket.on('sum', (answer) => answer({ count: it.count, up: it.up.copy().digest('hex') }));
    socket.on('of', (other, answer) => answer({ ended: of(other).ended, last: of(other).last }));
    socket.on('down', (count, answer) => answer(sendStream(socket, 'down', count)));
    socket.on('disconnect', (why) => it.ended.push(why));
  });
}
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
