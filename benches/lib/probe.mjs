// One kept connection that asks the same thing again and again, as fast as answers come.
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';

export class Probe {
  /** Opens it to `port`, for the name `host`. */
  static async open(port, host) {
    const probe = new Probe();
    probe.authority = `${host}:${port}`;
    probe.socket = tls.connect({ host: '127.0.0.1', port, servername: host, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });
    probe.socket.setNoDelay(true);
    probe.socket.setTimeout(20_000, () => probe.socket.destroy(new Error('no answer')));
    await new Promise((resolve, reject) => { probe.socket.once('secureConnect', resolve); probe.socket.once('error', reject); });
    return probe;
  }

  /** The status of a GET. */
  async ask(path = '/kib', headers = []) {
    const request = `GET ${path} HTTP/1.1\r\nhost: ${this.authority}\r\n${headers.map((it) => `${it}\r\n`).join('')}\r\n`;
    return new Promise((resolve, reject) => {
      let text = '';
      const failed = (error) => reject(error ?? new Error('closed'));
      const heard = (data) => {
        text += data.toString('latin1');
        const end = text.indexOf('\r\n\r\n');
        if (end < 0) return;
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
        if (text.length < end + 4 + length) return;
        this.socket.off('data', heard).off('error', failed).off('close', failed);
        resolve(Number(text.slice(9, 12)));
      };
      this.socket.on('data', heard).on('error', failed).on('close', failed);
      this.socket.write(request);
    });
  }

  /** Asks until the status is `wanted`; gives the milliseconds since `from`. */
  async until(wanted, from, { patience = 20_000, pause = 0 } = {}) {
    for (;;) {
      const status = await this.ask();
      const took = performance.now() - from;
      if (status === wanted) return took;
      if (pause) await sleep(pause);
      if (took > patience) throw new Error(`still ${status}, not ${wanted}, after ${patience} ms`);
    }
  }

  close() {
    this.socket.destroy();
  }
}
