import { DataOptionError } from '../errors.js';
import type { Shard } from '../step.js';

/** A launcher of processes, and the variables by which it tells each its share. */
interface Launcher {
  readonly name: string;
  readonly rank: string;
  readonly world: string;
  /** The least rank, where it is not 0. */
  readonly first?: string;
}

const SLURM: Launcher = { name: 'Slurm', rank: 'SLURM_PROCID', world: 'SLURM_NTASKS' };

/** What starts processes within an element of a job array, too: of `mpirun` each has the `SLURM_PROCID` of its node. */
const WITHIN_ARRAY: readonly Launcher[] = [
  { name: 'Open MPI', rank: 'OMPI_COMM_WORLD_RANK', world: 'OMPI_COMM_WORLD_SIZE' },
  { name: 'MPICH', rank: 'PMI_RANK', world: 'PMI_SIZE' },
  SLURM,
];

/**
 * In this order: elements of a job array, with the tasks within them; `mpirun` of Open MPI and of MPICH (PMI, PMIx) before `srun`, which may have started it; an Indexed Job of
 * Kubernetes does not say how many there are, so `JOB_COMPLETIONS` must be set in its manifest to `spec.completions`.
 */
const LAUNCHERS: readonly Launcher[] = [
  { name: 'Slurm array', rank: 'SLURM_ARRAY_TASK_ID', world: 'SLURM_ARRAY_TASK_COUNT', first: 'SLURM_ARRAY_TASK_MIN' },
  ...WITHIN_ARRAY,
  { name: 'Kubernetes Indexed Job', rank: 'JOB_COMPLETION_INDEX', world: 'JOB_COMPLETIONS' },
  { name: 'torchrun', rank: 'RANK', world: 'WORLD_SIZE' },
];

/** A share, and who gave it. */
export interface LaunchedShard extends Shard {
  /** Its name; `none` where there is no launcher, and one process has all. */
  readonly launcher: string;
}

/**
 * The share of this process, from the variables of its launcher: a Slurm array (an array with a step is refused, tasks within its elements are counted too) or the
 * tasks of `srun`, Open MPI, MPICH, an Indexed Job of Kubernetes, torchrun; all rows where there is none.
 *
 * @throws DataOptionError for variables that no launcher sets like that, or of which one is missing
 */
export function launcherShard(environment: Readonly<Record<string, string | undefined>> = process.env): LaunchedShard {
  const launcher = LAUNCHERS.find(
    ({ rank, world }) => has(environment, rank) && (has(environment, world) || world === 'JOB_COMPLETIONS'),
  );
  if (launcher === undefined) {
    const half = LAUNCHERS.find(
      ({ rank, world, name }) =>
        name !== 'torchrun' && has(environment, rank) !== has(environment, world) && name !== 'Slurm',
    );
    if (half === undefined) return { rank: 0, world: 1, launcher: 'none' };
    const missing = has(environment, half.rank) ? half.world : half.rank;
    throw new DataOptionError('launcherShard', `of the variables of ${half.name}, ${missing} is missing.`);
  }
  const shard = shardOf(launcher, environment);
  if (launcher.name !== 'Slurm array') return shard;
  const within = WITHIN_ARRAY.find(({ rank, world }) => has(environment, rank) && has(environment, world));
  if (within === undefined && !has(environment, 'SLURM_NTASKS')) return shard;
  const inner = shardOf(within ?? SLURM, { SLURM_PROCID: '0', ...environment });
  return { launcher: 'Slurm array', rank: shard.rank * inner.world + inner.rank, world: shard.world * inner.world };
}

const has = (environment: Readonly<Record<string, string | undefined>>, name: string): boolean =>
  (environment[name] ?? '') !== '';

function shardOf(
  { name, rank, world, first }: Launcher,
  environment: Readonly<Record<string, string | undefined>>,
): LaunchedShard {
  const whole = (variable: string): number => {
    const text = environment[variable] ?? '';
    if (/^\d+$/.test(text)) return Number(text);
    const remedy = variable === 'JOB_COMPLETIONS' ? ' Set it in the manifest of the Job to its spec.completions.' : '';
    throw new DataOptionError(
      'launcherShard',
      `${variable} of ${name} must be a whole number, got ${text === '' ? 'none' : JSON.stringify(text)}.${remedy}`,
    );
  };
  const step = environment.SLURM_ARRAY_TASK_STEP ?? '1';
  if (first !== undefined && step !== '1' && step !== '') {
    throw new DataOptionError(
      'launcherShard',
      `the array has a step of ${step}; submit it without one, such as --array=0-15.`,
    );
  }
  const [at, count] = [whole(rank) - (first !== undefined && has(environment, first) ? whole(first) : 0), whole(world)];
  if (at >= 0 && at < count) return { launcher: name, rank: at, world: count };
  throw new DataOptionError(
    'launcherShard',
    `${rank} of ${name} is ${at}, and ${world} is ${count}; the array must be whole, such as --array=0-15.`,
  );
}
