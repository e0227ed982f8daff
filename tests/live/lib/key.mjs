// A security key in software (WebAuthn, ES256, no attestation): what an authenticator and a browser write, byte for byte.
import crypto from 'node:crypto';

const base64url = (bytes) => Buffer.from(bytes).toString('base64url');
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest();

/** CBOR (RFC 8949) of what an attestation is made of: whole numbers, text, bytes and maps, all of them small. */
function cbor(value) {
  const head = (major, n) => {
    if (n < 24) return Buffer.from([(major << 5) | n]);
    if (n < 256) return Buffer.from([(major << 5) | 24, n]);
    return Buffer.from([(major << 5) | 25, n >> 8, n & 0xff]);
  };
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value);
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  return Buffer.concat([head(5, value.size), ...[...value].flatMap(([key, one]) => [cbor(key), cbor(one)])]);
}

export class SoftKey {
  constructor(portal) {
    this.origin = portal;
    this.rpHash = sha256(new URL(portal).hostname);
    this.id = crypto.randomBytes(32);
    this.counter = 0;
    Object.assign(this, crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  }

  get name() {
    return base64url(this.id);
  }

  data(flags, rest = Buffer.alloc(0)) {
    this.counter += 1;
    const count = Buffer.alloc(4);
    count.writeUInt32BE(this.counter);
    return Buffer.concat([this.rpHash, Buffer.from([flags]), count, rest]);
  }

  client(type, challenge) {
    return Buffer.from(JSON.stringify({ type, challenge, origin: this.origin, crossOrigin: false }));
  }

  whole(response) {
    return { id: this.name, rawId: this.name, type: 'public-key', response, clientExtensionResults: {} };
  }

  /** The answer to `navigator.credentials.create`. */
  register({ challenge }) {
    const { x, y } = this.publicKey.export({ format: 'jwk' });
    const cose = cbor(new Map([[1, 2], [3, -7], [-1, 1], [-2, Buffer.from(x, 'base64url')], [-3, Buffer.from(y, 'base64url')]]));
    const length = Buffer.from([this.id.length >> 8, this.id.length & 0xff]);
    const data = this.data(0x41, Buffer.concat([Buffer.alloc(16), length, this.id, cose]));
    return this.whole({
      clientDataJSON: base64url(this.client('webauthn.create', challenge)),
      attestationObject: base64url(cbor(new Map([['fmt', 'none'], ['attStmt', new Map()], ['authData', data]]))),
    });
  }

  /** The answer to `navigator.credentials.get`. */
  sign({ challenge }) {
    const data = this.data(0x01);
    const client = this.client('webauthn.get', challenge);
    const signature = crypto.sign('sha256', Buffer.concat([data, sha256(client)]), this.privateKey);
    return this.whole({ clientDataJSON: base64url(client), authenticatorData: base64url(data), signature: base64url(signature) });
  }
}
