// Portcullis with everything on: a cookie's token, the session, policy, identity headers, the assertion, the rules
// between siblings, and every Socket.IO message guarded. Only its access log is off, as everybody's is.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { answers, folder, freePort, run, start } from '../lib/process.mjs';

export const program = process.env.PORTCULLIS_BIN ?? 'target/pgo/portcullis';

/** A gateway of its own folder: the gateway watches where its configuration lies, and others write beside it. */
export async function gateway(bench, name, tenants, { docker = '[]', root = 'root_domain = "example.test"' } = {}) {
  const [port, admin] = [await freePort(), await freePort()];
  const own = path.join(folder, name);
  mkdirSync(own);
  const config = path.join(own, 'portcullis.toml');
  writeFileSync(config, `${root}
[listen]
https = ["127.0.0.1:${port}"]
http = []
admin = "127.0.0.1:${admin}"
workers = 2
[certificates]
dir = "${bench.certificate.dir}"
[docker]
hosts = ${docker}
[store]
url = "sqlite:${own}/portcullis.db"
key_file = "${own}/portcullis.key"
[limits]
body = "0"
[sockets]
messages_per_second = 10000000 # counted, and never too many
message_burst = 10000000
per_session = 0
per_tenant = 0
[log]
level = "warn"
access = false
${tenants}`);
  const command = (...args) => [program, ['--config', config, ...args]];
  const open = async () => {
    const child = start(...command('run'));
    await answers(port, child);
    return child;
  };
  return { name, title: 'Portcullis, all on', port, admin, config, open, command };
}

/** A tenant of the file; `upstream` is a port of this machine. */
export const tenant = (host, upstream, more = '') => `[[tenant]]
hosts = ["${host}"]
upstreams = ["http://127.0.0.1:${upstream}"]
login_api = true
${more}
`;

export const name = 'portcullis';
export async function peer(bench) {
  const own = await gateway(bench, name, tenant(bench.host, bench.work.files) + tenant(bench.socketHost, bench.work.sockets)
    + tenant(bench.annotateHost, bench.work.sockets, 'socketio = { annotate = true }')
    + tenant(bench.inBandHost, bench.work.sockets, 'socketio = { mode = "in-band" }'));
  return { ...own, headers: (host) => [`Cookie: ${bench.cookie(host)}`] };
}
export async function version() {
  return (await run(program, ['--version'])).trim();
}
