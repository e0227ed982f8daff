// Chromium in a home of its own, which trusts one CA more: nothing is told to ignore a certificate.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import jsqr from 'jsqr';
import { PNG } from 'pngjs';

const SHOTS = process.env.PORTCULLIS_SHOTS ?? path.resolve(new URL('.', import.meta.url).pathname, '../out');

/** A browser profile that trusts `ca`; `root` is a domain whose names are all on loopback; `noCookies`: it blocks all cookies. */
export async function openBrowser({ ca, root, noCookies = false, options = {} }) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'portcullis-home-'));
  const nssdb = path.join(home, '.pki', 'nssdb');
  fs.mkdirSync(nssdb, { recursive: true });
  execFileSync('certutil', ['-N', '--empty-password', '-d', `sql:${nssdb}`], { stdio: 'pipe' });
  execFileSync('certutil', ['-A', '-d', `sql:${nssdb}`, '-n', 'portcullis', '-t', 'C,,', '-i', ca], { stdio: 'pipe' });
  if (noCookies) {
    fs.mkdirSync(path.join(home, 'profile', 'Default'), { recursive: true });
    fs.writeFileSync(path.join(home, 'profile', 'Default', 'Preferences'), JSON.stringify({ profile: { default_content_setting_values: { cookies: 2 } } }));
  }
  const context = await chromium.launchPersistentContext(path.join(home, 'profile'), {
    executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium',
    env: { ...process.env, HOME: home },
    viewport: { width: 1280, height: 900 },
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', `--host-resolver-rules=MAP *.${root} 127.0.0.1, MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
    ],
    ...options,
  });
  context.setDefaultTimeout(20_000);
  const close = context.close.bind(context);
  context.close = async () => {
    await close();
    fs.rmSync(home, { recursive: true, force: true });
  };
  return context;
}

/** The text of the QR code that a page shows, read from a picture of the page. */
export async function readQr(page) {
  const picture = PNG.sync.read(await page.screenshot({ fullPage: true }));
  return jsqr(new Uint8ClampedArray(picture.data), picture.width, picture.height)?.data;
}

export const LOOKS = [
  { name: 'phone-light', width: 360, height: 740, colorScheme: 'light' },
  { name: 'phone-dark', width: 360, height: 740, colorScheme: 'dark' },
  { name: 'desktop-light', width: 1280, height: 900, colorScheme: 'light' },
  { name: 'desktop-dark', width: 1280, height: 900, colorScheme: 'dark' },
];

/** Pictures of a page in two widths and two themes; what is wrong with any of them is returned in words. */
export async function look(page, name) {
  fs.mkdirSync(SHOTS, { recursive: true });
  const wrong = [];
  for (const view of LOOKS) {
    await page.emulateMedia({ colorScheme: view.colorScheme });
    await page.setViewportSize({ width: view.width, height: view.height });
    await page.screenshot({ path: path.join(SHOTS, `${name}-${view.name}.png`), fullPage: true });
    for (const fault of await page.evaluate(judge)) wrong.push(`${name}, ${view.name}: ${fault}`);
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  return wrong;
}

/** Runs in the page: overflow, contrast (WCAG 2.2 AA), targets, labels, language, title. */
function judge() {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth + 1) faults.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);
  if (!root.lang) faults.push('no language');
  if (!document.title) faults.push('no title');
  const canvas = document.createElement('canvas');
  canvas.width = 1;
  canvas.height = 1;
  const paint = canvas.getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((value, i) => value * top[3] + below[i] * (1 - top[3]));
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), dark ? [18, 18, 18] : [255, 255, 255]);
  };
  const light = (color) => {
    const [r, g, b] = color.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const text = node.textContent.trim();
    const element = node.parentElement;
    if (!text || ['SCRIPT', 'STYLE', 'NOSCRIPT', 'TITLE'].includes(element.tagName) || element.closest('svg')) continue;
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (box.width < 2 || box.height < 2 || style.visibility === 'hidden' || style.clip === 'rect(0px, 0px, 0px, 0px)') continue;
    if (box.right > root.clientWidth + 1 && style.position !== 'absolute') faults.push(`cut off: ${text.slice(0, 40)}`);
    const ground = behind(element);
    const ink = over(rgba(style.color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
  }
  for (const control of document.querySelectorAll('input:not([type=hidden]), select, textarea, button')) {
    const box = control.getBoundingClientRect();
    if (box.width === 0) continue;
    if (box.width < 24 || box.height < 24) faults.push(`target of ${Math.round(box.width)}x${Math.round(box.height)}: ${control.name || control.textContent.trim()}`);
    const named = control.labels?.length || control.getAttribute('aria-label') || control.getAttribute('aria-labelledby') || control.textContent.trim();
    if (!named) faults.push(`no label: ${control.name || control.outerHTML.slice(0, 60)}`);
  }
  return [...new Set(faults)];
}
