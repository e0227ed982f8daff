// A runtime plugin: says in Node-RED's log what is probably wrong, and so in the debug sidebar of every editor, the ones
// opened later too.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const portcullis = require('..');

module.exports = (RED) => {
  /** Whether uibuilder will ask us about connections. It has loaded the file itself by now, if there is one. */
  function hasSocketMiddleware() {
    const root = RED.settings.uibuilder?.uibRoot ?? path.join(RED.settings.userDir, 'uibuilder');
    const file = path.join(root, '.config', 'sioMiddleware.js');
    try {
      const own = require('../sioMiddleware.js');
      const theirs = require(file);
      return theirs === own || theirs === portcullis.sioMiddleware || fs.readFileSync(file, 'utf8').includes('node-red-contrib-portcullis');
    } catch {
      return false;
    }
  }

  const inSidebar = (words) => ({ id: 'portcullis', name: 'portcullis', level: 30, format: 'string', msg: words, timestamp: Date.now() });

  function warnings() {
    return portcullis.companion.warnings(RED.settings, hasSocketMiddleware());
  }

  /** The log reaches the sidebars that are open; the debug node's own log handler takes it there. */
  function tell() {
    portcullis.companion.log = RED.log;
    for (const words of warnings()) RED.log.warn(`[portcullis] ${words}`);
  }

  /** A sidebar that opens later gets them when its editor connects. */
  function tellLate() {
    for (const words of warnings()) RED.comms.publish('debug', inSidebar(`[portcullis] ${words}`));
  }

  RED.plugins.registerPlugin('portcullis', {
    type: 'portcullis',
    onadd() {
      RED.events.once('flows:started', tell);
      // The editor subscribes right after it is connected, and what is sent before that is lost.
      RED.events.on('comms:connection-added', () => setTimeout(tellLate, 3000).unref());
    },
  });
};
