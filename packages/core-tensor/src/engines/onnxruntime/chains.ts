import { type Graph, type GraphNode, isOp, specOf, type Value } from '../../graph/node.js';
import { sameShape, sizeOf } from '../../shape.js';
import type { Lowering } from './lowering.js';
import { KERNEL_DOMAIN } from './proto.js';
import { countUses } from './uses.js';

/** The operations of the operator `Chain`, by the positions that its programs name (native/kernels/chain.h). */
const OPERATIONS = [
  ...['add', 'sub', 'mul', 'div', 'maximum', 'minimum'],
  ...['neg', 'exp', 'log', 'sqrt', 'reciprocal', 'sigmoid', 'abs', 'sum', 'max'],
] as const;
const BINARIES = 6;
const REDUCTIONS: ReadonlySet<string> = new Set(['sum', 'max']);

/** How an input lies in the rows and columns. */
const SPREADS = { full: 0, row: 1, column: 2, single: 3 } as const;

/** The bounds of native/kernels/chain.h. */
const MOST = { inputs: 12, results: 6, constants: 16, steps: 48 } as const;
/** Where rows stay whole, some of them have to fit the cache of a core, and must be worth the call of each step. */
const LONGEST_ROW = 1 << 16;
const SHORTEST_ROW = 32;

/** Elementwise operations, and reductions of their rows, that are computed in one pass over their operands. */
export interface Chain {
  /** Of the full operands. */
  readonly shape: readonly number[];
  /** In the order of the graph. */
  readonly members: readonly GraphNode[];
  /** Those that something outside reads. */
  readonly results: readonly GraphNode[];
}

/** A chain while it grows. */
interface Group {
  readonly shape: readonly number[];
  readonly members: Set<GraphNode>;
  readonly number: number;
  /** The chains that its members depend on, as bits. */
  readonly needed: Uint32Array;
}

/**
 * Elementwise fusion: the chains of a graph, by member. A node joins the chain of an operand of the same shape unless another operand
 * needs that chain's results, and two chains that meet become one on the same condition, so that each can run at one time.
 * `isTaken` says which nodes others compute.
 */
export function chainsOf(graph: Graph, isTaken: (node: GraphNode) => boolean): ReadonlyMap<GraphNode, Chain> {
  const groups = new Groups(graph.nodes.length);
  for (const node of graph.nodes) {
    if (!isTaken(node) && isCandidate(node)) join(node, groups);
    groups.note(node);
  }
  return finished(graph, groups.of);
}

/** Puts a node into the chain of its operands that it may join, or else into one of its own. */
function join(node: GraphNode, groups: Groups): void {
  const operands = node.inputs.map(sourceOf);
  const own = fullShapeOf(node);
  let group: Group | undefined;
  for (const { node: operand } of operands) {
    const other = groups.of.get(operand);
    if (!other || other === group) continue;
    if (own ? !sameShape(own, other.shape) : !isNarrow(node, other.shape)) continue;
    if (group === undefined) {
      if (operands.every((value) => groups.of.get(value.node) === other || !groups.needs([value.node], other)))
        group = other;
    } else if (canMerge(group, other, groups)) group = groups.merge(group, other);
  }
  const isIn = (given: Group) =>
    fits(operands, given, node) && programOf([...given.members, node], given.shape) !== undefined;
  const chosen = group && isIn(group) ? group : own && groups.make(own);
  if (chosen && (chosen === group || isIn(chosen))) groups.add(node, chosen);
}

/** The chains so far, and what depends on which. */
class Groups {
  readonly of = new Map<GraphNode, Group>();
  /** By number; a chain that was merged stands for what it became. */
  readonly #all: Group[] = [];
  readonly #words: number;
  /** Transitive dependences of a node up to the next chains, as bits by number. */
  readonly #needed = new Map<GraphNode, Uint32Array>();

  constructor(nodes: number) {
    this.#words = (nodes + 31) >> 5;
  }

  make(shape: readonly number[]): Group {
    const group = {
      shape,
      members: new Set<GraphNode>(),
      number: this.#all.length,
      needed: new Uint32Array(this.#words),
    };
    this.#all.push(group);
    return group;
  }

  add(node: GraphNode, group: Group): void {
    group.members.add(node);
    this.of.set(node, group);
    this.#addNeeded(node, group.needed);
  }

  merge(a: Group, b: Group): Group {
    for (const node of b.members) {
      a.members.add(node);
      this.of.set(node, a);
    }
    a.needed.forEach((_, i) => {
      a.needed[i]! |= b.needed[i]!;
    });
    this.#all.forEach((group, i) => {
      if (group === b) this.#all[i] = a;
    });
    return a;
  }

  /** Notes what a node depends on, after it was put into a chain or not. */
  note(node: GraphNode): void {
    if (this.of.has(node)) return;
    const bits = new Uint32Array(this.#words);
    this.#addNeeded(node, bits);
    this.#needed.set(node, bits);
  }

  #addNeeded(node: GraphNode, bits: Uint32Array): void {
    for (const { node: input } of node.inputs) {
      const group = this.of.get(input);
      if (group) bits[group.number >> 5]! |= 1 << (group.number & 31);
      else
        this.#needed.get(input)?.forEach((word, i) => {
          bits[i]! |= word;
        });
    }
  }

  /** Whether any of some nodes depends on a member of `target`; a chain depends on what any of its members does. */
  needs(from: readonly GraphNode[], target: Group): boolean {
    const seen = new Set<Group>();
    const visit = (bits: Uint32Array | undefined) =>
      bits?.forEach((word, i) => {
        for (let rest = word; rest !== 0; rest &= rest - 1)
          seen.add(this.#all[32 * i + 31 - Math.clz32(rest & -rest)]!);
      });
    for (const node of from) {
      const group = this.of.get(node);
      if (group) seen.add(group);
      else visit(this.#needed.get(node));
    }
    // Sets visit what is added on the way.
    for (const group of seen) {
      if (group === target) return true;
      visit(group.needed);
    }
    return false;
  }
}

/** The chains that are worth it, with what leaves them. */
function finished(graph: Graph, groups: ReadonlyMap<GraphNode, Group>): ReadonlyMap<GraphNode, Chain> {
  const inside = new Map<GraphNode, number>();
  for (const node of groups.keys()) {
    for (const { node: operand } of node.inputs.map(sourceOf))
      if (groups.get(operand) === groups.get(node)) inside.set(operand, (inside.get(operand) ?? 0) + 1);
  }
  const uses = new Map(countUses(graph));
  // A broadcast is read in place of what it is of.
  for (const node of graph.nodes) {
    if (!isOp(node, 'broadcastTo')) continue;
    const source = sourceOf({ node, index: 0 }).node;
    uses.set(source, uses.get(source)! - 1 + uses.get(node)!);
  }
  const chains = new Map<GraphNode, Chain>();
  for (const { shape, members } of new Set(groups.values())) {
    const results = [...members].filter((node) => uses.get(node)! > (inside.get(node) ?? 0));
    if (members.size < 2 || results.length > MOST.results) continue;
    const program = programOf([...members], shape);
    if (!program || (!program.isFlat && !(shape.at(-1)! >= SHORTEST_ROW && shape.at(-1)! <= LONGEST_ROW))) continue;
    const chain = { shape, members: [...members].sort((a, b) => a.id - b.id), results };
    for (const node of members) chains.set(node, chain);
  }
  return chains;
}

/** What a value is a broadcast of; itself if it is none. */
function sourceOf(value: Value): Value {
  let source = value;
  while (isOp(source.node, 'broadcastTo')) source = source.node.inputs[0]!;
  return source;
}

const isActivation = (node: GraphNode): node is GraphNode<'kernel'> =>
  isOp(node, 'kernel') && (node.attributes.kernel.name === 'silu' || node.attributes.kernel.name === 'swiglu');

function isCandidate(node: GraphNode): boolean {
  const isKnown = (OPERATIONS as readonly string[]).includes(node.op) || isActivation(node);
  if (!isKnown || node.outputs[0]!.dtype !== 'float32') return false;
  if (node.inputs.some((input) => specOf(input).dtype !== 'float32' || sizeOf(specOf(input).shape) === 0)) return false;
  if (isOp(node, 'sum') || isOp(node, 'max')) {
    const { shape } = specOf(node.inputs[0]!);
    // A single row would be added up by one thread.
    return shape.length > 1 && node.attributes.axes.length === 1 && node.attributes.axes[0] === shape.length - 1;
  }
  // The logarithm is not made of vectors.
  return node.op !== 'log' || node.outputs[0]!.shape.at(-1) === 1;
}

/** The shape of the rows and columns that a node works on; undefined for one number a row, which any chain may have. */
function fullShapeOf(node: GraphNode): readonly number[] | undefined {
  const { shape } = REDUCTIONS.has(node.op) ? specOf(node.inputs[0]!) : node.outputs[0]!;
  return shape.length > 0 && shape.at(-1)! > 1 ? shape : undefined;
}

/** Whether a node gives one number for each row of `shape`. */
const isNarrow = (node: GraphNode, shape: readonly number[]): boolean =>
  sameShape(node.outputs[0]!.shape, [...shape.slice(0, -1), 1]);

function spreadOf(shape: readonly number[], full: readonly number[]): keyof typeof SPREADS | undefined {
  if (sameShape(shape, full)) return 'full';
  if (sizeOf(shape) === 1) return 'single';
  const padded = [...full.slice(shape.length).map(() => 1), ...shape];
  if (sameShape(padded, [...full.slice(0, -1), 1])) return 'row';
  return sizeOf(shape) === shape.at(-1) && shape.at(-1) === full.at(-1) ? 'column' : undefined;
}

function fits(operands: readonly Value[], { shape, members }: Group, node: GraphNode): boolean {
  return operands.every((value) => {
    if (members.has(value.node)) return REDUCTIONS.has(value.node.op) ? isNarrow(value.node, shape) : true;
    return (
      isOp(value.node, 'full') ||
      (spreadOf(specOf(value).shape, shape) !== undefined && !REDUCTIONS.has(node.op)) ||
      sameShape(specOf(value).shape, shape)
    );
  });
}

function canMerge(a: Group, b: Group, groups: Groups): boolean {
  if (!sameShape(a.shape, b.shape)) return false;
  const outside = (group: Group, other: Group) =>
    [...group.members]
      .flatMap(({ inputs }) => inputs.map(({ node }) => node))
      .filter((node) => groups.of.get(node) !== group && groups.of.get(node) !== other);
  return !groups.needs(outside(a, b), b) && !groups.needs(outside(b, a), a);
}

interface Program {
  readonly inputs: readonly Value[];
  readonly spreads: readonly number[];
  readonly constants: readonly number[];
  readonly steps: readonly (readonly [operation: number, a: number, b: number])[];
  /** The step that computes a node. */
  readonly stepOf: ReadonlyMap<GraphNode, number>;
  /** Whether a step gives rows and columns; else it gives one number a row, which stands for all columns of it. */
  readonly isWide: readonly boolean[];
  /** Whether rows may be cut anywhere. */
  readonly isFlat: boolean;
}

type Operand = { readonly input: number } | { readonly constant: number } | { readonly step: number };

/** The program of some nodes; undefined where it is too long, or adds up rows of which all columns are one number. */
function programOf(nodes: readonly GraphNode[], shape: readonly number[]): Program | undefined {
  const [inputs, constants]: [Value[], number[]] = [[], []];
  const steps: (readonly [operation: string, a: Operand, b: Operand])[] = [];
  const stepOf = new Map<GraphNode, number>();
  const operand = (value: Value): Operand => {
    const { node, index } = sourceOf(value);
    const step = stepOf.get(node);
    if (step !== undefined) return { step };
    if (isOp(node, 'full')) {
      const known = constants.indexOf(node.attributes.value);
      return { constant: known < 0 ? constants.push(node.attributes.value) - 1 : known };
    }
    const known = inputs.findIndex((input) => input.node === node && input.index === index);
    return { input: known < 0 ? inputs.push({ node, index }) - 1 : known };
  };
  const add = (operation: string, a: Operand, b: Operand = a): Operand => ({ step: steps.push([operation, a, b]) - 1 });
  for (const node of [...nodes].sort((a, b) => a.id - b.id)) {
    const operands = node.inputs.map(operand);
    if (isActivation(node)) {
      const activated = add('mul', operands[0]!, add('sigmoid', operands[0]!));
      if (node.inputs.length === 2) add('mul', activated, operands[1]!);
    } else add(node.op, operands[0]!, operands[1]);
    stepOf.set(node, steps.length - 1);
  }
  if (inputs.length > MOST.inputs || constants.length > MOST.constants || steps.length > MOST.steps) return undefined;
  const spreads = inputs.map((value) => spreadOf(specOf(value).shape, shape));
  if (spreads.includes(undefined) || inputs.length === 0) return undefined;
  const position = (value: Operand): number =>
    'input' in value
      ? value.input
      : 'constant' in value
        ? inputs.length + value.constant
        : inputs.length + constants.length + value.step;
  const known = spreads as (keyof typeof SPREADS)[];
  const isWide: boolean[] = [];
  const isWideOperand = (value: Operand): boolean =>
    'input' in value
      ? known[value.input] === 'full' || known[value.input] === 'column'
      : 'step' in value && isWide[value.step]!;
  for (const [operation, a, b] of steps) {
    if (REDUCTIONS.has(operation) && !isWideOperand(a)) return undefined;
    isWide.push(!REDUCTIONS.has(operation) && (isWideOperand(a) || isWideOperand(b)));
  }
  return {
    inputs,
    spreads: known.map((spread) => SPREADS[spread]),
    constants,
    steps: steps.map(([operation, a, b]) => {
      const number = (OPERATIONS as readonly string[]).indexOf(operation);
      return [number, position(a), number < BINARIES ? position(b) : 0];
    }),
    stepOf,
    isWide,
    isFlat:
      !known.some((spread) => spread === 'row' || spread === 'column') && !nodes.some(({ op }) => REDUCTIONS.has(op)),
  };
}

/** Writes a chain as one node, and says where the results of its members are. */
export function lowerChain({ shape, members, results }: Chain, lowering: Lowering): void {
  const program = programOf(members, shape)!;
  const first = program.inputs.length + program.constants.length;
  const { builder } = lowering;
  const names = builder.ops(
    'Chain',
    program.inputs.map((input) => lowering.name(input)),
    results.length,
    {
      dims: shape,
      spreads: program.spreads,
      program: program.steps.flat(),
      results: results.map((node) => first + program.stepOf.get(node)!),
      ...(program.constants.length > 0 ? { constants: { floats: program.constants } } : {}),
    },
    KERNEL_DOMAIN,
  );
  for (const [i, node] of results.entries()) {
    const isWide = program.isWide[program.stepOf.get(node)!]!;
    const result = builder.shaped(names[i]!, isWide ? shape : [...shape.slice(0, -1), 1]);
    const isRepeated = !isWide && !REDUCTIONS.has(node.op) && !isNarrow(node, shape);
    const whole = isRepeated ? builder.shaped(builder.op('Expand', [result, builder.ints(shape)]), shape) : result;
    lowering.computed(node, [builder.reshape(whole, node.outputs[0]!.shape)]);
  }
}
