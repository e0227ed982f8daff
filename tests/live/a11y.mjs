// Every page of the gallery for who does not look at it with a mouse in hand: axe finds nothing; at 320 px, at 200 % zoom
// and with text twice as large nothing is cut off or lies over something else; everything can be reached and seen by
// keyboard alone, in reading order, and left again; and what a screen reader is told makes sense.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import * as gallery from './lib/gallery.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const names = gallery.names();

let open;
before(async () => {
  open = await gallery.open();
});
after(() => open?.close());

/** Looks at every page in one kind of window; gives what is wrong, in words. */
async function each(options, look) {
  const context = await open.browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const found = [];
  for (const name of names) {
    await page.goto(`${open.origin}/${name}`, { waitUntil: 'load' });
    for (const fault of await look(page, name)) found.push(`${name}: ${fault}`);
  }
  await context.close();
  assert.deepEqual(found, []);
}

describe('axe', () => {
  for (const colorScheme of ['light', 'dark']) {
    test(`finds nothing on any page, ${colorScheme}`, { timeout: 120_000 }, () => each({ colorScheme }, async (page) => {
      await page.evaluate(axe);
      return page.evaluate(async (tags) => {
        const { violations, passes } = await window.axe.run(document, { runOnly: tags });
        if (passes.length < 10) return [`axe looked at little: ${passes.length} rules`];
        return violations.map((it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => node.target.join(' ')).join('; ')}`);
      }, TAGS);
    }));
  }
});

/* Runs in the page: what is cut off, sticks out, or lies over other text. */
function squeezed() {
  const found = [];
  const root = document.documentElement;
  const say = (node) => `"${node.data.trim().slice(0, 40)}"`;
  if (root.scrollWidth > root.clientWidth) found.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);
  const lines = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const holder = node.parentElement;
    if (!node.data.trim() || holder.closest('svg, option, noscript') || !holder.checkVisibility({ visibilityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width < 1 || box.height < 1) continue;
      if (box.right > root.clientWidth + 1 || box.left < -1) found.push(`sticks out: ${say(node)}`);
      lines.push({ node, box });
    }
    for (let at = holder; at && at !== document.body; at = at.parentElement) {
      const style = getComputedStyle(at);
      const hides = (value) => value === 'hidden' || value === 'clip';
      if (hides(style.overflowX) && at.scrollWidth > at.clientWidth + 1 && at.clientWidth > 1) found.push(`cut off sideways: ${say(node)}`);
      if (hides(style.overflowY) && at.scrollHeight > at.clientHeight + 1 && at.clientHeight > 1) found.push(`cut off below: ${say(node)}`);
    }
  }
  for (const [i, one] of lines.entries()) {
    for (const other of lines.slice(i + 1)) {
      if (one.node === other.node) continue;
      const wide = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const high = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      // Lines of one paragraph may touch: their boxes are a little higher than their letters.
      if (wide > 2 && high > 0.4 * Math.min(one.box.height, other.box.height)) found.push(`${say(one.node)} lies over ${say(other.node)}`);
    }
  }
  return found;
}

/** As the page comes, and with all that can be unfolded unfolded. */
async function folds(page) {
  const folded = await page.evaluate(squeezed);
  const there = await page.evaluate(() => {
    const all = [...document.querySelectorAll('details')];
    for (const it of all) it.open = true;
    return all.length > 0;
  });
  return there ? [...folded, ...(await page.evaluate(squeezed)).map((it) => `unfolded, ${it}`)] : folded;
}

describe('nothing is cut off or lies over something else', () => {
  test('at 320 px', { timeout: 60_000 }, () => each({ viewport: { width: 320, height: 640 } }, folds));

  // What a browser's zoom does: half as many CSS pixels, each twice as large.
  test('at 200 % zoom', { timeout: 60_000 }, () => each({ viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }, folds));

  test('at 400 % zoom', { timeout: 60_000 }, () => each({ viewport: { width: 320, height: 256 }, deviceScaleFactor: 4 }, folds));

  test('with text twice as large', { timeout: 60_000 }, () => each({}, async (page) => {
    await page.evaluate(() => {
      document.documentElement.style.fontSize = '200%';
    });
    return folds(page);
  }));

  test('with the spacing that readers set for themselves (WCAG 1.4.12)', { timeout: 60_000 }, () => each({ viewport: { width: 360, height: 740 } }, async (page) => {
    await page.evaluate(() => {
      for (const it of document.querySelectorAll('body, body *')) {
        if (it.closest('svg')) continue;
        it.style.lineHeight = '1.5';
        it.style.letterSpacing = '0.12em';
        it.style.wordSpacing = '0.16em';
      }
    });
    return folds(page);
  }));
});

/* Runs in the page: everything that can be pressed or filled in, in reading order. */
function reachable() {
  const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]')];
  const there = all.filter((it) => !it.disabled && it.tabIndex >= 0 && it.checkVisibility({ visibilityProperty: true }));
  // Of radio buttons with one name the Tab key stops at one: the chosen one, or the first.
  return there.filter((it) => {
    if (it.type !== 'radio') return true;
    const group = there.filter((other) => other.type === 'radio' && other.name === it.name);
    return it === (group.find((other) => other.checked) ?? group[0]);
  }).map((it, n) => {
    it.dataset.stop = String(n);
    return it.textContent.trim() || it.id || it.name;
  });
}

/* Runs in the page: where the keyboard is, and whether one sees that. */
function stop() {
  const at = document.activeElement;
  if (!at || at === document.body || at === document.documentElement) return null;
  const style = getComputedStyle(at);
  const ring = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== 'none';
  const box = at.getBoundingClientRect();
  const inside = box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight + 1 && box.right <= innerWidth + 1;
  const front = document.elementFromPoint(box.left + box.width / 2, box.top + Math.min(box.height / 2, 10));
  const hidden = inside && front && front !== at && !at.contains(front) && !front.contains(at);
  return { n: at.dataset.stop === undefined ? -1 : Number(at.dataset.stop), ring, inside: inside || box.height > innerHeight, hidden };
}

describe('by keyboard alone', () => {
  test('everything is reached in reading order, seen, and left again', { timeout: 180_000 }, () => each({ viewport: { width: 640, height: 400 } }, async (page) => {
    const found = [];
    const stops = await page.evaluate(reachable);
    if (stops.length === 0) return found;
    // A page may begin further down, in its first field: what is above is reached backwards.
    await page.keyboard.press('Shift');
    await page.evaluate(() => document.querySelector('[data-stop="0"]').focus());
    for (const [n, name] of stops.entries()) {
      if (n > 0) await page.keyboard.press('Tab');
      const at = await page.evaluate(stop);
      if (at?.n !== n) {
        found.push(`Tab ${n + 1} should reach "${name}" and reaches "${stops[at?.n] ?? 'nothing'}"`);
        break;
      }
      if (!at.ring) found.push(`"${name}" does not show that it has the focus`);
      if (!at.inside) found.push(`"${name}" is not in the window when it has the focus`);
      if (at.hidden) found.push(`"${name}" is behind something when it has the focus`);
    }
    await page.keyboard.press('Tab');
    if (found.length === 0 && stops.length > 1 && (await page.evaluate(stop))?.n === stops.length - 1) found.push('a trap at the end');
    return found;
  }));
});

/** What a screen reader is told of a page, judged. */
function judged(nodes) {
  const found = [];
  const told = nodes.filter((it) => !it.ignored);
  const role = (it) => it.role?.value;
  const name = (it) => (it.name?.value ?? '').trim();
  const property = (it, key) => it.properties?.find((one) => one.name === key)?.value?.value;
  const of = (...roles) => told.filter((it) => roles.includes(role(it)));
  if (of('main').length !== 1) found.push(`${of('main').length} main landmarks`);
  const levels = of('heading').map((it) => Number(property(it, 'level')));
  if (levels.filter((it) => it === 1).length !== 1) found.push(`headings of levels ${levels}`);
  levels.forEach((level, n) => {
    if (level > (n === 0 ? 1 : levels[n - 1] + 1)) found.push(`a heading of level ${level} after ${levels[n - 1] ?? 'nothing'}`);
  });
  for (const it of of('link', 'button', 'textbox', 'checkbox', 'radio', 'combobox', 'searchbox', 'spinbutton', 'image', 'img', 'navigation', 'table', 'group')) {
    if (role(it) !== 'group' && !name(it)) found.push(`a ${role(it)} without a name`);
  }
  for (const it of of('textbox')) {
    if (property(it, 'invalid') === 'true' && !it.description?.value) found.push(`"${name(it)}" is wrong and does not say why`);
  }
  const names = of('link').map(name);
  for (const vague of ['here', 'more', 'click here', 'link']) if (names.some((it) => it.toLowerCase() === vague)) found.push(`a link called "${vague}"`);
  return found;
}

describe('what a screen reader is told', () => {
  test('has one main part, headings in order, and a name for everything', { timeout: 60_000 }, () => each({}, async (page) => {
    const session = await page.context().newCDPSession(page);
    const { nodes } = await session.send('Accessibility.getFullAXTree');
    await session.detach();
    return judged(nodes);
  }));

  test('has a title and a language', { timeout: 60_000 }, () => each({}, (page) => page.evaluate(() => {
    const found = [];
    if (!document.documentElement.lang) found.push('no language');
    if (!document.title.trim()) found.push('no title');
    return found;
  })));
});
