// The other reading of every packet: the official engine.io-parser and socket.io-parser. Each line that comes holds
// conversations as the guard judged them, with its own reading of each packet; each line that goes says how many packets were
// read alike, what was read otherwise, and what the official parsers make of those that the guard refused.
import { createRequire } from 'node:module';
import { parse } from 'node:url';

const require = createRequire(new URL('../live/package.json', import.meta.url));
const four = require('engine.io-parser');
const three = require('engine.io-parser-3');

/** The official parsers of both versions, called alike. */
const VERSIONS = {
  4: {
    Decoder: require('socket.io-parser').Decoder,
    packet: (it) => four.decodePacket(it, 'nodebuffer'),
    payload: (it) => four.decodePayload(it, 'nodebuffer'),
    held: (decoder) => decoder.reconstructor?.packet,
    namespace: (it) => it.nsp,
  },
  3: {
    Decoder: require('socket.io-parser-3').Decoder,
    packet: (it) => three.decodePacket(it, 'nodebuffer'),
    payload: (it) => {
      const found = [];
      three.decodePayload(it, 'nodebuffer', (packet) => { found.push(packet); });
      return found;
    },
    held: (decoder) => decoder.reconstructor?.reconPack,
    // As socket.io 2 reads it, which takes what is behind it for a query.
    namespace: (it) => (it.type === 0 ? parse(it.nsp).pathname : it.nsp),
  },
};

const UP = 0;
// Past the decoder's own limit of 10 a server closes what the guard lets through; here it is the readings that count.
const MOST_ATTACHMENTS = 256;
const STRINGS = ['clientId', 'tabId', 'pathName', 'pageName'];
const CHANNELS = ['uiBuilderClient', 'uiBuilderControl'];
const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];
const TYPES = { 0: 'open', 1: 'close', 2: 'ping', 3: 'pong', 4: 'message', 5: 'upgrade', 6: 'noop' };

const bits = new DataView(new ArrayBuffer(8));
const own = (object, key) => Object.prototype.hasOwnProperty.call(object, key);
const isObject = (it) => typeof it === 'object' && it !== null && !Array.isArray(it) && !Buffer.isBuffer(it);

/** One spelling for equal values: keys sorted by UTF-16 unit, numbers by their bits. */
function canon(value) {
  if (value === undefined) return '';
  if (Buffer.isBuffer(value)) return `<${value.toString('hex')}>`;
  if (typeof value === 'number') {
    bits.setFloat64(0, value);
    return `#${bits.getBigUint64(0).toString(16)}`;
  }
  if (Array.isArray(value)) return `[${value.map(canon).join()}]`;
  if (isObject(value)) return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canon(value[key])}`).join()}}`;
  return JSON.stringify(value);
}

const without = (object, ...keys) => Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));

/** One official decoder, which tells what it holds of a packet whose attachments are still due. */
class Track {
  constructor(version) {
    this.version = version;
    this.decoder = new version.Decoder({ maxAttachments: MOST_ATTACHMENTS });
    this.decoder.on('decoded', (packet) => { this.whole = packet; });
  }

  /** What it reads in an Engine.IO packet; throws where it refuses. */
  take(packet) {
    this.whole = undefined;
    this.decoder.add(packet);
    const found = this.whole ?? this.version.held(this.decoder);
    // (Version 3's decoder still calls them binary when their bytes are in.)
    return found && { ...found, type: { 5: 2, 6: 3 }[found.type] ?? found.type };
  }

  text(text) {
    const { type, data } = this.version.packet(text);
    if (type !== 'message' || typeof data !== 'string') throw new Error(`no message but ${type}`);
    return this.take(data);
  }
}

class Conversation {
  constructor(it, lists) {
    const version = VERSIONS[it.version ?? 4];
    const track = () => new Track(version);
    Object.assign(this, { it, lists, version, sent: [track(), track()], passed: [track(), track()] });
    this.sids = new Map();
    this.open = new Set();
    this.alike = 0;
    this.rewritten = 0;
    this.refusedThere = null;
  }

  /** Reads it all. What is read otherwise, if anything is. */
  play(refused) {
    for (const step of this.it.steps) {
      const wrong = this[step.t](step, refused);
      if (wrong) return `${wrong} in ${JSON.stringify(step)}`;
      if (this.refusedThere) return null;
      this.alike += step.t === 'dropped' || step.t === 'refused' ? 0 : 1;
      this.rewritten += typeof step.o === 'string' && step.o !== step.s ? 1 : 0;
    }
    return null;
  }

  /** A packet of the transport's own. */
  transport({ s }) {
    const { type, data } = this.version.packet(s);
    return type !== TYPES[s[0]] || (data ?? '') !== s.slice(1) ? `the transport's ${type}` : null;
  }

  /** An open packet: the sealed id in place of the own one, and nothing else. */
  opened({ s, o, sid }) {
    const [was, is] = [s, o].map((text) => JSON.parse(this.version.packet(text).data));
    return canon(is) !== canon({ ...was, sid }) || typeof was.sid !== 'string' ? 'an open packet' : null;
  }

  /** A polling body: the same packets as ours, before and after. */
  body({ s, packets, o, left, bytes }) {
    for (const [text, list] of [[s, packets], [o, left]]) {
      if (text === '') continue;
      const theirs = this.version.payload(bytes ? Buffer.from(text, 'hex') : text);
      if (theirs.length !== list.length) return `${theirs.length} packets instead of ${list.length}`;
      for (const [at, { type, data }] of theirs.entries()) {
        const ours = list[at];
        const [kind, rest] = ours.startsWith('b') ? ['message', Buffer.from(ours.slice(1), 'hex')] : [TYPES[ours[0]], ours.slice(1)];
        if (type !== kind || canon(data ?? '') !== canon(rest)) return `packet ${at} of a body`;
      }
    }
    return null;
  }

  /** What goes nowhere is read by nobody. */
  dropped() {
    return null;
  }

  /** A Socket.IO packet `s` that goes on as `o`; `read` is our own reading of `s`. */
  message({ w, s, o, read, seal }) {
    let theirs;
    try {
      theirs = this.sent[w].text(s);
    } catch (error) {
      // A tenant's events are not looked into: its page refuses what is broken.
      if (w !== UP && (read.type === 2 || read.type === 3 || read.type === 4)) return this.end(`down: ${error.message}`);
      return `refused there (${error.message})`;
    }
    const facts = [theirs.type, this.version.namespace(theirs), theirs.id ?? null, theirs.attachments ?? 0];
    const ours = [read.type, read.nsp, read.id, read.attachments];
    if (canon(facts) !== canon(ours)) return `${JSON.stringify(facts)} instead of ${JSON.stringify(ours)}`;
    if (read.data !== null && canon(theirs.data) !== read.data) return `its data ${canon(theirs.data)} instead of ${read.data}`;
    const allowed = w === UP ? this.up({ ...theirs, nsp: facts[1] }) : this.down(theirs, seal);
    if (typeof allowed === 'string') return allowed;
    let arrived;
    try {
      arrived = this.passed[w].text(o);
    } catch (error) {
      return `what goes on is refused there (${error.message})`;
    }
    const after = [arrived.type, arrived.nsp, arrived.id ?? null, arrived.attachments ?? 0];
    if (canon(after) !== canon(facts)) return `what goes on is ${JSON.stringify(after)}`;
    if (allowed && !allowed.map(canon).includes(canon(arrived.data))) return `what goes on says ${canon(arrived.data)}`;
    if (w !== UP) this.learn(arrived);
    return null;
  }

  /** What may go on of a client's packet: a list of data, or what is wrong with it. */
  up({ type, nsp, data }) {
    if (type === 0) {
      const allow = this.it.allow;
      if (allow.length > 0 && !allow.includes(nsp)) return 'a namespace that is not allowed';
      if (this.open.has(nsp)) return 'CONNECT on an open namespace';
      this.sids.delete(nsp);
      return data === undefined ? [undefined] : this.connect(data);
    }
    if (type === 4) return 'CONNECT_ERROR from a client';
    if (!this.it.resumed && type !== 1 && !this.open.has(nsp)) return 'a namespace that is not open';
    if (type === 1) this.open.delete(nsp);
    return type === 2 ? this.event(nsp, data) : [data];
  }

  connect(data) {
    for (const key of STRINGS) {
      if (own(data, key) && typeof data[key] !== 'string' && data[key] !== null) return `auth.${key} is no string`;
    }
    const left = without(data, 'user', 'token');
    if (!own(left, 'pid')) return [left];
    const opened = typeof left.pid === 'string' && own(this.lists.pids, left.pid) ? this.lists.pids[left.pid] : undefined;
    const recovers = opened !== undefined && (!own(left, 'offset') || typeof left.offset === 'string');
    // (One that is written with escapes is worth nothing.)
    const nothing = without(left, 'pid', 'offset');
    return recovers ? [{ ...left, pid: opened }, nothing] : [nothing];
  }

  event(nsp, data) {
    const [name, message, ...rest] = data;
    if (typeof name !== 'string' || RESERVED.includes(name)) return 'the name of an event';
    const isUib = CHANNELS.includes(name);
    const told = data.length > 1;
    if (isUib && this.it.annotate) {
      const auth = JSON.parse(this.it.annotate);
      if (Array.isArray(message)) return 'a list to annotate';
      if (!told) return [[name, { _auth: auth }]];
      if (!isObject(message) || own(message, '_placeholder')) return [[name, { payload: message, _auth: auth }, ...rest]];
      return this.cleaned(nsp, message).map((it) => [name, { ...without(it, '_auth'), _auth: auth }, ...rest]);
    }
    if (!isObject(message)) return [data];
    const kept = isUib ? this.cleaned(nsp, message) : [message];
    const auth = message._auth;
    if (!own(message, '_auth') || !isObject(auth) || typeof auth.jwt !== 'string') return kept.map((it) => [name, it, ...rest]);
    const bare = kept.map((it) => [name, { ...it, _auth: without(auth, 'jwt') }, ...rest]);
    return this.lists.tokens.includes(auth.jwt) ? bare : [...bare, ...kept.map((it) => [name, it, ...rest])];
  }

  /** A message to uibuilder without what nobody may say. */
  cleaned(nsp, message) {
    const left = without(message, '_client');
    const bare = without(left, '_socketId');
    return own(left, '_socketId') && typeof left._socketId === 'string' && left._socketId === this.sids.get(nsp) ? [left] : [bare];
  }

  down({ type, data }, seal) {
    if (type !== 0 || data === undefined || !own(data, 'pid')) return null;
    // (One that is written with escapes is taken out.)
    const nothing = without(data, 'pid');
    return seal === null ? [nothing] : [{ ...data, pid: seal }, nothing];
  }

  learn({ type, nsp, data }) {
    if (type === 0) {
      this.open.add(nsp);
      if (typeof data?.sid === 'string') this.sids.set(nsp, data.sid);
      else this.sids.delete(nsp);
    } else if (type === 1 || (type === 4 && this.it.version !== 3)) {
      this.open.delete(nsp);
    }
  }

  /** A WebSocket's binary message of version 3. */
  frame({ hex }) {
    const { type, data } = this.version.packet(Buffer.from(hex, 'hex'));
    return type !== 'message' || data.toString('hex') !== hex.slice(2) ? `bytes that are a ${type}` : null;
  }

  /** A binary message that goes on. */
  binary({ w, hex }) {
    const bytes = Buffer.from(hex, 'hex');
    let theirs;
    try {
      theirs = this.sent[w].take(bytes);
    } catch (error) {
      // Which placeholder stands for which attachment is not looked into.
      return error.message === 'illegal attachments' ? this.end(error.message) : `refused there (${error.message})`;
    }
    let arrived;
    try {
      arrived = this.passed[w].take(Buffer.from(bytes));
    } catch (error) {
      return `what goes on is refused there (${error.message})`;
    }
    return canon([theirs.type, theirs.nsp, theirs.id]) !== canon([arrived.type, arrived.nsp, arrived.id]) ? 'a packet with attachments' : null;
  }

  /** A packet of the gateway's own. */
  ours({ w, s, nsp, type }) {
    let arrived;
    try {
      arrived = this.passed[w].text(s);
    } catch (error) {
      return `one of ours is refused (${error.message})`;
    }
    return arrived.nsp !== nsp || arrived.type !== type ? 'one of ours' : null;
  }

  /** What the guard refused: would it have been taken here? */
  refused({ w, s, body, bytes, hex, why }, refused) {
    let accepts = true;
    try {
      if (hex !== null) this.sent[w].take(Buffer.from(hex, 'hex'));
      const packets = body ? this.version.payload(bytes ? Buffer.from(s, 'hex') : s) : hex === null ? [this.version.packet(s)] : [];
      for (const { type, data } of packets) {
        if (type === 'error') throw new Error('engine.io');
        if (type === 'message') this.sent[w].take(data);
      }
    } catch {
      accepts = false;
    }
    const count = (refused[why] ??= [0, 0]);
    count[accepts ? 0 : 1] += 1;
    return null;
  }

  end(why) {
    this.refusedThere = why;
    return null;
  }
}

/** Lines of the standard input, which ends with line breaks alone (a packet may hold U+2028). */
async function* lines() {
  let parts = [];
  for await (const chunk of process.stdin) {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      yield Buffer.concat([...parts, chunk.subarray(from, at)]).toString();
      [parts, from] = [[], at + 1];
    }
    parts.push(chunk.subarray(from));
  }
}

for await (const line of lines()) {
  const { lists, conversations } = JSON.parse(line);
  const answer = { alike: 0, rewritten: 0, wrong: [], refused: {}, there: {} };
  for (const it of conversations) {
    const conversation = new Conversation(it, lists);
    let wrong;
    try {
      wrong = conversation.play(answer.refused);
    } catch (error) {
      wrong = `the oracle fell over: ${error.stack}`;
    }
    answer.alike += conversation.alike;
    answer.rewritten += conversation.rewritten;
    if (conversation.refusedThere) answer.there[conversation.refusedThere] = (answer.there[conversation.refusedThere] ?? 0) + 1;
    if (wrong) answer.wrong.push([it.seed, wrong]);
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
