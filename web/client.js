// Portcullis in a page: `<script type="module" src="/.portcullis/client.js"></script>`, also as `window.portcullis`.
// It signs people in without leaving the page, carries a token where there is one, and brings sockets back afterwards.
// A cookie needs nothing of this to be sent; what it needs is somebody who reconnects after the gateway's `41`.

const HOME = '/.portcullis/';
const KEY = 'portcullis.token';
const LOOKS_LIKE_A_TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const events = new EventTarget();
const lines = new Set(); // attached sockets
const headers = {}; // of polling requests; shared with the transports, so that a new token is in the next one
const protocols = []; // of WebSocket handshakes; shared too
let memory = null; // where storage is blocked, as it is with cookies
let timer = 0;
let user; // whose page this is
let asking = null; // what comes of the dialogue
let shown = null; // the dialogue itself, once it stands
let page; // the address that signs in, as the gateway told it last
let declined = false; // "not now" holds until somebody signs in after all

/* ---- the token ------------------------------------------------------------------------ */

export function token() {
  try {
    return localStorage.getItem(KEY) ?? memory;
  } catch {
    return memory;
  }
}

export function save(jwt) {
  if (typeof jwt !== 'string' || !LOOKS_LIKE_A_TOKEN.test(jwt)) throw new TypeError('save: that is no token');
  memory = jwt;
  try {
    localStorage.setItem(KEY, jwt);
  } catch { /* memory has it */ }
  dress();
}

export function forget() {
  memory = null;
  try {
    localStorage.removeItem(KEY);
  } catch { /* it was never there */ }
  dress();
}

/** Puts the token, or none, where the transports look, and renews it before it expires. */
function dress() {
  const jwt = token();
  if (jwt) headers.Authorization = `Bearer ${jwt}`;
  else delete headers.Authorization;
  protocols.splice(0, protocols.length, ...(jwt ? ['portcullis', `portcullis.token.${jwt}`] : []));
  clearTimeout(timer);
  const left = jwt ? life(jwt) : 0;
  if (left > 0) timer = setTimeout(refresh, Math.max(1000, Math.min(left * 0.7, 2 ** 31 - 1)));
}

/** Milliseconds until a token expires, by its own word; the gateway alone judges it. */
function life(jwt) {
  try {
    return JSON.parse(atob(jwt.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).exp * 1000 - Date.now();
  } catch {
    return 0;
  }
}

/* ---- calls ---------------------------------------------------------------------------- */

async function call(path, body) {
  const answer = await fetch(`${HOME}api/v1/${path}`, {
    method: body ? 'POST' : 'GET', credentials: 'same-origin', cache: 'no-store', redirect: 'error',
    headers: { accept: 'application/json', ...headers, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  throw Object.assign(new Error(said.message ?? `The gateway answered ${answer.status}.`), { status: answer.status, code: said.error, retryAfter: said.retry_after, loginUrl: said.login_url });
}

/** A browser that blocks cookies blocks storage with them, and says so at different places. */
function cookiesAreBlocked() {
  try {
    return !navigator.cookieEnabled || !globalThis.localStorage;
  } catch {
    return true;
  }
}

/**
 * One step of a login: `{username, password}`, then `{ticket, code}`; `token: true` asks for a token instead of a cookie,
 * as it is where cookies are blocked. The gateway's answer, or an error with its words. Without arguments: the dialogue.
 */
export async function login(fields) {
  if (fields === undefined) return loginDialogue();
  const said = await call(fields.ticket ? 'login/totp' : 'login', { ...(cookiesAreBlocked() && { token: true }), ...fields });
  if (said.state === 'authenticated') signedIn(said);
  return said;
}

async function refresh() {
  try {
    save((await call('session/refresh', {})).token);
  } catch (error) {
    if (error.status === 401) over({ reason: 'expired' });
    else if (token()) timer = setTimeout(refresh, 5000);
  }
}

function signedIn(said) {
  if (said.token) save(said.token);
  // Whoever was here before left things on the page that are not this one's.
  const changed = user !== undefined && said.user && said.user.id !== user;
  if (said.user) user = said.user.id;
  declined = false;
  if (!tell('authorised', { user: said.user, expiresAt: said.expires_at * 1000, loginExpiresAt: said.login_expires_at * 1000 })) return;
  if (changed) location.reload();
  else lines.forEach((line) => line.revive());
}

/** Leaves for the portal, and comes back to this page. */
export function redirectToLogin() {
  location.assign(signInAt(location.pathname + location.search));
}

/** Leaves for the portal's page that signs out everywhere; a token ends its session here. */
export async function logout() {
  if (token()) {
    await call('logout', {}).catch(() => {});
    forget();
    tell('invalid', { reason: 'revoked', over: true });
  } else location.assign(`${HOME}logout`);
}

function signInAt(to) {
  return `${HOME}login${to ? `?to=${encodeURIComponent(to)}` : ''}`;
}

/* ---- events: authorised, expiring, invalid ------------------------------------------------ */

export const addEventListener = events.addEventListener.bind(events);
export const removeEventListener = events.removeEventListener.bind(events);

/** Whether the page left the rest to us. */
const tell = (name, detail) => events.dispatchEvent(new CustomEvent(name, { detail, cancelable: true }));

/** Signing in would help, and nobody is asking yet: the page is told, and then the person. */
function over(detail, dialogue = true) {
  if (tell('invalid', { over: true, ...detail }) && dialogue && !asking && !declined) loginDialogue();
}

/* ---- sockets -------------------------------------------------------------------------- */

/**
 * Carries the token in polling headers, the subprotocol and every message, hears the gateway's control messages, and
 * reconnects after a login. `socketOrUibuilder`: a socket of socket.io-client 2 to 4, or uibuilder's own object.
 * `dialogue: false` leaves asking to the page.
 */
export function attach(socketOrUibuilder, { dialogue = true, controlEvent = 'uiBuilderControl' } = {}) {
  const it = socketOrUibuilder;
  const options = { dialogue, controlEvent };
  if (it?.io && typeof it.emit === 'function') return attachSocket(it, options);
  if (typeof it?.onChange !== 'function') throw new TypeError('attach: neither a socket nor uibuilder');
  if (it.socketOptions) wire(it.socketOptions);
  // uibuilder makes its socket when it starts, and a new one when it is started again.
  const adopt = () => {
    const socket = it._socket ?? it.get?.('socket');
    if (socket?.io) attachSocket(socket, options, it);
  };
  adopt();
  // uibuilder's older client (`uibuilderfe`) shows its socket to nobody, and makes it by the page's own `io` when it starts.
  if (!it.socketOptions && !it.get?.('started') && typeof globalThis.io === 'function') catchNext(options);
  it.onChange('ioConnected', adopt);
  for (const name of ['connected', 'disconnected']) document.addEventListener(`uibuilder:socket:${name}`, adopt);
  return undefined;
}

/** Attaches to the next socket that the page makes by `io`. */
function catchNext(options) {
  const { io } = globalThis;
  const once = (...args) => {
    globalThis.io = io;
    const given = args.at(-1);
    if (plain(given)) wire(given);
    const socket = io(...args);
    attachSocket(socket, options);
    return socket;
  };
  globalThis.io = Object.assign(once, io);
}

/** The options that engine.io-client reads anew for each transport it opens; versions 3 to 6 have them in common. */
function wire(options) {
  const all = (options.transportOptions ??= {});
  const polling = (all.polling ??= {});
  polling.extraHeaders = Object.assign(headers, { ...polling.extraHeaders, ...headers });
  (all.websocket ??= {}).protocols = protocols;
}

const plain = (value) => value !== null && typeof value === 'object' && [Object.prototype, null].includes(Object.getPrototypeOf(value));

function attachSocket(socket, { dialogue, controlEvent }, uibuilder) {
  if ([...lines].some((line) => line.socket === socket)) return;
  const there = new URL(socket.io.uri, location.href);
  if (there.host !== location.host) throw new TypeError('attach: that socket is another host\'s; it is not given the token');
  wire(socket.io.opts);
  let grace = false; // the gateway drops what is sent until it sees a good token
  let told = false; // once for each time that the connection is lost

  const line = {
    socket,
    revive() {
      const jwt = token();
      if (socket.connected && grace && jwt) {
        socket.emit(controlEvent, { uibuilderCtrl: 'authorise', from: 'client' });
        return;
      }
      if (socket.connected && grace) socket.disconnect();
      if (socket.connected) return;
      grace = false;
      if (uibuilder?.connect) uibuilder.connect('signed in');
      else {
        // One that waits for its next attempt makes it now.
        socket.disconnect();
        socket.connect();
      }
    },
  };
  lines.add(line);

  const emit = socket.emit;
  socket.emit = function send(event, message, ...rest) {
    const jwt = token();
    // In other events the gateway does not look for it, and the tenant would see it: there the connection's own counts.
    const carries = jwt && plain(message) && (event === 'uiBuilderClient' || event === controlEvent);
    return carries ? emit.call(this, event, { ...message, _auth: { ...(plain(message._auth) && message._auth), jwt } }, ...rest) : emit.apply(this, arguments);
  };

  socket.on(controlEvent, (message) => {
    if (message?.from !== 'server') return;
    const { reason, login_url: loginUrl, _auth: auth } = message;
    const detail = { reason, loginUrl, sessionExpiry: auth?.sessionExpiry, auth: auth && { ...auth, jwt: undefined } };
    switch (message.uibuilderCtrl) {
      case 'authorised':
        grace = false;
        if (auth?.jwt) save(auth.jwt);
        tell('authorised', detail);
        break;
      case 'session expiry':
        tell('expiring', detail);
        break;
      case 'jwt_auth_fail':
        // Too fast, or not allowed: the message is lost, and no login makes it good.
        if (reason === 'rate' || reason === 'policy') tell('invalid', { ...detail, over: false });
        else {
          grace = true;
          page = loginUrl;
          over({ ...detail, over: false }, dialogue);
        }
        break;
      case 'logoff':
      case 'session invalid':
        grace = true;
        page = loginUrl;
        if (token()) forget();
        told = true;
        over(detail, dialogue && message.uibuilderCtrl !== 'logoff');
        break;
      default:
    }
  });
  socket.on('connect', () => {
    grace = false;
    told = false;
    if (user === undefined) whoAmI();
  });
  // A refused handshake says little to a script; the gateway says it better.
  socket.on('connect_error', async () => {
    if (asking || told) return;
    const refused = await whoAmI();
    if (refused?.status !== 401 || told) return;
    told = true;
    over({ reason: token() ? 'expired' : 'missing', loginUrl: refused.loginUrl }, dialogue);
  });
  const jwt = token();
  if (jwt && !socket.connected) {
    socket.disconnect();
    socket.connect();
  }
}

/** Learns whose page this is; hands back the refusal if it is nobody's. */
async function whoAmI() {
  try {
    const said = await call('session');
    user ??= said.user?.id;
    return undefined;
  } catch (error) {
    return error;
  }
}

/* ---- the dialogue --------------------------------------------------------------------- */

const LOOK = `
:host { color-scheme: light dark; --card: #fffdf8; --ink: #1b2625; --soft: #4f5d5b; --edge: #76807c; --accent: #0b5f58; --on: #fff; --focus: #a84a00; --bad: #99231b; --wash: #fbe9e5; }
@media (prefers-color-scheme: dark) { :host { --card: #1a2221; --ink: #ece7dc; --soft: #aab4b0; --edge: #7d8a86; --accent: #8ed3c4; --on: #06231f; --focus: #f4b35e; --bad: #ffb3a6; --wash: #34201c; } }
* { box-sizing: border-box; }
dialog { width: min(25rem, calc(100vw - 2rem)); max-height: calc(100dvh - 2rem); overflow: auto; padding: 1.75rem; border: 1px solid var(--edge); border-radius: .5rem; background: var(--card); color: var(--ink); font: 1.0625rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
dialog::backdrop { background: rgb(10 20 19 / .6); }
h2 { margin: 0 0 .25rem; font: 600 1.5rem/1.25 "Iowan Old Style", Palatino, Georgia, serif; }
p { margin: 0 0 1rem; color: var(--soft); }
p[role=alert]:not(:empty) { padding: .6rem .8rem; border-left: .25rem solid var(--bad); background: var(--wash); color: var(--bad); }
p[role=alert]:empty { margin: 0; }
label { display: block; margin: 0 0 .25rem; font-weight: 600; }
input { display: block; width: 100%; min-height: 2.75rem; margin: 0 0 1rem; padding: .5rem .75rem; border: 1px solid var(--edge); border-radius: .375rem; background: transparent; color: inherit; font: inherit; }
button { display: block; width: 100%; min-height: 2.75rem; margin: .75rem 0 0; padding: .5rem 1rem; border: 1px solid var(--accent); border-radius: .375rem; background: transparent; color: var(--accent); font: inherit; font-weight: 600; cursor: pointer; }
button.first { background: var(--accent); color: var(--on); }
button:disabled { opacity: .6; cursor: progress; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
`;

function make(name, more = {}, ...inside) {
  const { role, ...rest } = more;
  const element = Object.assign(document.createElement(name), rest);
  if (role) element.setAttribute('role', role);
  element.append(...inside);
  return element;
}

/** Asks for a login in place. Resolves with whether somebody is signed in now; one at a time. */
export function loginDialogue() {
  // One that was closed a moment ago asks nobody any more, though its end is not told yet.
  if (asking && (!shown || shown.open)) return asking;
  const mine = ask().finally(() => {
    if (asking === mine) asking = null;
  });
  asking = mine;
  return mine;
}

async function ask() {
  shown = null;
  // Nothing is tried with an empty form: it says whether this host takes passwords at all.
  const inPlace = await call('login', {}).then(() => true, (error) => error.status !== 404);
  const host = make('div');
  const root = host.attachShadow({ mode: 'open' });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(LOOK);
  root.adoptedStyleSheets = [sheet];
  const title = make('h2', { id: 'title', textContent: 'Sign in' });
  const lead = make('p', { id: 'lead', textContent: 'Your session on this page is over. Sign in to go on where you were.' });
  const alert = make('p', { role: 'alert' });
  const place = make('div');
  const cancel = make('button', { type: 'button', textContent: 'Not now' });
  const dialog = make('dialog', {}, title, lead, alert, place, cancel);
  dialog.setAttribute('aria-labelledby', 'title');
  dialog.setAttribute('aria-describedby', 'lead');
  root.append(dialog);
  document.body.append(host);

  let done;
  let watch = 0;
  const end = new Promise((resolve) => (done = resolve));
  dialog.addEventListener('close', () => done(dialog.returnValue === 'signed in'));
  cancel.addEventListener('click', () => dialog.close());

  const field = (label, more) => {
    const input = make('input', { required: true, id: `f-${more.name}`, ...more });
    return [make('label', { htmlFor: input.id, textContent: label }), input];
  };
  const form = (button, fields, act) => {
    const send = make('button', { className: 'first', textContent: button });
    const it = make('form', {}, ...fields.flat(), send);
    it.addEventListener('submit', async (event) => {
      event.preventDefault();
      if (send.disabled) return;
      send.disabled = true;
      alert.textContent = '';
      try {
        await act(Object.fromEntries([...it.querySelectorAll('input')].map((input) => [input.name, input.value])));
      } catch (error) {
        alert.textContent = error.message;
        if (error.code === 'ticket') passwords();
        else it.querySelector('input').select();
      } finally {
        send.disabled = false;
      }
    });
    return it;
  };
  const show = (...inside) => {
    place.replaceChildren(...inside);
    place.querySelector('input, button')?.focus();
  };

  /** A window of the portal's, where keys work. It hands back nothing: the gateway is asked whether somebody is there. */
  const inWindow = (text, first) => {
    const button = make('button', { type: 'button', textContent: text, className: first ? 'first' : '' });
    button.addEventListener('click', () => {
      const opened = open(signInAt(), 'portcullis', 'popup,width=480,height=760');
      if (!opened) return redirectToLogin();
      lead.textContent = 'Go on in the window that has opened. This page notices when you are signed in.';
      clearInterval(watch);
      watch = setInterval(async () => {
        const said = await call('session').catch(() => undefined);
        if (!said || !dialog.open) return;
        signedIn(said);
        dialog.close('signed in');
      }, 1000);
      return undefined;
    });
    return button;
  };
  const answered = (said) => {
    if (said.state === 'authenticated') dialog.close('signed in');
    else code(said);
  };
  const passwords = () => show(
    form('Sign in', [
      field('User name', { name: 'username', autocomplete: 'username', autocapitalize: 'none', spellcheck: false }),
      field('Password', { name: 'password', type: 'password', autocomplete: 'current-password' }),
    ], async (fields) => answered(await login(fields))),
    ...(cookiesAreBlocked() ? [] : [inWindow('Use a security key')]),
  );
  const code = ({ ticket }) => {
    lead.textContent = 'Now the code that your authenticator app shows.';
    show(form('Continue', [field('Six-digit code', { name: 'code', inputMode: 'numeric', autocomplete: 'one-time-code', maxLength: 10 })], async (fields) => answered(await login({ ticket, ...fields }))));
  };

  dialog.showModal();
  shown = dialog;
  if (inPlace) passwords();
  else if (cookiesAreBlocked()) {
    lead.textContent = 'Your browser blocks cookies, and this page does not take passwords itself. Allow cookies for this site, then try again.';
    show();
  } else show(inWindow('Sign in in a new window', true));
  const good = await end;
  clearInterval(watch);
  host.remove();
  declined = !good;
  return good;
}

/* ---- the beginning -------------------------------------------------------------------- */

// Another tab renewed the token, or forgot it.
globalThis.addEventListener('storage', (event) => event.key === KEY && dress());
dress();

/** Where the gateway last said that one signs in. */
export const loginUrl = () => page ?? new URL(signInAt(), location.href).href;

const portcullis = { save, token, forget, login, loginDialogue, loginUrl, redirectToLogin, logout, attach, addEventListener, removeEventListener };
globalThis.portcullis = Object.freeze(portcullis);
export default portcullis;
