import { compiling } from './engines/compile-clock.js';
import { compileGraph } from './engines/compile-graph.js';
import { currentEngine } from './engines/current.js';
import type { Donation, Engine, Executable } from './engines/engine.js';
import { CompileError, DonatedTensorError } from './errors.js';
import { isOp, makeNode, type Storage } from './graph/node.js';
import { buffersOf, captureLeaves, consume, inOrder, isRealized, leafOf, realizeOn } from './realize.js';
import { sameShape } from './shape.js';
import { Tensor } from './tensor.js';
import { flattenTree, type Leaf, leavesOf, withLeaves } from './tree.js';

/** Options of `compile`. */
export interface CompileFunctionOptions {
  /** A name for messages. Default: the function's own. */
  readonly name?: string;
  /**
   * Donation: arguments whose memory the outputs may take over. `{ 0: 'state' }` says that argument 0 becomes
   * `output.state`, which must have the same structure and specs. The argument's tensors cannot be used afterwards.
   */
  readonly donate?: Readonly<Record<number, string>>;
  /**
   * Donation of arguments that the host has read: as `donate`, but the array that `data()` gave is overwritten too, where
   * `donate` would copy it first (copy-on-write). Large results that are read at once, given back, need no allocation a
   * call.
   */
  readonly recycle?: Readonly<Record<number, string>>;
  /**
   * Prepacked weights: whether the engine may keep captured tensors (those of the closure, not of the arguments) in a second
   * layout: faster products with few rows, for up to twice the memory and a longer compilation. Default false.
   */
  readonly packCaptured?: boolean;
  /** What it computes on, for good. Default: the engine that is set when `compile` is called. */
  readonly engine?: Engine;
}

/**
 * Trace cache, LRU: how many traces of one function are kept. When none of them was ever used again, a plain number or a
 * shape changes from call to call, and every call retraces: that is an error.
 */
const MAX_TRACES = 64;

/** A compiled function, with `dispose` to free what the engine holds for it. */
export interface Compiled<Args extends readonly unknown[], Out> {
  (...args: Args): Promise<Out>;
  /** How many input signatures have been traced so far. */
  readonly traces: number;
  dispose(): Promise<void>;
}

/** The argument whose memory goes to the output `key`. */
interface DonatedArgument extends Pick<Donation, 'recycled'> {
  readonly argument: number;
  readonly key: string;
}

interface CachedTrace {
  readonly trace: Promise<Trace>;
  /** LRU clock: calls with any signature before the last with this one. */
  lastUse: number;
  reused: boolean;
}

interface Trace {
  readonly executable: Executable;
  readonly captured: ReadonlySet<Storage>;
  /** The output tree with placeholder tensors as leaves. */
  readonly output: unknown;
  /** Where the tensors sit in the arguments. */
  readonly paths: readonly string[];
  /** Which of them are donated. */
  readonly donated: readonly number[];
}

/**
 * Traces `f` once per input signature (structure, shapes, dtypes and plain values of its arguments) and runs the
 * traced graph from then on. Tensors are inputs; numbers, strings and booleans are baked in, so a value that changes
 * from call to call (a learning rate, a step) must be a tensor: see `scalar`. `f` must be pure: it is not called
 * again for a signature it has been traced for.
 *
 * A compiled function computes on one engine, that of its options or the one that was set when it was made, whoever sets
 * another later: tensors that live elsewhere are copied over. Calls of all compiled functions and reads of tensors run one
 * after the other, in the order they were made. Results are realised tensors.
 */
export function compile<Args extends readonly unknown[], Out>(
  f: (...args: Args) => Out,
  options: CompileFunctionOptions = {},
): Compiled<Args, Out> {
  const name = options.name ?? (f.name || 'compiled function');
  const listed = (given: Readonly<Record<number, string>> = {}) =>
    Object.entries(given).map(([argument, key]) => ({ argument: Number(argument), key }));
  const donate: DonatedArgument[] = [
    ...listed(options.donate),
    ...listed(options.recycle).map((given) => ({ ...given, recycled: true as const })),
  ];
  const { engine = currentEngine() } = options;
  const known = new Map<string, CachedTrace>();
  let calls = 0;

  const trace = async (args: Args): Promise<Trace> => {
    const leaves = leavesOf(args);
    const placeholders = leaves.map(({ tensor }) => makeNode('input', [], { spec: tensor.spec }));
    const output = f(
      ...withLeaves(
        args,
        placeholders.map((node) => new Tensor({ node, index: 0 })),
      ),
    );
    if (output instanceof Promise) throw new CompileError(`${name}: a compiled function must not be async`);
    const outputs = leavesOf(output);
    if (outputs.length === 0) throw new CompileError(`${name}: the function returned no tensor`);
    const donations = donate.flatMap(({ argument, key, ...how }) =>
      pair(name, leaves, outputs, argument, key).map((donation): Donation => ({ ...donation, ...how })),
    );
    const { graph, captured } = captureLeaves(
      outputs.map(({ tensor }) => tensor.value),
      placeholders,
    );
    const parts = {
      captured: new Set(captured),
      output,
      paths: leaves.map(({ path }) => path),
      donated: donatedLeaves(leaves, donate),
    };
    if (!options.packCaptured) return { ...parts, executable: await compileGraph(engine, graph, { donations }) };
    const { buffers, release } = await buffersOf(captured, engine, name);
    const constants = new Map(buffers.map((buffer, i) => [placeholders.length + i, buffer]));
    const executable = await compileGraph(engine, graph, { donations, constants }).finally(release);
    return { ...parts, executable };
  };

  const traceFor = async (args: Args, key: string): Promise<Trace> => {
    const present = known.get(key);
    if (present) {
      present.reused = true;
      present.lastUse = calls++;
      return present.trace;
    }
    if (known.size >= MAX_TRACES) {
      const all = [...known];
      if (!all.some(([, { reused }]) => reused)) throw tooManyTraces(name, known.keys(), key);
      const [oldest, evicted] = all.reduce((a, b) => (a[1].lastUse < b[1].lastUse ? a : b));
      known.delete(oldest);
      await (await evicted.trace).executable.dispose();
    }
    const made = compiling(() => trace(args));
    known.set(key, { trace: made, lastUse: calls++, reused: false });
    // A failed trace must not be remembered as a success.
    made.catch(() => known.delete(key));
    return made;
  };

  const call = async (args: Args): Promise<Out> => {
    const { tensors, signature } = flattenTree(args);
    const { executable, captured, output, paths, donated } = await traceFor(args, signature);
    if (!tensors.every(isRealized)) await realizeOn(engine, tensors);
    const storages = tensors.map(storageOf);
    checkArguments(name, paths, storages, donated, captured);
    const { buffers, release } = await buffersOf([...storages, ...captured], engine, name);
    for (const i of donated) consume(storages[i]!, 'donated');
    const results = await executable.run(buffers).finally(release);
    return withLeaves(
      output as Out,
      results.map((buffer) => new Tensor({ node: leafOf(engine, buffer), index: 0 })),
    );
  };

  const compiled = (...args: Args): Promise<Out> => inOrder(() => call(args));
  return Object.defineProperties(compiled, {
    traces: { get: () => known.size },
    dispose: {
      value: () =>
        inOrder(async () => {
          const pending = [...known.values()];
          known.clear();
          for (const cached of pending) await (await cached.trace).executable.dispose();
        }),
    },
  }) as Compiled<Args, Out>;
}

/** The positions of those leaves that are in donated arguments. */
function donatedLeaves(leaves: readonly Leaf[], donate: readonly DonatedArgument[]): number[] {
  const given = new Set(donate.map(({ argument }) => String(argument)));
  return leaves.flatMap(({ path }, i) => (given.has(path.split('.', 1)[0]!) ? [i] : []));
}

/** Matches the leaves of a donated argument with those of the output that takes them over. */
function pair(
  name: string,
  leaves: readonly Leaf[],
  outputs: readonly Leaf[],
  argument: number,
  key: string,
): Donation[] {
  const under = (prefix: string) => (path: string) =>
    path === prefix ? '' : path.startsWith(`${prefix}.`) ? path.slice(prefix.length) : undefined;
  const pick = (all: readonly Leaf[], prefix: string) =>
    all.flatMap((leaf, index) => {
      const rest = under(prefix)(leaf.path);
      return rest === undefined ? [] : [{ rest, index, tensor: leaf.tensor }];
    });
  const given = pick(leaves, String(argument));
  const taken = new Map(pick(outputs, key).map((leaf) => [leaf.rest, leaf]));
  if (given.length !== taken.size) {
    throw new CompileError(
      `${name}: argument ${argument} is donated to output "${key}", but it holds ${given.length} tensors and the output ${taken.size}`,
    );
  }
  return given.map(({ rest, index, tensor }) => {
    const output = taken.get(rest);
    const fits = output && output.tensor.dtype === tensor.dtype && sameShape(output.tensor.shape, tensor.shape);
    if (!fits) {
      throw new CompileError(
        `${name}: argument ${argument} is donated to output "${key}", but ${key}${rest} is ${output?.tensor ?? 'missing'} where the argument has ${tensor}`,
      );
    }
    return { input: index, output: output.index };
  });
}

function storageOf(tensor: Tensor): Storage {
  const { node } = tensor.value;
  if (!isOp(node, 'data')) throw new CompileError(`${tensor} was not realised`);
  return node.attributes.storage;
}

/** A donated tensor may be passed only once, or it would be overwritten while something else reads it. */
function checkArguments(
  name: string,
  paths: readonly string[],
  storages: readonly Storage[],
  donated: readonly number[],
  captured: ReadonlySet<Storage>,
): void {
  storages.forEach(({ consumed }, i) => {
    if (consumed) throw new DonatedTensorError(`${name}, argument ${paths[i]}`, consumed);
  });
  if (donated.length === 0) return;
  const givenAway = new Map(donated.map((i) => [storages[i]!, i]));
  storages.forEach((storage, i) => {
    const other = givenAway.get(storage) ?? i;
    if (other === i) return;
    const [first, second] = [Math.min(i, other), Math.max(i, other)];
    throw new CompileError(
      `${name}: arguments ${paths[first]} and ${paths[second]} are the same tensor, and one is donated`,
    );
  });
  for (const i of donated) {
    if (!captured.has(storages[i]!)) continue;
    throw new CompileError(`${name}: argument ${paths[i]} is donated, but the function also captures the same tensor`);
  }
}

function tooManyTraces(name: string, known: Iterable<string>, key: string): CompileError {
  const [example] = known;
  return new CompileError(
    `${name}: traced for ${MAX_TRACES} different inputs, none of which came twice. A number, string or shape among its arguments ` +
      `keeps changing; pass changing numbers as scalar(x) and pad shapes to a few sizes. First: ${example}. Now: ${key}.`,
  );
}
