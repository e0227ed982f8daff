/** mulberry32: small, and the same for the same seed. */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Only a connection that was cut may have broken a work off. */
export const cut = (error) => /ECONNRESET|ECONNREFUSED|EPIPE|socket hang up|before secure TLS|disconnected/.test(`${error.code} ${error.message}`);
