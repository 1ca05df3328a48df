// Loaded into npm and into every Node that it starts (NODE_OPTIONS): a connection to a host that is not in ALLOWED_HOSTS
// fails, and the host is written into the file REFUSED_HOSTS.
'use strict';
const { appendFileSync } = require('node:fs');
const { Socket } = require('node:net');

const { ALLOWED_HOSTS = '', REFUSED_HOSTS } = process.env;
const allowed = ALLOWED_HOSTS.split(',');
const { connect } = Socket.prototype;

Socket.prototype.connect = function (...args) {
  const host = hostOf(args);
  if (host === undefined || allowed.includes(host)) return connect.apply(this, args);
  appendFileSync(REFUSED_HOSTS, `${host}\n`);
  process.nextTick(() => this.destroy(new Error(`connection to ${host} refused: only the registry may be reached`)));
  return this;
};

/** Of `connect(options)`, `connect(port, host)`, or what `net.connect` makes of them; undefined for a local pipe. */
function hostOf([first, second]) {
  const target = Array.isArray(first) ? first[0] : first;
  if (typeof target === 'object') return target.path ? undefined : (target.host ?? 'localhost');
  if (Number.isNaN(Number(target))) return undefined;
  return typeof second === 'string' ? second : 'localhost';
}
