// Counts of an instrumented program, from LLVM's raw form (`*.profraw` in the folder that is named) into its text form.
// The raw form changes with the compiler, and Debian's llvm-profdata is older than ours; the text form has stayed.
// Source: LLVM's compiler-rt/include/profile/InstrProfData.inc, raw version 10 (LLVM 22).
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { inflateSync } from 'node:zlib';

const VERSION = 10n;
const HEADER = ['magic', 'version', 'binaryIds', 'records', 'padBefore', 'counters', 'padAfter', 'bitmap', 'padBitmap', 'names', 'countersDelta'];
const HEADER_SIZE = 16 * 8;
const RECORD_SIZE = 64;
/** The kind of values that are functions called. */
const CALLS = 0;

/** A number in LEB128, and where it ends. */
function leb128(bytes, at) {
  for (let [value, shift] = [0, 0]; ; shift += 7) {
    const byte = bytes[at++];
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}

/** The names of functions by the numbers that records have of them. */
function namesIn(bytes) {
  const found = new Map();
  for (let at = 0; at < bytes.length;) {
    let [plain, packed] = [0, 0];
    [plain, at] = leb128(bytes, at);
    [packed, at] = leb128(bytes, at);
    const part = bytes.subarray(at, at + (packed || plain));
    at += part.length;
    for (const name of (packed ? inflateSync(part) : part).toString('latin1').split('\x01')) {
      found.set(createHash('md5').update(name, 'latin1').digest().readBigUInt64LE(0), name);
    }
    while (bytes[at] === 0) at += 1;
  }
  return found;
}

/** What was seen at each place of a function where a value was looked at: the functions called through pointers, the lengths copied. */
function valuesIn(bytes, at, names) {
  const found = new Map();
  const end = at + bytes.readUInt32LE(at);
  const kinds = bytes.readUInt32LE(at + 4);
  at += 8;
  for (let n = 0; n < kinds; n++) {
    const [kind, sites] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    const counts = bytes.subarray(at + 8, at + 8 + sites);
    at += 8 + Math.ceil(sites / 8) * 8;
    found.set(kind, Array.from(counts, (count) => {
      const seen = new Map();
      for (let i = 0; i < count; i++, at += 16) {
        const [value, times] = [bytes.readBigUInt64LE(at), bytes.readBigUInt64LE(at + 8)];
        // (A function without a record, of a library say, has no name here.)
        const what = kind === CALLS ? names.get(value) : String(value);
        if (what !== undefined) seen.set(what, (seen.get(what) ?? 0n) + times);
      }
      return seen;
    }));
  }
  return [found, end];
}

/** Adds the counts of one file to `sums`, by function. */
function add(bytes, sums) {
  const head = Object.fromEntries(HEADER.map((name, at) => [name, bytes.readBigUInt64LE(at * 8)]));
  const version = head.version & 0xffff_ffffn;
  if (version !== VERSION) throw new Error(`raw profiles of version ${version}; ${VERSION} is known here`);
  const size = (name) => Number(head[name]);
  const records = HEADER_SIZE + size('binaryIds');
  const counters = records + size('records') * RECORD_SIZE + size('padBefore');
  const names = counters + size('counters') * 8 + size('padAfter') + size('bitmap') + size('padBitmap');
  const known = namesIn(bytes.subarray(names, names + size('names')));
  const nameOf = (record) => {
    const name = known.get(bytes.readBigUInt64LE(record));
    if (name === undefined) throw new Error('a record without a name');
    return name;
  };
  const addresses = new Map();
  for (let at = 0; at < size('records'); at++) addresses.set(bytes.readBigUInt64LE(records + at * RECORD_SIZE + 32), nameOf(records + at * RECORD_SIZE));
  addresses.delete(0n);
  let values = names + Math.ceil(size('names') / 8) * 8;
  for (let at = 0; at < size('records'); at++) {
    const record = records + at * RECORD_SIZE;
    const hash = bytes.readBigUInt64LE(record + 8);
    // Each record says how far from itself its counters are.
    const from = counters + Number(BigInt.asIntN(64, bytes.readBigUInt64LE(record + 16) - head.countersDelta + BigInt(at * RECORD_SIZE)));
    const many = bytes.readUInt32LE(record + 48);
    const key = `${nameOf(record)}\n${hash}\n${many}`;
    const sum = sums.get(key) ?? { counts: new Array(many).fill(0n), values: new Map() };
    for (let n = 0; n < many; n++) sum.counts[n] += bytes.readBigUInt64LE(from + n * 8);
    if ([52, 54, 56].some((it) => bytes.readUInt16LE(record + it) > 0)) {
      let found;
      [found, values] = valuesIn(bytes, values, addresses);
      for (const [kind, sites] of found) {
        const all = sum.values.get(kind) ?? sites.map(() => new Map());
        sites.forEach((seen, site) => { for (const [what, times] of seen) all[site].set(what, (all[site].get(what) ?? 0n) + times); });
        sum.values.set(kind, all);
      }
    }
    sums.set(key, sum);
  }
}

/** The values of a function in the text form. */
function written(values) {
  if (values.size === 0) return '';
  const kinds = [...values].sort(([one], [other]) => one - other).map(([kind, sites]) => {
    const lines = sites.map((seen) => [seen.size, ...[...seen].map(([what, times]) => `${what}:${times}`)].join('\n'));
    return `${kind}\n${sites.length}\n${lines.join('\n')}\n`;
  });
  return `${values.size}\n${kinds.join('')}`;
}

const [folder] = process.argv.slice(2);
const sums = new Map();
for (const name of readdirSync(folder).filter((it) => it.endsWith('.profraw'))) add(readFileSync(path.join(folder, name)), sums);
if (!sums.size) throw new Error(`nothing was counted in ${folder}`);
process.stdout.write(':ir\n');
for (const [key, { counts, values }] of sums) if (counts.some((it) => it > 0n)) process.stdout.write(`${key}\n${counts.join('\n')}\n${written(values)}\n`);
