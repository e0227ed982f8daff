// The gateway's public keys: fetched from the configured address and nowhere else, kept, and fetched anew when they are
// old or when an assertion names one that is not among them; the latter not more often than a floor allows, so that
// whoever makes up key ids makes no traffic.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { Refused, keyOf } = require('./assertion');

const LARGEST = 64 * 1024;
const MOST = 32;

function fetchText(address, { ca, timeout }) {
  return new Promise((resolve, reject) => {
    const secure = address.protocol === 'https:';
    // A redirect is not followed: the address in the settings is the only one.
    const request = (secure ? https : http).get(address, { ca: secure ? ca : undefined, headers: { accept: 'application/jwk-set+json, application/json' } }, (answer) => {
      if (answer.statusCode !== 200) {
        answer.resume();
        reject(new Error(`${address}: status ${answer.statusCode}`));
        return;
      }
      const parts = [];
      let size = 0;
      answer.on('data', (part) => {
        size += part.length;
        if (size > LARGEST) request.destroy(new Error(`${address}: too large`));
        else parts.push(part);
      });
      answer.on('error', reject);
      answer.on('end', () => resolve({ text: Buffer.concat(parts).toString('utf8'), maxAge: ageOf(answer.headers['cache-control']) }));
    });
    const timer = setTimeout(() => request.destroy(new Error(`${address}: no answer within ${timeout} ms`)), timeout);
    request.on('close', () => clearTimeout(timer));
    request.on('error', reject);
  });
}

function ageOf(header) {
  const seconds = /(?:^|[\s,])max-age=(\d{1,9})/.exec(header ?? '')?.[1];
  return Math.min(Math.max(Number(seconds ?? 300), 30), 3600);
}

class Keys {
  #address;
  #options;
  #clock;
  #keys = new Map();
  #fresh = 0;
  #good = 0;
  #asked = -Infinity;
  #asking = null;

  /** `clock` is in milliseconds and only goes forward. */
  constructor(address, { ca, floor = 10_000, timeout = 5000, clock = () => performance.now() } = {}) {
    this.#address = address;
    this.#options = { ca: ca === undefined ? undefined : readCa(ca), floor, timeout };
    this.#clock = clock;
  }

  /** The key of that id; refuses where there is none. */
  async find(kid) {
    const now = this.#clock();
    if (now >= this.#fresh || !this.#keys.has(kid)) {
      const fetching = this.#renew(now);
      // What is old but not yet too old serves while the new ones are on their way.
      if (now >= this.#good || !this.#keys.has(kid)) await fetching;
    }
    const key = this.#clock() < this.#good ? this.#keys.get(kid) : undefined;
    if (key === undefined) throw new Refused('signed with a key that the gateway does not have');
    return key;
  }

  #renew(now) {
    if (this.#asking) return this.#asking;
    if (now - this.#asked < this.#options.floor) return Promise.resolve();
    this.#asked = now;
    this.#asking = this.#fetch().catch((error) => {
      this.failure = error.message;
    }).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #fetch() {
    const { text, maxAge } = await fetchText(this.#address, this.#options);
    const list = JSON.parse(text)?.keys;
    if (!Array.isArray(list) || list.length > MOST) throw new Error(`${this.#address}: no JWKS`);
    const keys = new Map();
    for (const jwk of list) {
      const key = keyOf(jwk);
      if (key) keys.set(jwk.kid, key);
    }
    if (keys.size === 0) throw new Error(`${this.#address}: no key that can be used`);
    const now = this.#clock();
    this.#keys = keys;
    this.#fresh = now + maxAge * 1000;
    // While the gateway does not answer, its last keys are good for as long again, and then for nothing.
    this.#good = now + 2 * maxAge * 1000;
    this.failure = undefined;
  }
}

/** A certificate or several in PEM, or the path of a file that holds them. */
function readCa(ca) {
  if (Buffer.isBuffer(ca)) return ca;
  if (ca.includes('-----BEGIN CERTIFICATE-----')) return ca;
  return fs.readFileSync(ca);
}

module.exports = { Keys };
