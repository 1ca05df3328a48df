import { spawnSync } from 'node:child_process';

/** Whether bwrap itself can make namespaces here. Where it can, a sandbox that does not start is a failure and no reason to skip. */
export function whyNoBubblewrap(): string | undefined {
  const args = ['--unshare-all', '--ro-bind', '/', '/', '--proc', '/proc', 'true'];
  const nobody = process.geteuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const { error, status, stderr } = spawnSync('bwrap', args, { encoding: 'utf8', cwd: '/', ...nobody });
  if (error) return `no bubblewrap: ${error.message}`;
  return status === 0 ? undefined : `no namespaces: ${stderr.trim()}`;
}
