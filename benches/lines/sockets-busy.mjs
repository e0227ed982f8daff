// Socket.IO round trips through the relay: 32 sockets, one message on its way in each, then sixteen.
import { compared, costing, interleave, ratioOf, seconds } from '../lib/rounds.mjs';
import { ours } from '../lib/load.mjs';
import { table } from '../lib/table.mjs';

export const title = 'Socket.IO round trip, 32 sockets: CPU per round trip';

/** One gateway, and what its tenants ask of a message. */
function modes(bench, gate) {
  const bearer = () => [`Authorization: Bearer ${bench.jwt(bench.inBandHost)}`];
  return [
    { ...gate, name: 'session', title: 'the session alone', host: bench.socketHost, jwt: () => false },
    { ...gate, name: 'annotate', title: '`annotate`', host: bench.annotateHost, jwt: () => false },
    { ...gate, name: 'in-band', title: '`in-band`', host: bench.inBandHost, headers: bearer, jwt: () => bench.jwt(bench.inBandHost) },
  ];
}

export async function measure(bench) {
  const peers = await bench.peers('nginx', 'haproxy', 'envoy', 'caddy', 'portcullis');
  const rows = [];
  const details = [];
  for (const [inFlight, most] of [[1, 1.0], [16, 1.1]]) {
    const results = await interleave(peers, async (peer) => {
      await bench.refresh();
      return costing(peer, () => ours('rounds', peer, { host: bench.socketHost, 'in-flight': inFlight, seconds: Math.min(seconds, 3) }));
    });
    for (const one of results.values()) for (const it of one) it.rate = it.done / Math.min(seconds, 3);
    rows.push({ work: `${title}, ${inFlight} in flight`, most, value: ratioOf(peers, results, 'cost'), unit: 'x' });
    details.push(`${inFlight} in flight (only Portcullis looks at the messages; nobody else's sockets are authenticated):\n\n${
      table(['peer', 'CPU us', 'ratio', 'rounds', 'round trips/s', 'p50 us', 'p99 us'], compared(peers, results, 'cost', ['rate', 'p50', 'p99']))}`);
  }
  await bench.signInToModes(peers.at(-1));
  for (const inFlight of [1, 16]) {
    const results = await interleave(modes(bench, peers.at(-1)), async (peer) => {
      await bench.refresh();
      return costing(peer, () => ours('rounds', peer, { host: peer.host, event: 'uiBuilderClient', jwt: peer.jwt(), 'in-flight': inFlight, seconds: Math.min(seconds, 3) }));
    });
    const all = modes(bench, peers.at(-1));
    for (const one of results.values()) for (const it of one) it.rate = it.done / Math.min(seconds, 3);
    for (const { name, title: what } of all.slice(1)) rows.push({ work: `the same in uibuilder's events, ${what}, against the session alone, ${inFlight} in flight`, most: null, value: ratioOf(all, results, 'cost', name), unit: 'x' });
    details.push(`${inFlight} in flight, uibuilder's events (ratio: to the session alone; a token makes a message some 600 bytes longer on its way to the gateway, an annotation some 200 on its way from there):\n\n${
      table(['Portcullis', 'CPU us', 'ratio', 'rounds', 'round trips/s', 'p50 us', 'p99 us'], compared(all, results, 'cost', ['rate', 'p50', 'p99']))}`);
  }
  return { rows, detail: details.join('\n\n') };
}
