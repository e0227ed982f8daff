// One certificate for all peers, and the keys that the peers with a token check with.
import { execFileSync } from 'node:child_process';
import { createSign, generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { folder } from './process.mjs';

/** A P-256 certificate for every host under example.test, in the folder that Portcullis reads. */
export function certificate() {
  const dir = path.join(folder, 'certs');
  mkdirSync(dir);
  const [key, crt] = ['key', 'crt'].map((it) => path.join(dir, `default.${it}`));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=example.test', '-addext', 'subjectAltName=DNS:*.example.test,IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE',
    '-keyout', key, '-out', crt], { stdio: 'ignore' });
  // HAProxy wants both in one file.
  const both = path.join(folder, 'both.pem');
  writeFileSync(both, readFileSync(crt, 'utf8') + readFileSync(key, 'utf8'));
  return { dir, key, crt, both };
}

/** An ES256 token that lives for a day, and the key to check it with. */
export function token() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const part = (it) => Buffer.from(JSON.stringify(it)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const signed = `${part({ alg: 'ES256', typ: 'JWT', kid: 'bench' })}.${part({ iss: 'bench', sub: 'bench', aud: 'bench', iat: now, exp: now + 86_400 })}`;
  const mac = createSign('sha256').update(signed).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
  const pem = path.join(folder, 'token.pem');
  writeFileSync(pem, publicKey.export({ type: 'spki', format: 'pem' }));
  return { jwt: `${signed}.${mac}`, pem, jwk: { ...publicKey.export({ format: 'jwk' }), kid: 'bench', alg: 'ES256', use: 'sig' } };
}
