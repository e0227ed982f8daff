// A certificate authority for a test, and certificates in the file layout that nginx-proxy has.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });

/** Writes `ca.pem` beside `certs/<domain>.crt|key` (good for the domain and every name one below it). */
export function certificates(folder, domain) {
  const certs = path.join(folder, 'certs');
  fs.mkdirSync(certs, { recursive: true });
  const at = (name) => path.join(folder, name);
  const ca = at('ca.pem');
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('ca.key'), '-out', ca,
    '-days', '2', '-subj', '/CN=Portcullis live test CA', '-addext', 'basicConstraints=critical,CA:TRUE',
    '-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-addext', `nameConstraints=critical,permitted;DNS:${domain}`);
  openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', path.join(certs, `${domain}.key`),
    '-out', at('leaf.csr'), '-subj', `/CN=${domain}`);
  fs.writeFileSync(at('leaf.ext'), [`subjectAltName=DNS:${domain},DNS:*.${domain}`, 'basicConstraints=CA:FALSE',
    'keyUsage=critical,digitalSignature', 'extendedKeyUsage=serverAuth', ''].join('\n'));
  openssl('x509', '-req', '-in', at('leaf.csr'), '-CA', ca, '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2',
    '-extfile', at('leaf.ext'), '-out', path.join(certs, `${domain}.crt`));
  return { ca, certs };
}
