// Samples of stacks, as `perf script` prints them, and the picture of them: no script, nothing from elsewhere.

const WIDTH = 1200;
const ROW = 16;
/** What is narrower is left out, in pixels. */
const LEAST = 1.5;
/** Whose code a frame is, by its name: the colour, and what the legend says. */
const OWNERS = [
  ['portcullis', '#e8833a', /^<?portcullis|^<.* as portcullis|[< ]portcullis::/],
  ['hyper, h2, http', '#5b9bd5', /^<?(hyper|h2|http|httparse|http_body)(_util)?::|^<(hyper|h2|http)/],
  ['TLS, cryptography', '#8b7fc7', /rustls|aws_lc|_aesni|gcm|sha256|ecp_/i],
  ['tokio, mio', '#69a86b', /^<?(tokio|mio|tokio_util|tokio_rustls|futures)(_\w+)?::/],
  ['everything else', '#b0aaa2', /^/],
];
/** Known by its addresses. */
const KERNEL = ['the kernel', '#c9a227'];
const ALL = [...OWNERS.slice(0, -1), KERNEL, ...OWNERS.slice(-1)];

/** One name for all forms of a function: no hash, no types. */
function plain(symbol) {
  let name = symbol.replace(/::h[0-9a-f]{16}$/, '').replace(/\+0x[0-9a-f]+$/, '').replace(/\.llvm\.\d+$/, '');
  for (let last = ''; last !== name;) {
    last = name;
    name = name.replace(/(::)?<(?![^<>]* as )[^<>]*>(?=(::|$|>|,|\)| ))/g, (all, _colons, _next, at) => (at === 0 ? all : ''));
  }
  return name.replace(/::\{\{closure\}\}/g, '{}').slice(0, 200);
}

/** The stacks of `perf script -F comm,ip,sym`, root first, with how often each was seen. */
export function fold(text) {
  const counts = new Map();
  for (const block of text.split(/\n\n+/)) {
    const [head, ...lines] = block.split('\n').filter((it) => it.trim());
    if (!head || !lines.length) continue;
    const frames = lines.map((line) => {
      const [, address, symbol] = /^\s*([0-9a-f]+)\s+(.*)$/.exec(line) ?? [];
      if (!symbol || symbol.startsWith('[unknown]')) return null;
      return { name: plain(symbol), kernel: address.length >= 16 && address.startsWith('ffff') };
    }).filter(Boolean);
    if (!frames.length) continue;
    const key = JSON.stringify(frames.reverse().map((it) => [it.name, it.kernel]));
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => ({ frames: JSON.parse(key), count }));
}

/** The stacks as a tree: how often each frame was on the way. */
function tree(stacks) {
  const root = { name: 'all', kernel: false, count: 0, children: new Map() };
  for (const { frames, count } of stacks) {
    let node = root;
    node.count += count;
    for (const [name, kernel] of frames) {
      if (!node.children.has(name)) node.children.set(name, { name, kernel, count: 0, children: new Map() });
      node = node.children.get(name);
      node.count += count;
    }
  }
  return root;
}

const escape = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const ownerOf = (node) => (node.kernel ? KERNEL : OWNERS.find((it) => it[2].test(node.name)));

/** Whose frame was running, over all samples: each owner's share. */
function shares(stacks) {
  const sums = new Map(ALL.map((it) => [it[0], 0]));
  let all = 0;
  for (const { frames, count } of stacks) {
    const [name, kernel] = frames.at(-1);
    const [owner] = ownerOf({ name, kernel });
    sums.set(owner, sums.get(owner) + count);
    all += count;
  }
  return [...sums].map(([owner, count]) => [owner, (100 * count) / all]);
}

/** The picture. The root lies at the bottom; a frame's width is how often it was on the stack. */
export function draw(stacks, title) {
  const root = tree(stacks);
  const boxes = [];
  let deepest = 0;
  const place = (node, x, depth) => {
    const width = (node.count / root.count) * WIDTH;
    if (width < LEAST) return;
    deepest = Math.max(deepest, depth);
    boxes.push({ node, x, depth, width });
    let at = x;
    for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      place(child, at, depth + 1);
      at += (child.count / root.count) * WIDTH;
    }
  };
  place(root, 0, 0);
  const height = (deepest + 1) * ROW + 70;
  const out = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11" role="img">`,
    `<title>${escape(title)}</title><rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="8" y="20" font-size="15">${escape(title)}; ${root.count} samples</text>`];
  let x = 8;
  for (const [owner, share] of shares(stacks)) {
    const [, colour] = ALL.find((it) => it[0] === owner);
    const label = `${owner} ${share.toFixed(0)} %`;
    out.push(`<rect x="${x}" y="32" width="12" height="12" fill="${colour}"/><text x="${x + 16}" y="42">${escape(label)}</text>`);
    x += 40 + label.length * 6;
  }
  for (const { node, x: left, depth, width } of boxes) {
    const y = height - (depth + 1) * ROW - 4;
    const short = node.name.split('::').slice(-2).join('::');
    const room = Math.floor((width - 4) / 6);
    const text = room >= 4 ? `<text x="${(left + 2).toFixed(1)}" y="${y + 11}">${escape(short.slice(0, room))}</text>` : '';
    out.push(`<g><title>${escape(node.name)} ${((100 * node.count) / root.count).toFixed(1)} %</title>`
      + `<rect x="${left.toFixed(1)}" y="${y}" width="${Math.max(0.5, width - 0.4).toFixed(1)}" height="${ROW - 1}" fill="${ownerOf(node)[1]}"/>${text}</g>`);
  }
  out.push('</svg>', '');
  return out.join('\n');
}
