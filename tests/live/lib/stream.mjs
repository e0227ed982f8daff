// The long streams of the packet tests, the same for both versions of the protocol: sent and hashed, one message in a hundred
// of them bytes.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

export const COUNT = 10_000;

const message = (n, end) => (n % 100 === 0 ? Buffer.from(`bytes ${n} \u0000\u00ff`) : `message ${n} – grün 🦊 "\\${end}`);

/** Sends `count` messages as `event`. What they hash to. */
export function sendStream(socket, event, count = COUNT) {
  const hash = createHash('sha256');
  for (let n = 1; n <= count; n += 1) {
    const one = message(n, event === 'down' ? ' \u2028' : '');
    hash.update(one);
    socket.emit(event, one);
  }
  return hash.digest('hex');
}

/**
 * The whole stream up and then the whole stream down, each hashed at both ends; `ask` waits for an acknowledgement, `until` for
 * a condition. (Not imported: the tenants, which send with this file too, are to load nothing of the test's.)
 */
export async function bothStreams(socket, ask, until) {
  const up = sendStream(socket, 'up');
  const total = await until('all arrived', async () => {
    const sum = await ask(socket, 'sum');
    return sum.count >= COUNT && sum;
  }, 60_000);
  assert.deepEqual(total, { count: COUNT, up });
  const down = createHash('sha256');
  let count = 0;
  socket.on('down', (one) => {
    down.update(one);
    count += 1;
  });
  const theirs = await ask(socket, 'down', COUNT);
  await until('all came', () => count >= COUNT, 60_000);
  assert.deepEqual([count, down.digest('hex')], [COUNT, theirs]);
}
