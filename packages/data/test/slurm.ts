import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { cpus, hostname } from 'node:os';
import { join } from 'node:path';

/** A Slurm of one node, of Debian's packages, with what it needs below a folder. */
export interface Slurm {
  readonly environment: NodeJS.ProcessEnv;
  /** Ends its processes, and waits for them. */
  stop(): Promise<void>;
}

const PACKAGES = ['slurmctld', 'slurmd', 'slurm-client', 'munge'];

/** Why there can be no Slurm here; `undefined` where there can. It is installed where this is a machine of CI, and root. */
export function whyNoSlurm(): string | undefined {
  const isThere = (): boolean =>
    ['slurmctld', 'slurmd', 'sbatch', 'munged'].every((name) =>
      ['/usr/sbin', '/usr/bin'].some((folder) => existsSync(join(folder, name))),
    );
  if (process.getuid?.() !== 0) return 'it needs root';
  if (isThere()) return undefined;
  if (!process.env.CI)
    return 'slurmctld, slurmd and munge are not installed, and only a machine of CI (CI=true) installs them';
  if (!existsSync('/usr/bin/apt-get')) return 'there is no apt-get';
  const apt = (...args: readonly string[]) =>
    spawnSync('apt-get', ['-qq', ...args], {
      stdio: 'ignore',
      timeout: 300_000,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  apt('install', '-y', '--no-install-recommends', ...PACKAGES);
  if (!isThere()) {
    apt('update');
    apt('install', '-y', '--no-install-recommends', ...PACKAGES);
  }
  return isThere() ? undefined : `apt-get could not install ${PACKAGES.join(', ')}`;
}

/** Starts it, and waits until its node is idle. Its processes are children of this one. @throws where it does not start */
export async function startSlurm(folder: string): Promise<Slurm> {
  const at = (name: string): string => join(folder, name);
  for (const name of ['state', 'spool', 'munge']) mkdirSync(at(name), { mode: 0o700 });
  writeFileSync(at('munge/key'), Buffer.alloc(1024, 'a key of a test, on this machine only'), { mode: 0o400 });
  const host = hostname().split('.')[0]!;
  const socket = at('munge/socket');
  const conf = at('slurm.conf');
  writeFileSync(
    conf,
    `ClusterName=posttrain
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=${socket}
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=${at('state')}
SlurmdSpoolDir=${at('spool')}
SlurmctldPidFile=${at('ctld.pid')}
SlurmdPidFile=${at('d.pid')}
SlurmctldLogFile=${at('ctld.log')}
SlurmdLogFile=${at('d.log')}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
MaxArraySize=101
NodeName=${host} NodeAddr=127.0.0.1 CPUs=${cpus().length} State=UNKNOWN
PartitionName=all Nodes=${host} Default=YES MaxTime=INFINITE State=UP
`,
  );
  const environment = { ...process.env, SLURM_CONF: conf };
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.reverse()) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null && child.kill('SIGTERM')) await ended;
    }
  };
  const daemon = (command: string, ...args: readonly string[]) =>
    children.push(spawn(command, args, { env: environment, stdio: 'ignore' }));
  try {
    daemon(
      '/usr/sbin/munged',
      '--foreground',
      '--force',
      `--socket=${socket}`,
      `--key-file=${at('munge/key')}`,
      `--pid-file=${at('munge/pid')}`,
      `--log-file=${at('munge/log')}`,
      `--seed-file=${at('munge/seed')}`,
    );
    await new Promise((resolve) => setTimeout(resolve, 1000));
    daemon('/usr/sbin/slurmctld', '-D', '-c');
    daemon('/usr/sbin/slurmd', '-D', '-c');
    for (let i = 0; i < 60; i++) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { stdout } = spawnSync('sinfo', ['-h', '-o', '%t'], { env: environment, encoding: 'utf8' });
      if (stdout.trim() === 'idle') return { environment, stop };
    }
    throw new Error(
      `the node is not idle: ${execFileSync('tail', ['-n', '5', at('ctld.log'), at('d.log')], { encoding: 'utf8' })}`,
    );
  } catch (error) {
    await stop();
    throw error;
  }
}
