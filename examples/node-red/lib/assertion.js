// Reads and verifies `X-Portcullis-Assertion`. Which key, which algorithm and which audience count is never taken from
// the token: the algorithm follows from the key, the audience from the settings.
'use strict';

const crypto = require('node:crypto');

const TYPE = 'portcullis-assertion+jwt';
const LONGEST = 16 * 1024;
/** The gateway signs for a minute; what claims to live longer is none of its. */
const LONGEST_LIFE = 60;
const PART = /^[A-Za-z0-9_-]+$/;

class Refused extends Error {
  constructor(reason) {
    super(`refused: ${reason}`);
    this.name = 'Refused';
    this.reason = reason;
  }
}

function object(part, what) {
  let value;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url')));
  } catch {
    throw new Refused(`${what} is not JSON`);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Refused(`${what} is no object`);
  return value;
}

/** `{ header, claims, signed, signature }`, of which nothing is believed yet. */
function parse(token) {
  if (typeof token !== 'string' || token === '') throw new Refused('no assertion');
  if (token.length > LONGEST) throw new Refused('the assertion is too long');
  const parts = token.split('.');
  if (parts.length !== 3 || !parts.every((part) => PART.test(part))) throw new Refused('the assertion is no JWT');
  const header = object(parts[0], 'the header');
  if (header.typ !== TYPE) throw new Refused('another kind of token');
  if ('crit' in header) throw new Refused('an extension that is not known');
  if (typeof header.kid !== 'string' || header.kid === '' || header.kid.length > 256) throw new Refused('no key id');
  return { header, claims: object(parts[1], 'the payload'), signed: `${parts[0]}.${parts[1]}`, signature: Buffer.from(parts[2], 'base64url') };
}

/** A key of a JWKS as `{ alg, key }`, or undefined for what we do not verify with. */
function keyOf(jwk) {
  if (jwk === null || typeof jwk !== 'object' || typeof jwk.kid !== 'string' || jwk.kid === '') return undefined;
  if (jwk.use !== undefined && jwk.use !== 'sig') return undefined;
  const { kty, crv, x, y } = jwk;
  let alg;
  let bare;
  if (kty === 'OKP' && crv === 'Ed25519') [alg, bare] = ['EdDSA', { kty, crv, x }];
  else if (kty === 'EC' && crv === 'P-256') [alg, bare] = ['ES256', { kty, crv, x, y }];
  else return undefined;
  if (jwk.alg !== undefined && jwk.alg !== alg) return undefined;
  try {
    return { alg, key: crypto.createPublicKey({ key: bare, format: 'jwk' }) };
  } catch {
    return undefined;
  }
}

function signatureHolds({ alg, key }, { header, signed, signature }) {
  if (header.alg !== alg || signature.length !== 64) return false;
  const bytes = Buffer.from(signed);
  if (alg === 'EdDSA') return crypto.verify(null, bytes, key, signature);
  return crypto.verify('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }, signature);
}

/** Refuses claims that are not for us or not of now (seconds); otherwise says who it is. */
function judge(claims, { audience, issuer, leeway, now }) {
  if (typeof claims.aud !== 'string' || !audience.includes(claims.aud)) throw new Refused('for another host');
  if (issuer !== undefined && claims.iss !== issuer) throw new Refused('of another gateway');
  const { iat, exp } = claims;
  if (!Number.isSafeInteger(iat) || !Number.isSafeInteger(exp)) throw new Refused('no times');
  if (exp <= iat || exp - iat > LONGEST_LIFE) throw new Refused('valid for too long');
  if (now >= exp + leeway) throw new Refused('expired');
  if (iat > now + leeway) throw new Refused('of the future');
  const { sub, preferred_username: name, groups = [], amr = [] } = claims;
  if (typeof sub !== 'string' || sub === '' || typeof name !== 'string' || name === '') throw new Refused('about nobody');
  const texts = (list) => Array.isArray(list) && list.every((one) => typeof one === 'string');
  if (!texts(groups) || !texts(amr)) throw new Refused('groups or factors that are no text');
  const text = (value) => (typeof value === 'string' ? value : '');
  return Object.freeze({
    id: sub, name, fullName: text(claims.name), email: text(claims.email), groups: Object.freeze([...groups]), amr: Object.freeze([...amr]),
    authTime: Number.isSafeInteger(claims.auth_time) ? claims.auth_time : undefined, expires: exp,
  });
}

module.exports = { Refused, parse, keyOf, signatureHolds, judge };
