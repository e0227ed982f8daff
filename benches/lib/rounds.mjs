// Rounds: every peer in turn, again and again, so that whatever else the machine does falls on all of them.
import { setTimeout as sleep } from 'node:timers/promises';
import { cpu } from './process.mjs';
import { median, ratio, show, spread } from './table.mjs';

export const rounds = Number(process.env.BENCH_ROUNDS ?? 5);
export const seconds = Number(process.env.BENCH_SECONDS ?? 3);

/** Calls `measure(peer)` for each peer in each round; gives a list of results for each peer's name. */
export async function interleave(peers, measure, times = rounds) {
  const results = new Map(peers.map((peer) => [peer.name, []]));
  for (let round = 0; round < times; round++) {
    for (const peer of peers) results.get(peer.name).push(await measure(peer, round));
  }
  return results;
}

/** Calls `what(n)` every so many milliseconds until then (on the clock of `performance`); how often it did. */
export async function often(every, until, what) {
  let n = 0;
  for (const began = performance.now(); performance.now() < until; n += 1) {
    await what(n);
    await sleep(Math.max(0, began + (n + 1) * every - performance.now()));
  }
  return n;
}

/** CPU microseconds of `peer` for each of what `load` says was done. */
export async function costing(peer, load) {
  const before = cpu(peer.pid);
  const result = await load();
  return { ...result, cost: ((cpu(peer.pid) - before) / result.done) * 1e6 };
}

/** Rows of a table that compares `key` of every peer with the first peer's. */
export function compared(peers, results, key, more = []) {
  const of = (peer, name) => results.get(peer.name).map((it) => it[name]);
  return peers.map((peer) => {
    const [least, most] = spread(of(peer, key), of(peers[0], key));
    return [peer.title, show(median(of(peer, key))), show(ratio(of(peer, key), of(peers[0], key))), `${show(least)}-${show(most)}`,
      ...more.map((name) => show(median(of(peer, name))))];
  });
}

/** The ratio of the peer called `name` to the first. */
export function ratioOf(peers, results, key, name = 'portcullis') {
  const of = (it) => results.get(it).map((one) => one[key]);
  return ratio(of(name), of(peers[0].name));
}
