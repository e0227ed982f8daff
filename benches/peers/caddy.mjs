// Caddy that asks another server for leave, request by request (forward_auth): the same as nginx's.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { answers, folder, freePort, run, start } from '../lib/process.mjs';

const program = path.resolve('.work/peers/bin/caddy');

export const name = 'caddy';
export async function peer(bench) {
  const port = await freePort();
  const config = path.join(folder, 'Caddyfile');
  writeFileSync(config, `{
  admin off
  auto_https off
  # Clients that are given an address send none, or that.
  default_sni ${bench.host}
  fallback_sni ${bench.host}
  log {
    level ERROR
  }
  servers {
    protocols h1 h2
  }
}
https://${bench.host}:${port}, https://${bench.socketHost}:${port} {
  bind 127.0.0.1
  tls ${bench.certificate.crt} ${bench.certificate.key}
  @socket path /socket.io/* /sink
  handle @socket {
    reverse_proxy 127.0.0.1:${bench.work.sockets}
  }
  handle {
    forward_auth 127.0.0.1:${bench.work.files} {
      uri /leave
    }
    reverse_proxy 127.0.0.1:${bench.work.files}
  }
}
`);
  const open = async () => {
    const child = start(program, ['run', '--config', config, '--adapter', 'caddyfile'], { env: { ...process.env, GOMAXPROCS: '2', XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder } });
    await answers(port, child);
    return child;
  };
  return { name, title: 'Caddy, forward_auth', port, open, headers: (host) => [`Cookie: ${bench.cookie(host)}`] };
}
export async function version() {
  return `Caddy ${/v?(\d+\.\d+\.\d+)/.exec(await run(program, ['version']))[1]}`;
}
