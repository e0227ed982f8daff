// What `settings.js` and uibuilder's `.config` need. There is one companion in a process: `configure` makes it, and what
// is used before that admits nobody.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Companion } = require('./lib/companion');

let companion = new Companion(null);

const placeOf = (uibRoot) => path.join(uibRoot, '.config', 'sioMiddleware.js');
const isOurs = (file) => fs.existsSync(file) && fs.readFileSync(file, 'utf8').includes('node-red-contrib-portcullis');

module.exports = {
  /** Makes the companion of this process from its settings, and hands it back. Wrong settings are an error at start. */
  configure(settings) {
    companion = new Companion(settings);
    return companion;
  },
  /** The companion of this process. */
  get companion() {
    return companion;
  },
  /** Puts `sioMiddleware.js` where uibuilder looks for it. One of your own that stands there is an error: call ours from it. */
  install(uibRoot) {
    const file = placeOf(uibRoot);
    if (fs.existsSync(file) && !isOurs(file)) throw new Error(`portcullis: ${file} is not ours: let it call require('node-red-contrib-portcullis').sioMiddleware`);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.copyFileSync(path.join(__dirname, 'sioMiddleware.js'), file);
  },
  /** Takes it away again; one of your own stays. */
  uninstall(uibRoot) {
    if (isOurs(placeOf(uibRoot))) fs.rmSync(placeOf(uibRoot));
  },
  /** For `.config/sioMiddleware.js`: looks the companion up at each connection, so the order of loading is no matter. */
  sioMiddleware(socket, next) {
    companion.sioMiddleware(socket, next);
  },
};
