// The gallery (written by the unit tests of `portal::gallery`), served as the portal would: with its sheet, its script and
// its content policy.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const here = path.dirname(fileURLToPath(import.meta.url));
const pages = path.join(here, '..', 'out', 'gallery');
const sheet = fs.readFileSync(path.join(here, '..', '..', '..', 'web', 'portal.css'));
const script = fs.readFileSync(path.join(here, '..', '..', '..', 'web', 'keys.js'));

const POLICY =
  "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
// What the pages that ask for keys may do beside that.
const SCRIPT_POLICY = `${POLICY}; script-src 'self'; connect-src 'self'`;

/** The names of all pages, or of those that are wanted. */
export function names(wanted = []) {
  const all = fs.existsSync(pages) ? fs.readdirSync(pages).filter((it) => it.endsWith('.html')).map((it) => it.slice(0, -5)) : [];
  const chosen = all.filter((it) => wanted.length === 0 || wanted.includes(it));
  if (chosen.length === 0) throw new Error('no pages: run `cargo test --lib portal::gallery` first');
  return chosen;
}

/** `{ origin, browser, close }`. */
export async function open() {
  const server = http.createServer((request, response) => {
    const address = new URL(request.url, 'http://x');
    if (address.pathname.startsWith('/.portcullis/keys-')) {
      response.writeHead(200, { 'content-type': 'text/javascript; charset=utf-8' });
      return response.end(script);
    }
    if (address.pathname.startsWith('/.portcullis/api/')) {
      // No challenge: nobody is there to answer it.
      response.writeHead(200, { 'content-type': 'application/json' });
      return response.end('{}');
    }
    if (address.pathname.startsWith('/.portcullis/portal-')) {
      response.writeHead(200, { 'content-type': 'text/css; charset=utf-8' });
      return response.end(sheet);
    }
    const file = path.join(pages, `${path.basename(address.pathname)}.html`);
    if (!fs.existsSync(file)) {
      response.writeHead(404);
      return response.end();
    }
    const html = fs.readFileSync(file, 'utf8');
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': html.includes('/.portcullis/keys-') ? SCRIPT_POLICY : POLICY,
      'x-content-type-options': 'nosniff',
    });
    // Pages that look again by themselves would leave while they are being measured.
    response.end(html.replaceAll('http-equiv="refresh"', 'name="refresh"'));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  const close = async () => {
    await browser.close();
    server.close();
  };
  return { origin, browser, close };
}
