// Everything that Node-RED and uibuilder ask: the editor, pages, connections, messages. Each way in ends in `verify`, and
// every error on the way, our own mistakes among them, is a refusal.
'use strict';

const { Refused, judge, parse, signatureHolds } = require('./assertion');
const { Keys } = require('./keys');
const { check } = require('./settings');

const HEADER = 'x-portcullis-assertion';
/** An assertion is the same for many requests: who it was about is remembered until it expires. */
const REMEMBERED = 1000;
const LOOPBACK = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);

class Companion {
  #settings = null;
  #keys = null;
  #now;
  /** token -> who, until it expires */
  #seen = new Map();
  /** Engine.IO handshake request -> who; a connection outlives its assertion, and the gateway ends it when it must. */
  #connections = new WeakMap();
  /** socket id -> who */
  #sockets = new Map();
  /** What ought to be in the log once. */
  #told = new Set();

  constructor(settings, { now = () => Date.now() / 1000, keys } = {}) {
    this.#now = now;
    for (const name of ['middleware', 'allowRequest', 'sioMiddleware', 'msgReceived', 'clientDetails']) this[name] = this[name].bind(this);
    if (settings === null) return;
    this.#settings = check(settings);
    const { jwks, ca, refetchFloor, timeout } = this.#settings;
    this.#keys = keys ?? new Keys(jwks, { ca, floor: refetchFloor, timeout });
  }

  /** Whether there are settings. Without, nobody is admitted. */
  get isConfigured() {
    return this.#settings !== null;
  }

  /** Who an assertion is about. Throws for every other. */
  async verify(token) {
    if (!this.isConfigured) throw new Refused('the companion has no settings');
    const { audience, issuer, leeway } = this.#settings;
    const now = this.#now();
    const known = this.#seen.get(token);
    if (known !== undefined) {
      if (now < known.expires + leeway) return known;
      this.#seen.delete(token);
      throw new Refused('expired');
    }
    const parsed = parse(token);
    // Before any key is looked up: a stranger's token shall make no traffic.
    const who = judge(parsed.claims, { audience, issuer, leeway, now });
    const key = await this.#keys.find(parsed.header.kid);
    if (!signatureHolds(key, parsed)) throw new Refused('the signature is wrong');
    if (this.#seen.size >= REMEMBERED) this.#seen.clear();
    this.#seen.set(token, who);
    return who;
  }

  async #request(request) {
    const who = await this.verify(request.headers[HEADER]);
    if (request.headers['x-forwarded-proto'] === 'http') {
      this.#warn('visitors reach the gateway without TLS, so their tokens can be read and used by others on the way: give it a certificate');
    }
    return who;
  }

  /** For `httpAdminMiddleware`, `httpNodeAuth`, `httpNodeMiddleware` and a static folder's `middleware`. */
  middleware(request, response, next) {
    this.#page(request).then((who) => {
      if (who) request.portcullis = who;
      next();
    }, (error) => {
      this.#refusal(error, request.url);
      response.statusCode = 401;
      response.setHeader('content-type', 'text/plain; charset=utf-8');
      response.setHeader('cache-control', 'no-store');
      response.end('Not signed in. This server is reached through its gateway only.\n');
    });
  }

  async #page(request) {
    const path = (request.originalUrl ?? request.url).split('?')[0];
    // The container's own health check, and nobody who comes by the network.
    const isOwnCheck = this.#settings?.loopbackPaths.includes(path) && LOOPBACK.has(request.socket.remoteAddress) && request.headers[HEADER] === undefined;
    return isOwnCheck ? undefined : this.#request(request);
  }

  /** For Node-RED's `adminAuth`: who the gateway vouches for is signed in, with what their groups may do. */
  get adminAuth() {
    return {
      tokenHeader: HEADER,
      tokens: async (token) => {
        try {
          const who = await this.verify(token);
          const permissions = this.permissions(who.groups);
          return permissions.length === 0 ? null : { username: who.name, permissions };
        } catch (error) {
          this.#refusal(error, 'the editor');
          return null;
        }
      },
    };
  }

  /** What people of these groups may do in the editor; a group that is not named grants nothing, `*` is everybody. */
  permissions(groups) {
    const granted = Object.entries(this.#settings?.permissions ?? {}).filter(([group]) => group === '*' || groups.includes(group)).flatMap(([, granted]) => granted);
    return [...new Set(granted)];
  }

  /** For socket.io's `allowRequest`: every handshake, whatever the namespace. */
  allowRequest(request, answer) {
    this.#request(request).then((who) => {
      this.#connections.set(request, who);
      answer(null, true);
    }, (error) => {
      this.#refusal(error, 'a socket');
      answer('refused', false);
    });
  }

  /** For uibuilder's `.config/sioMiddleware.js`: every connection to a namespace. */
  sioMiddleware(socket, next) {
    const known = this.#connections.get(socket.request);
    Promise.resolve(known ?? this.#request(socket.request)).then((who) => {
      this.#connections.set(socket.request, who);
      this.#remember(socket, who);
      next();
    }).catch((error) => {
      this.#refusal(error, 'a connection');
      next(new Error('refused'));
    });
  }

  #remember(socket, who) {
    if (this.#sockets.has(socket.id)) return;
    this.#sockets.set(socket.id, who);
    // Flows hear of the end first, and are still told whose it was.
    socket.on('disconnect', () => setImmediate(() => this.#sockets.delete(socket.id)));
  }

  /** Who is at the other end of a socket; undefined for one that was never verified. */
  who(socketId) {
    return this.#sockets.get(socketId);
  }

  /** uibuilder's hook for a message from a page. A hook that throws would let the message through: this one cannot. */
  msgReceived(data) {
    try {
      return this.#sockets.has(data.msg._socketId);
    } catch {
      return false;
    }
  }

  /** uibuilder's hook for what flows are told of a client: it is what was signed, or nothing. */
  clientDetails(data) {
    try {
      const who = this.#sockets.get(data.socket.id) ?? this.#connections.get(data.socket.request);
      if (!who) {
        delete data.client._client;
        return false;
      }
      this.#remember(data.socket, who);
      data.client._client = {
        ...data.client._client, userId: who.name, name: who.fullName || who.name, email: who.email, groups: [...who.groups], provider: 'Portcullis',
        id: who.id, amr: [...who.amr],
      };
      return true;
    } catch {
      return false;
    }
  }

  /** All of it, to be spread into `settings.js`; `uibuilder` is what that file says of uibuilder beside this. */
  settings({ uibuilder = {} } = {}) {
    return {
      adminAuth: this.adminAuth,
      httpAdminMiddleware: this.middleware,
      httpNodeAuth: this.middleware,
      httpNodeMiddleware: this.middleware,
      uibuilder: {
        ...uibuilder,
        socketOptions: {
          ...uibuilder.socketOptions,
          allowRequest: this.allowRequest,
          // A recovered connection is asked again like any other.
          connectionStateRecovery: { maxDisconnectionDuration: 120_000, ...uibuilder.socketOptions?.connectionStateRecovery, skipMiddlewares: false },
        },
        hooks: { ...uibuilder.hooks, msgReceived: this.msgReceived, clientDetails: this.clientDetails },
      },
    };
  }

  /** What is probably wrong with the way this Node-RED is set up; `red` is its settings. */
  warnings(red, hasSocketMiddleware) {
    if (!this.isConfigured) return ['the companion has no settings: nobody is admitted'];
    const found = [];
    if (this.#settings.jwks.protocol !== 'https:') {
      found.push('tokens are processed without TLS: the keys come from an http address, and whoever is on the way can put their own in place; use https (and `ca` for a private one)');
    }
    const ours = (setting) => [setting].flat().includes(this.middleware);
    const pages = ours(red.httpNodeAuth) || ours(red.httpNodeMiddleware);
    const sockets = red.uibuilder?.socketOptions?.allowRequest === this.allowRequest || hasSocketMiddleware;
    if (pages && !sockets) {
      found.push('pages are secured but their sockets are not: set uibuilder.socketOptions.allowRequest, or copy sioMiddleware.js to uibuilder\'s .config folder');
    }
    return found;
  }

  /** Where warnings and refusals go: Node-RED's log, once it is there. */
  set log(log) {
    this._log = log;
    for (const words of this.#told) log.warn(`[portcullis] ${words}`);
  }

  #warn(words) {
    if (this.#told.has(words) || this.#told.size > 100) return;
    this.#told.add(words);
    this._log?.warn(`[portcullis] ${words}`);
  }

  #refusal(error, what) {
    if (!(error instanceof Refused)) this.#warn(`an error of the companion's own, so nobody is admitted: ${error.message}`);
    else if (this.#keys?.failure) this.#warn(`the gateway's keys cannot be fetched: ${this.#keys.failure}`);
    this._log?.debug?.(`[portcullis] ${what}: ${error.message}`);
  }
}

module.exports = { Companion, HEADER };
