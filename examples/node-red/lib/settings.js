// The companion's settings, checked once: a wrong one is an error at start, never a door left open.
'use strict';

const KNOWN = ['audience', 'jwks', 'ca', 'issuer', 'permissions', 'loopbackPaths', 'leeway', 'refetchFloor', 'timeout'];
const HOST = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;

function check(settings) {
  const wrong = (key, what) => new TypeError(`portcullis: ${key}: ${what}`);
  if (settings === null || typeof settings !== 'object') throw wrong('settings', 'are missing');
  for (const key of Object.keys(settings)) if (!KNOWN.includes(key)) throw wrong(key, `is not known; known are ${KNOWN.join(', ')}`);
  const audience = [settings.audience].flat().map((host) => String(host ?? '').trim().toLowerCase());
  if (audience.length === 0 || !audience.every((host) => HOST.test(host))) throw wrong('audience', 'the host name of this Node-RED (or a list), without port');
  let jwks;
  try {
    jwks = new URL(settings.jwks);
  } catch {
    throw wrong('jwks', 'the address of the gateway\'s keys, https://<portal>/.portcullis/jwks.json');
  }
  if (!['https:', 'http:'].includes(jwks.protocol) || jwks.username || jwks.password) throw wrong('jwks', 'must be an https address without a password');
  const permissions = settings.permissions ?? {};
  if (typeof permissions !== 'object' || Array.isArray(permissions)) throw wrong('permissions', 'an object: group to "*", "read" or a list of Node-RED\'s permissions');
  for (const [group, granted] of Object.entries(permissions)) {
    if (![granted].flat().every((one) => typeof one === 'string' && one !== '')) throw wrong(`permissions.${group}`, 'must be text or a list of texts');
  }
  const loopbackPaths = settings.loopbackPaths ?? [];
  if (!Array.isArray(loopbackPaths) || !loopbackPaths.every((path) => typeof path === 'string' && path.startsWith('/'))) throw wrong('loopbackPaths', 'a list of paths');
  for (const key of ['leeway', 'refetchFloor', 'timeout']) {
    if (settings[key] !== undefined && !(Number.isFinite(settings[key]) && settings[key] >= 0)) throw wrong(key, 'must be a number');
  }
  if (settings.issuer !== undefined && typeof settings.issuer !== 'string') throw wrong('issuer', 'must be text');
  return {
    audience, jwks, permissions, loopbackPaths, ca: settings.ca || undefined, issuer: settings.issuer || undefined,
    leeway: Math.min(settings.leeway ?? 5, 60), refetchFloor: settings.refetchFloor ?? 10_000, timeout: settings.timeout ?? 5000,
  };
}

module.exports = { check };
