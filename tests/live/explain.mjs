// `explain` and the running gateway say the same: a generated table of hosts, paths, methods, users and levels is asked of
// both. PORTCULLIS_SEED changes which part of the table is asked; a few rows of every kind always are.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { Gateway, PASSWORD } from './lib/gateway.mjs';
import { signIn } from './lib/http.mjs';
import { handshake } from './lib/sio.mjs';
import { echoTenant } from './lib/tenants.mjs';

const SEED = Number(process.env.PORTCULLIS_SEED ?? Date.now() % 1e9);
const ROWS = Number(process.env.PORTCULLIS_ROWS ?? 400);

const HOSTS = ['plain', 'rules', 'few', 'open', 'strict', 'mixed', 'nobody', 'manager', 'auth', 'elsewhere'];
const PATHS = [
  '/mirror', '/open/mirror', '/open/../mirror', '/open%2fmirror', '/one/mirror', '/admin/mirror', '/%61dmin/mirror', '//admin', '/ADMIN/mirror', '/hw/x', '/crew/mirror',
  '/none/x', '/fresh/mirror', '/%zz', '/a%00b', '/.portcullis/jwks.json', '/socket.io/?EIO=4&transport=polling', '/socket.io/?EIO=3&transport=polling', '/mirror?x=/open', '/open/a%20b',
];
const METHODS = ['GET', 'POST', 'HEAD', 'DELETE', 'PROPFIND', 'TRACE', 'WEBSOCKET'];
/** Who asks, and how strongly they can have signed in: those at level 1 have no second factor. */
const PEOPLE = [null, { name: 'ann', level: 2, groups: 'crew' }, { name: 'abe', level: 1, groups: 'crew' }, { name: 'bob', level: 2, groups: 'staff' }, { name: 'ben', level: 1, groups: 'staff' }];

/** In a person's place: nobody, over plain HTTP. */
const PLAIN = Symbol('plain');

/** A rule per line; hosts by their label. */
const rules = (gate) => [
  { hosts: ['rules', 'mixed', 'strict', 'open'], paths: ['/open/*', '/open'], policy: 'open' },
  { hosts: ['open'], policy: 'open' },
  { hosts: ['rules'], paths: ['/one/*'], policy: 'one-factor' },
  { hosts: ['rules'], paths: ['/admin/*'], users: ['bob'], policy: 'two-factor' },
  { hosts: ['rules'], paths: ['/admin/*'], users: ['nobody-else'], policy: 'two-factor' },
  { hosts: ['rules'], paths: ['/hw/*'], policy: 'hardware-key' },
  { hosts: ['rules'], paths: ['/crew/*'], groups: ['crew'], methods: ['GET', 'HEAD'], policy: 'one-factor' },
  { hosts: ['rules'], paths: ['/none/*'], networks: ['10.0.0.0/8'], policy: 'open' },
  { hosts: ['rules'], paths: ['/fresh/*'], max_age: '1h', policy: 'one-factor' },
  { hosts: ['few'], groups: ['staff'], policy: 'one-factor' },
  { hosts: ['mixed'], pages: 'one-factor', sockets: 'two-factor', policy: 'one-factor' },
].map((rule) => ['[[rule]]', ...Object.entries({ ...rule, hosts: rule.hosts.map((label) => gate.host(label)) }).map(([key, value]) => `${key} = ${JSON.stringify(value)}`)].join('\n')).join('\n\n');

let gate;
let tenant;
const clients = new Map();

before(async () => {
  tenant = await echoTenant();
  gate = await Gateway.make({});
  gate.write({
    tenants: Object.fromEntries(HOSTS.slice(0, 6).map((label) => [label, label === 'strict' ? { url: tenant.url, more: 'policy = "two-factor"' } : tenant.url])),
    extra: rules(gate),
  });
  await gate.start();
  for (const person of PEOPLE) {
    if (!person) {
      clients.set(person, gate.newClient('a stranger'));
      continue;
    }
    let client;
    if (person.level === 2) {
      client = await gate.signedIn(await gate.person(person.name, { groups: person.groups }));
    } else {
      await gate.done(['user', 'add', person.name, '--password-stdin', '--groups', person.groups], { input: `${PASSWORD}\n` });
      client = gate.newClient(person.name);
      const said = await client.api(`${gate.portal}/.portcullis/api/v1/login`, { username: person.name, password: PASSWORD });
      assert.equal(said.json().state, 'authenticated', said.text);
    }
    clients.set(person, client);
    // Signed in on every host where there is something that they may see.
    for (const label of HOSTS.slice(0, 6)) {
      for (const path of ['/mirror', '/one/mirror', '/crew/mirror']) await client.visit(gate.url(label, path)).catch(() => {});
    }
  }
});
after(async () => {
  await gate?.close();
  await tenant?.close();
});

function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Its library makes a URL of the path, and so never sends dot segments; and it cannot be sent elsewhere. */
const canSocket = (label, path) => label !== 'elsewhere' && !path.includes('/../');

const hostOf = (label) => (label === 'elsewhere' ? 'elsewhere.example' : gate.host(label));

/** What the gateway answers: the status, the JSON's error, and whether the tenant heard of it and as whom. */
async function asked({ label, path, method, person, plain }) {
  if (plain) return overPlainHttp(label, path, method);
  const client = clients.get(person);
  const heard = tenant.asked.length;
  if (method === 'WEBSOCKET') {
    const socket = await handshake(gate, client, label, path);
    socket.socket?.terminate();
    return { status: socket.status ?? 101, error: errorOf(socket.body), reached: Boolean(socket.socket) || tenant.asked.length > heard };
  }
  const url = `https://${hostOf(label)}:${gate.port}`;
  if (label === 'elsewhere') return client.request(url).then(() => ({ status: 'a handshake' }), (error) => ({ status: error.code }));
  const answer = await client.request(`${url}/`, {
    path, method,
    headers: { accept: 'application/json', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty', 'sec-fetch-site': 'same-origin', origin: url },
    ...(method === 'POST' ? { body: '{}' } : {}),
  });
  return { status: answer.status, error: errorOf(answer.text), reached: tenant.asked.length > heard, as: tenant.asked.at(-1)?.headers['remote-user'] };
}

function overPlainHttp(label, path, method) {
  const heard = tenant.asked.length;
  const headers = { host: `${hostOf(label)}:${gate.plain}`, ...(method === 'WEBSOCKET' ? { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' } : {}) };
  return new Promise((resolve, reject) => {
    const done = (answer) => {
      answer.resume();
      resolve({ status: answer.statusCode, reached: tenant.asked.length > heard, location: answer.headers.location });
    };
    http.request({ host: '127.0.0.1', port: gate.plain, path, method: method === 'WEBSOCKET' ? 'GET' : method, headers, agent: false }, done)
      .on('upgrade', (answer, socket) => (socket.destroy(), done(answer)))
      .on('error', reject)
      .end();
  });
}

function errorOf(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return undefined;
  }
}

/** Whether what was answered is what `explain` said. */
function agrees(said, got, { person, method, path }) {
  const head = method === 'HEAD';
  switch (said.answer) {
    case 'forwarded':
    case 'forwarded_as_nobody':
      // The real socket.io answers what is asked of it before the tenant writes it down; `/mirror` takes no sockets.
      if (path.startsWith('/socket.io/')) return got.reached || got.status < 300 || (got.error === undefined && got.status === 400);
      if (method === 'WEBSOCKET') return got.reached || got.status === 502;
      return got.reached && (got.as ?? null) === (said.answer === 'forwarded' ? person.name : null);
    case 'sign_in':
    case 'nobody_there':
      return !got.reached && got.status === 401 && (head || got.error === 'not_signed_in');
    case 'step_up':
      return !got.reached && got.status === 401 && (head || got.error === 'level');
    case 'no_certificate':
      return got.status === 'EPROTO';
    case 'portal':
    case 'gateway':
      return !got.reached && got.status !== 502;
    default:
      return !got.reached && got.status === said.status;
  }
}

test(`${ROWS} rows of a generated table (seed ${SEED})`, { timeout: 400_000 }, async (t) => {
  const table = HOSTS.flatMap((label) => PATHS.flatMap((path) => METHODS.filter((method) => method !== 'WEBSOCKET' || canSocket(label, path)).flatMap((method) => [...PEOPLE, PLAIN].map((person) => (person === PLAIN ? { label, path, method, person: null, plain: true } : { label, path, method, person })))));
  const random = chance(SEED);
  for (let i = table.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    [table[i], table[j]] = [table[j], table[i]];
  }
  // One row of each host and person always, so that every kind of answer is there whatever the seed; of the others, where
  // the rules are is where there is something to disagree about.
  const always = ({ path, method }) => path === '/mirror' && method === 'GET';
  const certain = table.filter(always);
  const half = (inRules) => table.filter((row) => !always(row) && ['rules', 'mixed'].includes(row.label) === inRules).slice(0, (ROWS - certain.length) / 2);
  const rows = [...certain, ...half(true), ...half(false)];
  const tally = {};
  const wrong = [];
  for (const row of rows) {
    const { label, path, method, person } = row;
    const scheme = `${method === 'WEBSOCKET' ? 'ws' : 'http'}${row.plain ? '' : 's'}`;
    const args = ['explain', `${scheme}://${hostOf(label)}:${row.plain ? gate.plain : gate.port}${path}`, '--json'];
    if (method !== 'WEBSOCKET') args.push('--method', method);
    // Who was given no ticket for a host is a stranger there.
    if (person && clients.get(person).cookie(hostOf(label))) args.push('--user', person.name, '--level', String(person.level));
    const out = await gate.done(args);
    const said = JSON.parse(out);
    const got = await asked(row);
    tally[said.answer] = (tally[said.answer] ?? 0) + 1;
    if (!agrees(said, got, row)) wrong.push(`${method} ${scheme}://${hostOf(label)}${path} as ${person?.name ?? 'nobody'}: explain says ${said.answer} (${said.message}), the gateway ${JSON.stringify(got)}`);
  }
  t.diagnostic(JSON.stringify(tally));
  assert.deepEqual(wrong, []);
  for (const answer of ['forwarded', 'forwarded_as_nobody', 'sign_in', 'step_up', 'forbidden', 'malformed', 'nobody_there', 'nowhere', 'to_tls', 'no_certificate']) assert(tally[answer], `no row was answered by ${answer}`);
});
