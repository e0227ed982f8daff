// nginx that asks another server for leave, request by request (auth_request). That server is the cheapest there is: it
// says 204 to everybody; its own cost is not counted.
import { nginxWith } from './nginx.mjs';

export const name = 'nginx-auth';
export async function peer(bench) {
  return nginxWith(name, 'nginx, auth_request', bench, 'auth_request /leave;',
    'location = /leave { internal; proxy_pass http://files; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection ""; }');
}
