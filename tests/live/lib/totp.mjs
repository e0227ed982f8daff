// Codes of an authenticator app (RFC 6238: SHA-1, 30 s, 6 digits), and one that never shows a code twice.
import crypto from 'node:crypto';
import { setTimeout as after } from 'node:timers/promises';

const STEP_MS = 30_000;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

export function base32(text) {
  let bits = 0;
  let held = 0;
  const out = [];
  for (const c of text.replace(/=+$/, '').toUpperCase()) {
    const value = ALPHABET.indexOf(c);
    if (value < 0) throw new Error(`${c} is not base32`);
    held = (held << 5) | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      out.push((held >> bits) & 0xff);
      held &= (1 << bits) - 1;
    }
  }
  return Buffer.from(out);
}

export function codeAt(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = crypto.createHmac('sha1', base32(secret)).update(counter).digest();
  const at = mac[mac.length - 1] & 0xf;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** The app on a person's phone, made from an `otpauth://` address. */
export class Authenticator {
  constructor(uri) {
    const url = new URL(uri);
    if (url.protocol !== 'otpauth:' || url.hostname !== 'totp') throw new Error(`no TOTP address: ${uri}`);
    this.secret = url.searchParams.get('secret');
    this.issuer = url.searchParams.get('issuer');
    this.label = decodeURIComponent(url.pathname.slice(1));
    this.last = 0;
  }

  /** A code whose step was not used before: of the step before this one, this one or the next; waits if all were. */
  async code() {
    const now = () => Math.floor(Date.now() / STEP_MS);
    this.last = Math.max(this.last + 1, now() - 1);
    while (this.last > now() + 1) await after(STEP_MS - (Date.now() % STEP_MS) + 20);
    return codeAt(this.secret, this.last);
  }

  /** The code shown last, once more. */
  again() {
    return codeAt(this.secret, this.last);
  }
}
