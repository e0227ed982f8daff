// The work behind the peers, whose cost is counted for nobody: an nginx that serves files and says 204 to whoever asks
// for leave, and a program of ours that echoes Socket.IO and swallows uploads.
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { binary } from '../lib/load.mjs';
import { answers, folder, freePort, start } from '../lib/process.mjs';

export async function work() {
  const [files, sockets] = [await freePort(), await freePort()];
  const root = path.join(folder, 'files');
  mkdirSync(root);
  writeFileSync(path.join(root, 'kib'), 'x'.repeat(1024));
  // A hole in the file system: it reads as zeros, and fills no disk.
  writeFileSync(path.join(root, 'gib'), '');
  truncateSync(path.join(root, 'gib'), 2 ** 30);
  const config = path.join(folder, 'work.conf');
  writeFileSync(config, `worker_processes 1; user root; error_log ${folder}/work.log; pid ${folder}/work.pid; daemon off; worker_rlimit_nofile 16384;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; sendfile on;
  server { listen 127.0.0.1:${files}; root ${root}; location = /leave { return 204; } } }`);
  const nginx = start('nginx', ['-c', config, '-p', folder]);
  await answers(files, nginx);
  const echo = start(binary, ['work', '--port', String(sockets)]);
  await answers(sockets, echo);
  return { files, sockets };
}
