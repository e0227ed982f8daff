// A small browser without a screen: a cookie jar, redirects, HTML forms; every name resolves to loopback.
import assert from 'node:assert/strict';
import https from 'node:https';
import fs from 'node:fs';

/** Resolves every name to loopback, whatever the system's resolver thinks of it. */
export const loopback = (_name, options, done) =>
  options?.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);

export class Client {
  /** `ca`: path of the CA to trust, the only one. */
  constructor({ ca, agent = 'live-test' }) {
    this.ca = fs.readFileSync(ca);
    this.agent = new https.Agent({ ca: this.ca, lookup: loopback, keepAlive: true, maxSockets: 64 });
    this.name = agent;
    /** host -> Map(cookie name -> value) */
    this.jar = new Map();
  }

  close() {
    this.agent.destroy();
  }

  /** The same person's other device: same trust, no cookies. */
  stranger() {
    const other = Object.create(Client.prototype);
    return Object.assign(other, this, { jar: new Map() });
  }

  cookies(host) {
    const jar = this.jar.get(host);
    return jar ? [...jar].map(([name, value]) => `${name}=${value}`).join('; ') : '';
  }

  cookie(host, name = '__Host-portcullis') {
    return this.jar.get(host)?.get(name);
  }

  keep(host, lines) {
    for (const line of lines ?? []) {
      const [pair, ...rest] = line.split(';').map((part) => part.trim());
      const at = pair.indexOf('=');
      const name = pair.slice(0, at);
      const attributes = rest.map((part) => part.toLowerCase());
      const gone = attributes.some((part) => part === 'max-age=0');
      if (name.startsWith('__Host-')) {
        assert(attributes.includes('secure') && attributes.includes('path=/'), `a browser would refuse: ${line}`);
        assert(!attributes.some((part) => part.startsWith('domain')), `a browser would refuse: ${line}`);
      }
      const jar = this.jar.get(host) ?? new Map();
      this.jar.set(host, jar);
      if (gone) jar.delete(name);
      else jar.set(name, pair.slice(at + 1));
    }
  }

  /** One request as it is; `jar: false` neither sends nor keeps cookies. */
  request(address, { method = 'GET', headers = {}, body, jar = true, path, timeout = 20_000 } = {}) {
    const url = new URL(address);
    const cookie = jar ? this.cookies(url.hostname) : '';
    const sent = { 'user-agent': this.name, ...(cookie ? { cookie } : {}), ...headers };
    if (body !== undefined && sent['content-length'] === undefined) sent['content-length'] = Buffer.byteLength(body);
    return new Promise((resolve, reject) => {
      const asked = https.request(
        { host: url.hostname, port: url.port || 443, path: path ?? url.pathname + url.search, method, headers: sent, agent: this.agent },
        (answer) => {
          const parts = [];
          answer.on('data', (part) => parts.push(part));
          answer.on('error', reject);
          answer.on('end', () => {
            if (jar) this.keep(url.hostname, answer.headers['set-cookie']);
            const text = Buffer.concat(parts).toString();
            resolve({ status: answer.statusCode, headers: answer.headers, raw: answer.rawHeaders, text, url: url.href, json: () => JSON.parse(text) });
          });
        },
      );
      asked.setTimeout(timeout, () => asked.destroy(new Error(`${method} ${address}: no answer in ${timeout} ms`)));
      asked.on('error', reject);
      asked.end(body);
    });
  }

  /** Goes to a page as a person does: a top-level navigation that follows redirects. */
  async visit(address, { method = 'GET', body, headers = {}, from = 'none', hops = 12 } = {}) {
    let url = address;
    let site = from;
    for (let hop = 0; hop < hops; hop += 1) {
      const answer = await this.request(url, {
        method,
        body,
        headers: {
          accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8',
          'sec-fetch-mode': 'navigate',
          'sec-fetch-dest': 'document',
          'sec-fetch-user': '?1',
          'sec-fetch-site': site,
          ...headers,
        },
      });
      answer.hops = hop;
      const refresh = answer.status === 200 && answer.text.match(/<meta http-equiv="refresh" content="0; ?url=([^"]*)"/i)?.[1];
      if (![301, 302, 303, 307, 308].includes(answer.status) && !refresh) return answer;
      const next = new URL(refresh ? unescape(refresh) : answer.headers.location, url);
      if (next.hostname !== new URL(url).hostname && site !== 'none') site = 'same-site';
      url = next.href;
      if (refresh || answer.status <= 303) {
        method = 'GET';
        body = undefined;
        headers = {};
      }
    }
    throw new Error(`${address}: more than ${hops} redirects, the last to ${url}`);
  }

  /** Sends a form that stood on `page`. */
  submit(page, form, values) {
    const action = new URL(form.action || page.url, page.url);
    const fields = new URLSearchParams();
    for (const field of form.fields) {
      if (field.type !== 'submit') fields.append(field.name, values[field.name] ?? field.value);
    }
    for (const button of form.buttons.slice(0, 1)) if (button.name) fields.append(button.name, button.value);
    if (form.method === 'GET') {
      action.search = fields;
      return this.visit(action.href, { from: 'same-origin' });
    }
    return this.visit(action.href, {
      method: 'POST',
      body: fields.toString(),
      from: 'same-origin',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: new URL(page.url).origin, referer: page.url },
    });
  }

  /** A call as a page's own script makes it. */
  async api(address, body, { method = body === undefined ? 'GET' : 'POST', headers = {}, ...rest } = {}) {
    return this.request(address, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: {
        accept: 'application/json',
        'sec-fetch-mode': 'cors',
        'sec-fetch-dest': 'empty',
        'sec-fetch-site': 'same-origin',
        ...(body === undefined ? {} : { 'content-type': 'application/json', origin: new URL(address).origin }),
        ...headers,
      },
      ...rest,
    });
  }
}

export const unescape = (text) =>
  text.replace(/&(amp|lt|gt|quot|#39|#x27|#x2f|#(\d+)|#x([0-9a-f]+));/gi, (all, name, decimal, hex) => {
    if (decimal) return String.fromCodePoint(Number(decimal));
    if (hex) return String.fromCodePoint(parseInt(hex, 16));
    return { amp: '&', lt: '<', gt: '>', quot: '"' }[name.toLowerCase()] ?? all;
  });

function attributes(tag) {
  const found = {};
  for (const [, name, , double, single, bare] of tag.matchAll(/([a-zA-Z-]+)(\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    found[name.toLowerCase()] = unescape(double ?? single ?? bare ?? '');
  }
  return found;
}

/** The forms of a page: `{ action, method, fields: [{name, type, value, autocomplete}], buttons }`. */
export function forms(html) {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head, inside]) => {
    const form = attributes(head);
    const fields = [...inside.matchAll(/<(?:input|textarea)\b([^>]*)>/gi)]
      .map(([, tag]) => attributes(tag))
      .filter((field) => field.name)
      .filter((field) => !['checkbox', 'radio'].includes(field.type) || 'checked' in field)
      .map((field) => ({ name: field.name, type: field.type ?? 'text', value: field.value ?? '', autocomplete: field.autocomplete ?? '' }));
    const buttons = [...inside.matchAll(/<button\b([^>]*)>/gi)]
      .map(([, tag]) => attributes(tag))
      .filter((button) => (button.type ?? 'submit') === 'submit')
      .map((button) => ({ name: button.name, value: button.value ?? '' }));
    return { action: form.action ?? '', method: (form.method ?? 'GET').toUpperCase(), fields, buttons };
  });
}

/** What a form asks for: 'password', 'code', 'setup' or undefined. */
export function asks(form) {
  const passwords = form.fields.filter((field) => field.type === 'password');
  if (form.fields.some((field) => field.autocomplete.includes('one-time-code'))) return 'code';
  if (passwords.some((field) => field.autocomplete.includes('new-password'))) return 'setup';
  return passwords.length ? 'password' : undefined;
}

/** Fills a form in, by what its fields say they are. */
export function fill(form, { user, password, code }) {
  const values = {};
  for (const field of form.fields) {
    if (field.type === 'hidden' || field.type === 'submit') continue;
    if (field.autocomplete.includes('one-time-code')) values[field.name] = code;
    else if (field.type === 'password') values[field.name] = password;
    else if (field.autocomplete.includes('username') || /user|name/.test(field.name)) values[field.name] = user;
  }
  return values;
}

export const findForm = (page, kind) => forms(page.text).find((form) => asks(form) === kind);

/** Walks through the sign-in pages, from wherever `page` stands. `person`: { name, password, phone }. */
export async function signInByPages(client, page, person) {
  for (let step = 0; step < 4; step += 1) {
    const code = findForm(page, 'code');
    const password = findForm(page, 'password');
    if (code) page = await client.submit(page, code, fill(code, { code: await person.phone.code() }));
    else if (password) page = await client.submit(page, password, fill(password, { user: person.name, password: person.password }));
    else return page;
  }
  throw new Error(`still asked to sign in: ${page.status} ${page.url}\n${page.text.slice(0, 2000)}`);
}

/** Signs in on the portal by its JSON API; the cookie is in the jar afterwards. */
export async function signIn(client, portal, person) {
  const first = await client.api(`${portal}/.portcullis/api/v1/login`, { username: person.name, password: person.password });
  assert.equal(first.status, 200, `login: ${first.status} ${first.text}`);
  const step = first.json();
  assert.equal(step.state, 'second_factor', first.text);
  assert(step.methods.includes('totp'), first.text);
  const second = await client.api(`${portal}/.portcullis/api/v1/login/totp`, { ticket: step.ticket, code: await person.phone.code() });
  assert.equal(second.status, 200, `totp: ${second.status} ${second.text}`);
  assert.equal(second.json().state, 'authenticated', second.text);
  return second.json();
}
