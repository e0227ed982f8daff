// Somebody who signs in to Portcullis with a password and a code, through a tenant's own login API, and stays in.
import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { Authenticator } from '../../tests/live/lib/totp.mjs';
import { run } from './process.mjs';

/** Posts JSON to a gateway. */
export function post(port, host, where, body, { cookie, jwt, agent } = {}) {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const request = https.request({
      host: '127.0.0.1', port, servername: host, path: `/.portcullis/api/v1/${where}`, method: 'POST', rejectUnauthorized: false, agent,
      headers: { host: `${host}:${port}`, origin: `https://${host}:${port}`, 'sec-fetch-site': 'same-origin',
        'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...(cookie ? { cookie } : {}), ...(jwt ? { authorization: `Bearer ${jwt}` } : {}) },
    }, (response) => {
      let answer = '';
      response.on('data', (data) => { answer += data; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: answer ? JSON.parse(answer) : null }));
    });
    request.setTimeout(20_000, () => request.destroy(new Error('no answer')));
    request.on('error', reject);
    request.end(text);
  });
}

const session = (answer) => [answer.headers['set-cookie']].flat().find((it) => it?.startsWith('__Host-portcullis='))?.split(';')[0];

/** A user of a gateway, made by its command line. */
export class Person {
  constructor(name) {
    this.name = name;
    this.password = randomBytes(12).toString('base64url');
    this.cookies = new Map();
    this.tokens = new Map();
  }

  /** Adds the user to the store of `gateway`, which need not run. */
  static async add(gateway, name, { enrol = true } = {}) {
    const person = new Person(name);
    await new Promise((resolve, reject) => {
      const [program, args] = gateway.command('user', 'add', name, '--password-stdin');
      const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'inherit'] });
      child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`user add: exit ${code}`))));
      child.stdin.end(person.password);
    });
    if (!enrol) return person;
    const uri = (await run(...gateway.command('user', 'enrol-totp', name))).match(/otpauth:\S+/)[0];
    person.authenticator = new Authenticator(uri);
    return person;
  }

  /** Signs in on `host`, for a cookie or a token; a session made there is good there alone. */
  async signIn(port, host, { token = false } = {}) {
    const credentials = { username: this.name, password: this.password, token };
    let first = await post(port, host, 'login', credentials);
    // A gateway that sees ten thousand hosts for the first time claims each in its store before it routes them.
    for (let n = 0; first.status === 404 && n < 360; n++) {
      await sleep(500);
      first = await post(port, host, 'login', credentials);
    }
    if (first.status !== 200) throw new Error(`login: ${first.status} ${JSON.stringify(first.body)}`);
    const second = await post(port, host, 'login/totp', { ticket: first.body.ticket, code: await this.authenticator.code(), token });
    if (second.status !== 200) throw new Error(`login: ${second.status} ${JSON.stringify(second.body)}`);
    if (token) this.tokens.set(host, second.body.token);
    else this.cookies.set(host, session(second));
  }

  /** A gateway as it is asked for `host` by this person. */
  at(gate, host, certificate) {
    return { ...gate, host, certificate: certificate.crt, headers: () => [`Cookie: ${this.cookies.get(host)}`] };
  }

  /** A new token for each host: one that is past half its life would be renewed with every answer. */
  async refresh(port) {
    for (const [host, cookie] of this.cookies) {
      const answer = await post(port, host, 'session/refresh', {}, { cookie });
      if (answer.status !== 200) throw new Error(`refresh: ${answer.status} ${JSON.stringify(answer.body)}`);
      this.cookies.set(host, session(answer));
    }
    for (const [host, jwt] of this.tokens) {
      const answer = await post(port, host, 'session/refresh', {}, { jwt });
      if (answer.status !== 200) throw new Error(`refresh: ${answer.status} ${JSON.stringify(answer.body)}`);
      this.tokens.set(host, answer.body.token);
    }
  }
}
