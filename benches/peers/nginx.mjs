// nginx without any authentication: what every ratio is to.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { answers, folder, freePort, run, start } from '../lib/process.mjs';

/** nginx as a TLS proxy with two workers; `guard` goes into its main location, `extra` beside it. */
export async function nginxWith(name, title, bench, guard = '', extra = '') {
  const port = await freePort();
  const config = path.join(folder, `${name}.conf`);
  writeFileSync(config, `worker_processes 2; user root; error_log ${folder}/${name}.log; pid ${folder}/${name}.pid; daemon off; worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream files { server 127.0.0.1:${bench.work.files}; keepalive 128; }
  upstream sockets { server 127.0.0.1:${bench.work.sockets}; keepalive 128; }
  server {
    listen 127.0.0.1:${port} ssl http2 reuseport; server_name ${bench.host};
    ssl_certificate ${bench.certificate.crt}; ssl_certificate_key ${bench.certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3; proxy_http_version 1.1;
    # Streamed, as a gateway for sockets and uploads has to be, and never through the disk.
    proxy_request_buffering off; proxy_max_temp_file_size 0;
    proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade; proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
    location / { ${guard} proxy_pass http://files; }
    location /socket.io/ { proxy_pass http://sockets; proxy_read_timeout 600s; }
    location /sink { proxy_pass http://sockets; }
    ${extra}
  }
}`);
  const open = async () => {
    const child = start('nginx', ['-c', config, '-p', folder]);
    await answers(port, child);
    return child;
  };
  return { name, title, port, open, headers: (host) => [`Cookie: ${bench.cookie(host)}`] };
}

export const name = 'nginx';
export async function peer(bench) {
  return nginxWith(name, 'nginx, no auth', bench);
}
export async function version() {
  return (await run('sh', ['-c', 'nginx -v 2>&1'])).trim().replace('nginx version: nginx/', 'nginx ');
}
