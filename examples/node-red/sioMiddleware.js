// Copy this to `<uibRoot>/.config/sioMiddleware.js`: uibuilder then asks the companion about every new connection.
// uibuilder goes on without a middleware that fails to load, so a package that is missing refuses too.
'use strict';

let check;
try {
  check = require('node-red-contrib-portcullis').sioMiddleware;
} catch {
  check = undefined;
}

module.exports = function portcullis(socket, next) {
  if (typeof check !== 'function') {
    next(new Error('refused: the companion is not installed'));
    return;
  }
  check(socket, next);
};
