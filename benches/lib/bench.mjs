// What every line of the table works with: the work, the peers, and somebody who is signed in.
import { certificate, token } from './certificates.mjs';
import { stop } from './process.mjs';
import { Person } from './login.mjs';
import { work } from '../peers/work.mjs';
import * as nginx from '../peers/nginx.mjs';
import * as nginxAuth from '../peers/nginx-auth.mjs';
import * as haproxy from '../peers/haproxy.mjs';
import * as envoy from '../peers/envoy.mjs';
import * as caddy from '../peers/caddy.mjs';
import * as portcullis from '../peers/portcullis.mjs';

const all = [nginx, nginxAuth, haproxy, envoy, caddy, portcullis];

export class Bench {
  host = 'bench.example.test';
  socketHost = 'sockets.example.test';
  /** The same work, with what a tenant can ask for beside it. */
  annotateHost = 'annotate.example.test';
  inBandHost = 'in-band.example.test';
  #peers = new Map();

  async open() {
    this.certificate = certificate();
    this.token = token();
    this.work = await work();
    const gate = await this.#make('portcullis');
    this.person = await Person.add(gate, 'bench');
    await this.start(gate);
    await this.person.signIn(gate.port, this.host);
    await this.person.signIn(gate.port, this.socketHost);
  }

  cookie(host = this.host) {
    return this.person.cookies.get(host);
  }

  /** The token of a host where one is signed in without cookies. */
  jwt(host) {
    return this.person.tokens.get(host);
  }

  /** Signs in where only one line goes: each login waits for a code of its own. */
  async signInToModes(gate) {
    if (this.jwt(this.inBandHost)) return;
    await this.person.signIn(gate.port, this.annotateHost);
    await this.person.signIn(gate.port, this.inBandHost, { token: true });
  }

  /** The peers of these names, running; all of them without names. The first is nginx without auth. */
  async peers(...names) {
    const wanted = names.length ? names : all.map((it) => it.name);
    const found = [];
    for (const name of wanted) found.push(await this.start(await this.#make(name)));
    return found;
  }

  async #make(name) {
    if (!this.#peers.has(name)) {
      const peer = await all.find((it) => it.name === name).peer(this);
      this.#peers.set(name, { ...peer, host: this.host, certificate: this.certificate.crt });
    }
    return this.#peers.get(name);
  }

  /** Starts a peer unless it runs. */
  async start(peer) {
    if (!peer.child) {
      peer.child = await peer.open();
      peer.pid = peer.child.pid;
    }
    return peer;
  }

  /** Stops a peer: the next start is a new process. */
  async stop(peer) {
    if (peer.child) await stop(peer.child);
    peer.child = null;
  }

  /** Called before each measurement of Portcullis's: its token is fresh then. */
  async refresh() {
    const gate = await this.#make('portcullis');
    await this.start(gate);
    await this.person.refresh(gate.port);
  }
}

/** What ran: one line of names and versions. */
export async function versions() {
  const found = [];
  for (const it of all) if (it.version) found.push(await it.version());
  return found.join(', ');
}
