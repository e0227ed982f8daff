// Envoy that checks an ES256 token with each request (jwt_authn), but with none of a socket.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { answers, folder, freePort, run, start } from '../lib/process.mjs';

const program = path.resolve('.work/peers/bin/envoy');
const cluster = (name, port) => ({
  name, type: 'STATIC', connect_timeout: '5s',
  load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }] },
  circuit_breakers: { thresholds: [{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }] },
});
const address = (port) => ({ socket_address: { address: '127.0.0.1', port_value: port } });
const typed = (type, rest) => ({ '@type': `type.googleapis.com/${type}`, ...rest });

export const name = 'envoy';
export async function peer(bench) {
  const port = await freePort();
  const config = path.join(folder, 'envoy.json');
  const socket = ['/socket.io/', '/sink'];
  const manager = typed('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'in', codec_type: 'AUTO', upgrade_configs: [{ upgrade_type: 'websocket' }], stream_idle_timeout: '600s',
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [
      ...socket.map((prefix) => ({ match: { prefix }, route: { cluster: 'sockets', timeout: '0s' } })),
      { match: { prefix: '/' }, route: { cluster: 'files', timeout: '0s' } }] }] },
    http_filters: [
      { name: 'envoy.filters.http.jwt_authn', typed_config: typed('envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication', {
        providers: { bench: { issuer: 'bench', audiences: ['bench'], local_jwks: { inline_string: JSON.stringify({ keys: [bench.token.jwk] }) } } },
        rules: [...socket.map((prefix) => ({ match: { prefix } })), { match: { prefix: '/' }, requires: { provider_name: 'bench' } }] }) },
      { name: 'envoy.filters.http.router', typed_config: typed('envoy.extensions.filters.http.router.v3.Router', {}) }],
  });
  writeFileSync(config, JSON.stringify({ static_resources: {
    listeners: [{ name: 'in', address: address(port), filter_chains: [{
      filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
      transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: typed('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
        common_tls_context: { alpn_protocols: ['h2', 'http/1.1'],
          tls_certificates: [{ certificate_chain: { filename: bench.certificate.crt }, private_key: { filename: bench.certificate.key } }] } }) },
    }] }],
    clusters: [cluster('files', bench.work.files), cluster('sockets', bench.work.sockets)],
  } }));
  const open = async () => {
    const child = start(program, ['-c', config, '--concurrency', '2', '--disable-hot-restart', '-l', 'error']);
    await answers(port, child);
    return child;
  };
  return { name, title: 'Envoy, jwt_authn ES256', port, open, headers: () => [`Authorization: Bearer ${bench.token.jwt}`] };
}
export async function version() {
  return `Envoy ${/\/(\d+\.\d+\.\d+)\//.exec(await run(program, ['--version']))[1]}`;
}
