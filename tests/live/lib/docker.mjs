// Containers of the live tests, by the docker program. Their addresses get functional requests only, one at a time.
import assert from 'node:assert/strict';
import { run, until } from './gateway.mjs';

export const ENGINE = process.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock';
export const IMAGE = process.env.PORTCULLIS_TENANT_IMAGE ?? 'portcullis-tenant';

export async function docker(...args) {
  const result = await run('docker', ['--host', ENGINE, ...args]);
  assert.equal(result.code, 0, `docker ${args.join(' ')}: ${result.stderr}`);
  return result.stdout.trim();
}

export class Container {
  /**
   * Starts a container of the tenant image (or of `image` with `command`), with environment and labels. It runs without the
   * companion, which admits nobody around the gateway, unless `env` says where the gateway's keys are.
   */
  static async start(name, { env = {}, labels = {}, image = IMAGE, options = [], command = [] } = {}) {
    const it = new Container();
    it.name = `portcullis-live-${process.pid}-${name}`;
    it.id = await docker('run', '-d', '--name', it.name, '--label', `live-test.pid=${process.pid}`, ...Object.entries({ PORTCULLIS_JWKS: 'off', ...env }).flatMap(([key, value]) => ['-e', `${key}=${value}`]),
      ...Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]), ...options, image, ...command);
    return it;
  }

  state(format) {
    return docker('inspect', '-f', format, this.id);
  }

  async healthy(limit = 60_000) {
    await until(`${this.name} is healthy`, async () => (await this.state('{{.State.Health.Status}}')) === 'healthy', limit, 50);
    return Date.now();
  }

  async address() {
    return (await this.state('{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}')).split(' ')[0];
  }

  /** What the tenant's flow recorded, asked at the container itself. */
  async recorded() {
    const answer = await fetch(`http://${await this.address()}:1880/recorded`);
    return answer.json();
  }

  logs() {
    return docker('logs', this.id);
  }

  async remove() {
    await docker('rm', '-f', '-v', this.id).catch(() => {});
  }
}
