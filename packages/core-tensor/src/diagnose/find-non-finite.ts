import { barrier } from '../autodiff/barrier.js';
import { tensorOf } from '../autodiff/vjp-rules.js';
import { compile } from '../compile.js';
import { full } from '../create.js';
import { isFloat } from '../dtype.js';
import { currentEngine } from '../engines/current.js';
import type { Engine } from '../engines/engine.js';
import {
  type GraphNode,
  isOp,
  makeNode,
  nameScope,
  type OpName,
  specOf,
  topologicalOrder,
  type Value,
} from '../graph/node.js';
import { type Shape, showShape, sizeOf } from '../shape.js';
import { stack, type Tensor, where } from '../tensor.js';
import { leavesOf } from '../tree.js';

/** What is in one tensor. */
export interface NumberStatistics {
  readonly shape: Shape;
  readonly nan: number;
  readonly infinite: number;
  /** Of the finite numbers; undefined where there are none. */
  readonly smallest: number | undefined;
  readonly largest: number | undefined;
}

/** The first tensor of a computation that is not finite. */
export interface NonFinite extends NumberStatistics {
  /** The operation that made it from finite inputs; `argument` or `constant` where it came in like that. */
  readonly op: string;
  /** The innermost `nameScope` it was made in, or the path of the argument; undefined where there is none. */
  readonly name: string | undefined;
  /** What the operation was given. */
  readonly inputs: readonly NumberStatistics[];
}

/** Outputs of these are as finite as their first input, so they are not looked at. */
const MOVES: ReadonlySet<OpName> = new Set(['reshape', 'transpose', 'broadcastTo', 'stopGradient', 'barrier']);

/**
 * The first tensor that went wrong on the way to what `f(...args)` gives: NaN or infinite, though everything that it was made
 * of was finite, and part of the reason that an output is not finite (an infinity that a mask removes is not one). Undefined when all
 * outputs are finite.
 *
 * Runs f twice on an engine (default: the one that is set), with a check behind every operation that nothing may overtake, so that the memory is
 * about that of f. `argumentNames` replace the numbers of the arguments in paths.
 */
export async function findNonFinite<Args extends readonly unknown[]>(
  f: (...args: Args) => unknown,
  args: Args,
  argumentNames: readonly string[] = [],
  { engine = currentEngine() }: { readonly engine?: Engine } = {},
): Promise<NonFinite | undefined> {
  let trace: Trace | undefined;
  const flags = compile(
    (...traced: Args) => {
      trace = traceOf(f, traced);
      return guard(trace);
    },
    { name: 'findNonFinite', engine },
  );
  const found = await readAndDispose(flags, args);
  const first = firstOf(trace!, await found.toArray());
  if (first === undefined) return undefined;
  const { node } = trace!.values[first]!;
  const inputs = node.inputs.filter((input) => isChecked(input));
  const details = compile(
    (...traced: Args) => {
      const again = traceOf(f, traced);
      const value = again.values[first]!;
      const shown = [value, ...value.node.inputs.filter((input) => isChecked(input))];
      return stack(shown.map((one) => statisticsOf(one)));
    },
    { name: 'findNonFinite', engine },
  );
  const numbers = await (await readAndDispose(details, args)).toArray();
  const [own, ...others] = [trace!.values[first]!, ...inputs].map((value, i) => named(value, numbers.slice(4 * i)));
  return { ...own!, inputs: others, ...origin(node, trace!, args, argumentNames) };
}

interface Trace {
  /** The placeholders of the arguments' tensors. */
  readonly placeholders: readonly GraphNode[];
  readonly outputs: readonly Value[];
  readonly nodes: readonly GraphNode[];
  /** Every float value, in an order in which inputs come first. */
  readonly values: readonly Value[];
}

const isChecked = (value: Value): boolean => isFloat(specOf(value).dtype) && sizeOf(specOf(value).shape) > 0;

function traceOf<Args extends readonly unknown[]>(f: (...args: Args) => unknown, traced: Args): Trace {
  const outputs = leavesOf(f(...traced)).map(({ tensor }) => tensor.value);
  const nodes = topologicalOrder(outputs);
  const values = nodes.flatMap((node) => node.outputs.map((_, index) => ({ node, index })));
  return {
    placeholders: leavesOf(traced).map(({ tensor }) => tensor.value.node),
    outputs,
    nodes,
    values: values.filter(isChecked),
  };
}

async function readAndDispose<Args extends readonly unknown[]>(
  run: ((...args: Args) => Promise<Tensor>) & { dispose(): Promise<void> },
  args: Args,
): Promise<Tensor> {
  try {
    return await run(...args);
  } finally {
    await run.dispose();
  }
}

const keyOf = ({ node, index }: Value): string => `${node.id}.${index}`;

/** 1 where a value of the trace is not finite: one number each, in order. Nothing reads a value before it was checked. */
function guard({ nodes, values }: Trace): Tensor {
  const guarded = new Map<string, Value>();
  const flags = new Map<string, Tensor>();
  const nowhere = full([], 0);
  for (const node of nodes) {
    const inputs = node.inputs.map((input) => guarded.get(keyOf(input)) ?? input);
    const moved = inputs.length === 0 ? node : nameScope(node.scope, () => makeNode(node.op, inputs, node.attributes));
    for (const index of node.outputs.keys()) {
      const [key, value] = [keyOf({ node, index }), { node: moved, index }];
      const source = sourceOf({ node, index });
      const known = source && flags.get(keyOf(source));
      if (known) flags.set(key, known);
      else if (isChecked(value)) {
        const flag = areFinite(tensorOf(value)).not().cast('float32').max();
        flags.set(key, flag);
        guarded.set(key, barrier(tensorOf(value), [flag]).value);
        continue;
      }
      guarded.set(key, value);
    }
  }
  return stack([nowhere, ...values.map((value) => flags.get(keyOf(value)) ?? nowhere)]);
}

/** The input that a value is only another arrangement of. */
function sourceOf({ node, index }: Value): Value | undefined {
  if (isOp(node, 'customVjp')) return node.inputs[index];
  return MOVES.has(node.op) ? node.inputs[0] : undefined;
}

/** NaN and infinities are the numbers that do not give 0 when they are taken from themselves. */
function areFinite(x: Tensor): Tensor {
  const wide = x.cast('float32');
  return wide.sub(wide).equal(0);
}

/** From an output that is not finite, back through inputs that are not, to the first that has only finite ones. */
function firstOf({ values, outputs }: Trace, flags: readonly number[]): number | undefined {
  const indices = new Map(values.map((value, i) => [keyOf(value), i]));
  const isBad = (value: Value): boolean => {
    const at = indices.get(keyOf(value));
    return at !== undefined && flags[at + 1] === 1;
  };
  const reached = new Set<string>();
  const stackOfValues = outputs.filter(isBad);
  let first: number | undefined;
  for (let value = stackOfValues.pop(); value; value = stackOfValues.pop()) {
    if (reached.has(keyOf(value))) continue;
    reached.add(keyOf(value));
    const source = sourceOf(value);
    const bad = source ? [source] : value.node.inputs.filter(isBad);
    stackOfValues.push(...bad);
    const at = indices.get(keyOf(value))!;
    if (bad.length === 0 && (first === undefined || at < first)) first = at;
  }
  return first;
}

/** NaNs, infinities, smallest and largest finite number (0 where there is none). */
function statisticsOf(value: Value): Tensor {
  const x = tensorOf(value).cast('float32');
  const finite = areFinite(x);
  const count = (flags: Tensor) => flags.cast('float32').sum();
  const nan = count(x.isNaN());
  const largest = (y: Tensor) => where(finite, y, -LARGEST).max();
  return stack([nan, count(finite.not()).sub(nan), largest(x.neg()).neg(), largest(x)]);
}

const LARGEST = 3.4028234663852886e38;

function named(value: Value, [nan, infinite, smallest, largest]: readonly number[]): NumberStatistics {
  const { shape } = specOf(value);
  const hasFinite = sizeOf(shape) > nan! + infinite!;
  return {
    shape,
    nan: nan!,
    infinite: infinite!,
    // Not -0.
    smallest: hasFinite ? smallest! + 0 : undefined,
    largest: hasFinite ? largest! + 0 : undefined,
  };
}

function origin(
  node: GraphNode,
  { placeholders }: Trace,
  args: readonly unknown[],
  argumentNames: readonly string[],
): { op: string; name: string | undefined } {
  const at = placeholders.indexOf(node);
  if (at >= 0) {
    const [argument, ...rest] = leavesOf(args)[at]!.path.split('.');
    return { op: 'argument', name: [argumentNames[Number(argument)] ?? `argument ${argument}`, ...rest].join('.') };
  }
  if (isOp(node, 'data')) return { op: 'constant', name: node.scope };
  return { op: isOp(node, 'kernel') ? node.attributes.kernel.name : node.op, name: node.scope };
}

/** A `NonFinite` in one sentence. */
export function describeNonFinite({ op, name, shape, nan, infinite, smallest, largest, inputs }: NonFinite): string {
  const range = (low: number | undefined, high: number | undefined) =>
    low === undefined ? 'nothing finite' : `${low.toPrecision(3)} to ${high!.toPrecision(3)}`;
  const counts = [nan > 0 ? `${nan} NaN` : '', infinite > 0 ? `${infinite} infinite` : '']
    .filter(Boolean)
    .join(' and ');
  const what = op === 'argument' ? name : `${op}${name === undefined ? '' : ` in ${name}`}`;
  const from =
    inputs.length === 0
      ? ''
      : `, computed from ${inputs.map((x) => `${showShape(x.shape)} (${range(x.smallest, x.largest)})`).join(' and ')}`;
  return `${what} ${showShape(shape)} has ${counts} of ${sizeOf(shape)} numbers, the others ${range(smallest, largest)}${from}`;
}
