// HAProxy that checks an ES256 token with each request (jwt_verify), but with none of a socket.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { answers, folder, freePort, run, start } from '../lib/process.mjs';

export const name = 'haproxy';
export async function peer(bench) {
  const port = await freePort();
  const config = path.join(folder, 'haproxy.cfg');
  writeFileSync(config, `global
  nbthread 2
  maxconn 9000
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout tunnel 600s
  http-reuse always
frontend in
  bind 127.0.0.1:${port} ssl crt ${bench.certificate.both} alpn h2,http/1.1
  acl socket path_beg /socket.io/ /sink
  http-request set-var(txn.bearer) http_auth_bearer unless socket
  http-request deny deny_status 401 unless socket or { var(txn.bearer),jwt_verify("ES256","${bench.token.pem}") -m int 1 }
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
  use_backend sockets if socket
  default_backend files
backend files
  server files 127.0.0.1:${bench.work.files}
backend sockets
  server sockets 127.0.0.1:${bench.work.sockets}
`);
  const open = async () => {
    const child = start('haproxy', ['-db', '-f', config]);
    await answers(port, child);
    return child;
  };
  return { name, title: 'HAProxy, jwt_verify ES256', port, open, headers: () => [`Authorization: Bearer ${bench.token.jwt}`] };
}
export async function version() {
  return /HAProxy version \S+/.exec(await run('haproxy', ['-v']))[0].replace(' version', '').replace(/-.*/, '');
}
