import { type Dense, dense, rowsOf, type Singular, scaledRows, singularOf } from '../adapters/dense.js';
import { AdapterConfigError } from '../adapters/errors.js';
import type { AdapterTarget } from '../adapters/layer-method.js';
import type { AdaptableModel } from '../adapters/peft-adapter.js';
import { layerInputs } from '../adapters/row-passes.js';

/** Options of EVA, by PEFT's names in camel case. */
export interface EvaConfig {
  /** Most ranks of a module, as a multiple of its own. 1: ranks stay as they are. Default 2. */
  readonly rho: number;
  /** The cosine of a direction with itself one step before, from which on it counts as found. Default 0.99. */
  readonly tau: number;
  /** Leave tokens without a label out. Rows here are token ids, all of which count. Default true. */
  readonly useLabelMask: boolean;
  /** Which label that is. Default −100. */
  readonly labelMaskValue: number;
  /** Divide the directions by the roots of their singular values. Default false. */
  readonly whiten: boolean;
  /** Multiply α by what the rank was multiplied with. Default true. */
  readonly adjustScalingFactors: boolean;
}

export const EVA_DEFAULTS: EvaConfig = {
  ...{ rho: 2, tau: 0.99, useLabelMask: true, labelMaskValue: -100 },
  ...{ whiten: false, adjustScalingFactors: true },
};

/** More than this is no multiple but "all there are", as PEFT reads it. */
const LARGEST_RHO = 1000;
/** Steps of the decomposition after which directions that still turn are an error. */
const MOST_STEPS = 10_000;

/** What is known of the inputs of one module, or of several with the same inputs. */
interface Inputs {
  readonly components: number;
  seen: number;
  mean: Float64Array;
  /** Σ (x − mean)² over tokens and inputs. */
  variation: number;
  found?: Pick<Singular, 'values' | 'v'>;
  converged: boolean[];
}

/**
 * EVA (arXiv 2410.07170): A starts as the directions in which the inputs of a module vary most, the right singular vectors of
 * the centred inputs over tokens, and B at zero. They come of an incremental decomposition (Ross et al. 2008), one row a step, the rows over and over,
 * until every direction that is needed has a cosine of `tau` with itself one step before.
 *
 * Ranks go where they explain most: of the directions of all modules, those with the largest shares σ² / Σ σ² of their inputs'
 * variance, as many as the ranks add up to, at most r·ρ in a module. One that gets none is no target any more. Modules with the same
 * inputs (q, k, v) share a decomposition.
 *
 * @returns A [rank, in] of every target
 * @throws AdapterConfigError where no row has enough tokens, or directions do not settle
 */
export async function evaDirections(
  model: AdaptableModel,
  targets: readonly AdapterTarget[],
  rows: readonly (readonly number[])[],
  { config, rankOf }: { readonly config: EvaConfig; readonly rankOf: (target: string) => number },
): Promise<ReadonlyMap<string, Dense>> {
  const names = targets.map(({ name }) => name);
  const leaders = leadersOf(names, await layerInputs(model, targets, rows[0]!));
  const rho = config.rho > LARGEST_RHO ? Math.min(config.rho, largestRho(model, rankOf(names[0]!))) : config.rho;
  const budget = names.reduce((sum, name) => sum + rankOf(name), 0);
  const mostOf = (leader: string) =>
    Math.max(...names.filter((name) => leaders.get(name) === leader).map((name) => roundEven(rankOf(name) * rho)));

  const states = new Map<string, Inputs>();
  for (const target of targets.filter(({ name }) => leaders.get(name) === name)) {
    const width = target.transposed ? target.weight.shape[0]! : target.weight.shape[1]!;
    const components = mostOf(target.name);
    if (components > width) {
      throw new AdapterConfigError(
        `${target.name}: r · rho is ${components}, and the inputs have ${width} directions; lower one of them`,
      );
    }
    const converged = Array(components).fill(false);
    states.set(target.name, { components, seen: 0, mean: new Float64Array(width), variation: 0, converged });
  }
  const most = Math.max(...[...states.values()].map(({ components }) => components));
  if (rows.every(({ length }) => length < most)) {
    throw new AdapterConfigError(`no row has ${most} tokens, as many as r · rho directions need`);
  }

  let ranks = new Map(names.map((name) => [name, states.get(leaders.get(name)!)!.components]));
  for (let step = 0; ; step++) {
    const turning = [...states].filter(([name, state]) => state.converged.slice(0, ranks.get(name)).includes(false));
    if (turning.length === 0) break;
    if (step === MOST_STEPS) {
      throw new AdapterConfigError(`the directions of ${turning[0]![0]} still turn after ${step} rows; lower tau`);
    }
    const moving = targets.filter(({ name }) => turning.some(([other]) => other === name));
    const inputs = await layerInputs(model, moving, rows[step % rows.length]!);
    for (const [name, state] of turning) {
      const x = inputs.get(name);
      if (x && x.rows >= state.components) follow(state, x, config.tau);
    }
    if ([...states.values()].every(({ found }) => found)) ranks = distributed(names, leaders, states, budget);
  }
  return new Map(
    names.map((name) => {
      const { v, values } = states.get(leaders.get(name)!)!.found!;
      const directions = rowsOf(v, 0, ranks.get(name)!);
      return [name, config.whiten ? scaledRows(directions, (i) => values[i]! ** -0.5) : directions];
    }),
  );
}

/** One step of the decomposition: of what was found, the new inputs around their mean, and how far the mean moved. */
function follow(state: Inputs, x: Dense, tau: number): void {
  const { seen, mean, found, components } = state;
  const all = seen + x.rows;
  const own = Float64Array.from({ length: x.columns }, (_, j) => columnMean(x, j));
  const drift = Math.sqrt((seen / all) * x.rows);
  const centred = dense(x.rows, x.columns, (i, j) => x.values[i * x.columns + j]! - own[j]!);
  const before = found ? scaledRows(found.v, (i) => found.values[i]!) : undefined;
  const moved = before && dense(1, x.columns, (_, j) => drift * (mean[j]! - own[j]!));
  const { values, v } = singularOf(stacked([before, centred, moved].filter((part) => part !== undefined)));
  const count = Math.min(components, v.rows);
  const next = { values: values.slice(0, count), v: rowsOf(v, 0, count) };
  if (found) state.converged = Array.from({ length: components }, (_, i) => cosine(next.v, found.v, i) >= tau);
  const between = own.reduce((sum, value, j) => sum + (mean[j]! - value) ** 2, 0);
  state.variation += centred.values.reduce((sum, value) => sum + value * value, 0) + ((seen * x.rows) / all) * between;
  state.mean = mean.map((value, j) => (value * seen + own[j]! * x.rows) / all);
  state.seen = all;
  state.found = next;
}

/** How many of the `budget` most telling directions each module has. */
function distributed(
  names: readonly string[],
  leaders: ReadonlyMap<string, string>,
  states: ReadonlyMap<string, Inputs>,
  budget: number,
): Map<string, number> {
  const [led, others] = [
    names.filter((name) => leaders.get(name) === name),
    names.filter((name) => leaders.get(name) !== name),
  ];
  const shares = [...led, ...others].flatMap((name) => {
    const { found, variation } = states.get(leaders.get(name)!)!;
    return Array.from(found!.values, (value) => ({ name, share: value ** 2 / variation }));
  });
  const ranks = new Map(names.map((name) => [name, 0]));
  for (const { name } of shares.sort((a, b) => b.share - a.share).slice(0, budget)) {
    ranks.set(name, ranks.get(name)! + 1);
  }
  // Of modules with the same inputs the one that is decomposed has the most, so that what the others need has converged.
  for (const name of others) {
    const leader = leaders.get(name)!;
    const [own, most] = [ranks.get(name)!, ranks.get(leader)!];
    if (own > most) ranks.set(leader, own).set(name, most);
  }
  return ranks;
}

/** Of each module the first one with the same inputs. */
function leadersOf(names: readonly string[], inputs: ReadonlyMap<string, Dense>): ReadonlyMap<string, string> {
  const same = (a: Dense | undefined, b: Dense | undefined) =>
    a !== undefined && a.columns === b?.columns && a.rows === b.rows && a.values.every((x, i) => x === b.values[i]);
  return new Map(names.map((name) => [name, names.find((other) => other === name || same(inputs.get(other), inputs.get(name)))!])); // biome-ignore format: one row
}

function largestRho({ weights }: AdaptableModel, r: number): number {
  return Math.floor(Math.max(...Object.values(weights).flatMap(({ shape }) => shape)) / r);
}

/** As Python rounds: a half to the even neighbour. */
function roundEven(exact: number): number {
  const near = Math.round(exact);
  return near - exact === 0.5 && near % 2 === 1 ? near - 1 : near;
}

function columnMean({ rows, columns, values }: Dense, column: number): number {
  let sum = 0;
  for (let i = 0; i < rows; i++) sum += values[i * columns + column]!;
  return sum / rows;
}

function stacked(parts: readonly Dense[]): Dense {
  const values = Float64Array.from(parts.flatMap((part) => [...part.values]));
  return { rows: parts.reduce((sum, part) => sum + part.rows, 0), columns: parts[0]!.columns, values };
}

/** Between the vectors that two decompositions have at one place; both are unit vectors. */
function cosine(a: Dense, b: Dense, row: number): number {
  let sum = 0;
  for (let j = 0; j < a.columns; j++) sum += a.values[row * a.columns + j]! * b.values[row * b.columns + j]!;
  return sum;
}
