// Screenshots of every page of the gallery (written by the unit tests of `portal::gallery`),
// at four widths and in two themes, with checks that a machine can make: nothing overflows
// sideways, all text and all field borders have contrast enough (WCAG 2.2, 1.4.3 and 1.4.11),
// what can be pressed is large enough (2.5.8), and the content policy stops nothing.
//
//   node tests/live/screens.mjs [name ...]      exit 0: all well, 1: something is listed

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as gallery from './lib/gallery.mjs';

const out = path.join(path.dirname(fileURLToPath(import.meta.url)), 'out', 'screens');
const SIZES = [[1280, 800], [768, 1024], [360, 740], [320, 640]];
const SHOWN = new Set([1280, 360]);

const names = gallery.names(process.argv.slice(2));
const { origin, browser, close } = await gallery.open();

/* Runs in the page: everything that is wrong with it, as sentences. */
function faults() {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`overflows: ${root.scrollWidth} > ${root.clientWidth}`);
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  const rgba = (text) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), rgba(getComputedStyle(root).backgroundColor));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((it) => {
      const c = it / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest('svg')) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ground = behind(element);
    const got = ratio(over(rgba(style.color), ground), ground);
    if (got < (large ? 3 : 4.5)) found.push(`contrast ${got.toFixed(2)}: "${node.data.trim().slice(0, 40)}"`);
    const box = element.getBoundingClientRect();
    if (box.right > root.clientWidth + 0.5) found.push(`sticks out: "${node.data.trim().slice(0, 40)}"`);
  }
  for (const field of document.querySelectorAll('input:not([type=hidden])')) {
    const style = getComputedStyle(field);
    const got = ratio(rgba(style.borderTopColor), behind(field.parentElement));
    if (got < 3) found.push(`border of #${field.id}: ${got.toFixed(2)}`);
    const text = ratio(rgba(style.color), behind(field));
    if (text < 4.5) found.push(`text of #${field.id}: ${text.toFixed(2)}`);
  }
  for (const target of document.querySelectorAll('button, .button, input:not([type=hidden])')) {
    const box = target.getBoundingClientRect();
    if (box.height < 24 || box.width < 24) found.push(`small target: ${target.textContent}`);
    target.focus();
    const style = getComputedStyle(target);
    if (target.matches(':focus-visible')) {
      const got = ratio(rgba(style.outlineColor), behind(target.parentElement));
      if (style.outlineStyle === 'none' || got < 3) found.push(`focus not visible: ${target.textContent || target.id} ${got.toFixed(2)}`);
    }
  }
  document.activeElement?.blur();
  if (document.querySelectorAll('h1').length !== 1) found.push('not one h1');
  if (getComputedStyle(document.querySelector('.wall')).position === 'static') found.push('the sheet did not load');
  return found;
}

fs.rmSync(out, { recursive: true, force: true });
fs.mkdirSync(out, { recursive: true });
let wrong = 0;
let looked = 0;
for (const theme of ['light', 'dark']) {
  for (const [width, height] of SIZES) {
    const context = await browser.newContext({
      colorScheme: theme,
      viewport: { width, height },
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    const complaints = [];
    page.on('console', (it) => it.type() === 'error' && complaints.push(it.text()));
    page.on('pageerror', (it) => complaints.push(String(it)));
    for (const name of names) {
      complaints.length = 0;
      await page.goto(`${origin}/${name}`, { waitUntil: 'load' });
      if (SHOWN.has(width)) await page.screenshot({ path: path.join(out, `${name}-${width}-${theme}.png`), fullPage: true });
      looked += 1;
      for (const fault of [...(await page.evaluate(faults)), ...complaints]) {
        wrong += 1;
        console.log(`${name} ${width} ${theme}: ${fault}`);
      }
    }
    await context.close();
  }
}
await close();
console.log(`${looked} looks at ${names.length} pages, ${wrong} faults; pictures in ${path.relative(process.cwd(), out)}`);
process.exit(wrong === 0 ? 0 : 1);
