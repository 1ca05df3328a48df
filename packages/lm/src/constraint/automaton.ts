import { type Analysis, analyse, leastNodes } from './analysis.js';
import { type Expression, type Grammar, InvalidConstraintError } from './expression.js';
import { utf8Ranges } from './utf8.js';
import { type WordPrefix, WordTree } from './word-tree.js';

const MOST_NODES = 100_000;
/** Most states kept. */
const MOST_STATES = 4096;
/** Most memory of their masks; one over 150 000 tokens takes 19 kB. */
const MOST_MASK_BYTES = 2 ** 25;
/** More nodes than there are: pairs of a stack and a node have numbers. */
const NODE_NUMBERS = 2 ** 26;
/** About what they take, in bytes. */
const NODE_BYTES = 200;
const STATE_BYTES = 3000;

const tooLarge = () =>
  new InvalidConstraintError(
    `it is too large, of more than ${MOST_NODES} nodes; lower its repetition counts and maximal lengths`,
  );

interface Edge {
  readonly low: number;
  readonly high: number;
  readonly target: number;
}

interface Call {
  readonly rule: string;
  readonly target: number;
}

/** Words that are read in part, whose next nodes are made when they are asked for. */
interface Words {
  readonly tree: WordTree;
  readonly prefix: WordPrefix;
  readonly target: number;
}

/** Most have one way on. */
interface Node {
  edges: readonly Edge[];
  empty: readonly number[];
  calls: readonly Call[];
  words: readonly Words[];
}

const NONE: readonly never[] = [];

function add<T>(list: readonly T[], item: T): readonly T[] {
  if (list === NONE) return [item];
  (list as T[]).push(item);
  return list;
}

/** Where rules return to, the innermost first. Equal stacks are one object. */
class Stack {
  readonly id: number;
  readonly target: number;
  readonly parent: Stack | undefined;
  readonly #above = new Map<number, Stack>();

  constructor(id: number, target: number, parent: Stack | undefined) {
    this.id = id;
    this.target = target;
    this.parent = parent;
  }

  push(target: number, nextId: () => number): Stack {
    let above = this.#above.get(target);
    if (!above) {
      above = new Stack(nextId(), target, this);
      this.#above.set(target, above);
    }
    return above;
  }

  forget(): void {
    this.#above.clear();
  }
}

interface Item {
  readonly node: number;
  readonly stack: Stack;
}

/** Everything that may go on behind some text. Texts with the same future share one, as long as it is kept. */
export class AutomatonState {
  readonly items: readonly Item[];
  /** Whether the text may end here. */
  readonly isAccepting: boolean;
  /** By byte; null: nothing goes on so, undefined: not asked yet. */
  readonly next: (AutomatonState | null | undefined)[] = new Array(256).fill(undefined);
  /** What a `TokenMasks` has computed for it. */
  mask: Uint32Array | undefined;

  constructor(items: readonly Item[], isAccepting: boolean) {
    this.items = items;
    this.isAccepting = isAccepting;
  }
}

/**
 * Reads the bytes of texts of a context-free grammar: a nondeterministic automaton with a stack of rules, made
 * deterministic as far as it is used. Every state can be completed: parts that no text satisfies are left out.
 */
export class Automaton {
  readonly #nodes: Node[] = [];
  readonly #starts = new Map<string, number>();
  readonly #ends = new Set<number>();
  readonly #states = new Map<string, AutomatonState>();
  readonly #bottom = new Stack(0, -1, undefined);
  readonly #wordNodes = new Map<string, number>();
  #trees = 0;
  #treeBytes = 0;
  #maskBytes = 0;
  #stacks = 0;
  readonly start: AutomatonState;

  /** @throws InvalidConstraintError for a grammar with left recursion, without a text, or too large */
  constructor(grammar: Grammar) {
    let nodes = 0;
    for (const expression of grammar.rules.values()) nodes += leastNodes(expression);
    if (nodes > MOST_NODES) throw tooLarge();
    const analysis = analyse(grammar);
    for (const name of analysis.productiveRules) this.#starts.set(name, this.#node());
    for (const name of analysis.productiveRules) {
      const end = this.#node();
      this.#ends.add(end);
      this.#build(grammar.rules.get(name)!, this.#starts.get(name)!, end, analysis);
    }
    this.start = this.#close([{ node: this.#starts.get(grammar.root)!, stack: this.#bottom }])!;
  }

  /** About how much memory it takes, in bytes. */
  get bytes(): number {
    return this.#nodes.length * NODE_BYTES + this.#treeBytes + this.#states.size * STATE_BYTES + this.#maskBytes;
  }

  /** Keeps the mask of a state, as long as there is room. */
  keepMask(state: AutomatonState, mask: Uint32Array): void {
    if (this.#maskBytes + mask.byteLength > MOST_MASK_BYTES) this.#forget();
    this.#maskBytes += mask.byteLength;
    state.mask = mask;
  }

  /** The state behind one more byte; null when nothing goes on with it. */
  step(state: AutomatonState, byte: number): AutomatonState | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const items: Item[] = [];
    for (const { node, stack } of state.items) {
      const { edges, words } = this.#nodes[node]!;
      for (const { low, high, target } of edges) {
        if (low <= byte && byte <= high) items.push({ node: target, stack });
      }
      for (const { tree, prefix, target } of words) {
        const next = tree.behind(prefix, byte);
        if (next) items.push({ node: this.#wordNode(tree, next, target), stack });
      }
    }
    const next = items.length === 0 ? null : this.#close(items);
    state.next[byte] = next;
    return next;
  }

  /** All that is reached without a byte: into rules, behind rules. */
  #close(pending: Item[]): AutomatonState | null {
    const visited = new Set<number>();
    const items: Item[] = [];
    let isAccepting = false;
    const nextId = () => ++this.#stacks;
    for (let item = pending.pop(); item; item = pending.pop()) {
      const { node, stack } = item;
      const id = stack.id * NODE_NUMBERS + node;
      if (visited.has(id)) continue;
      visited.add(id);
      const { edges, empty, calls, words } = this.#nodes[node]!;
      if (edges.length > 0 || words.length > 0) items.push(item);
      for (const target of empty) pending.push({ node: target, stack });
      for (const { rule, target } of calls) {
        // A call that nothing follows needs no place to return to, so that recursion at the end takes no room.
        const above = this.#ends.has(target) ? stack : stack.push(target, nextId);
        pending.push({ node: this.#starts.get(rule)!, stack: above });
      }
      if (this.#ends.has(node)) {
        if (stack.parent) pending.push({ node: stack.target, stack: stack.parent });
        else isAccepting = true;
      }
    }
    return this.#intern(items, isAccepting);
  }

  #intern(items: readonly Item[], isAccepting: boolean): AutomatonState {
    const ids = items.map(({ node, stack }) => stack.id * NODE_NUMBERS + node).sort((a, b) => a - b);
    const key = `${isAccepting}${ids.join()}`;
    let state = this.#states.get(key);
    if (!state) {
      if (this.#states.size >= MOST_STATES) this.#forget();
      state = new AutomatonState(items, isAccepting);
      this.#states.set(key, state);
    }
    return state;
  }

  /** Lets go of all states but those that somebody holds, which find their ways anew. */
  #forget(): void {
    for (const state of this.#states.values()) {
      state.next.fill(undefined);
      state.mask = undefined;
    }
    this.#states.clear();
    this.#bottom.forget();
    this.#maskBytes = 0;
  }

  #node(): number {
    if (this.#nodes.length >= MOST_NODES) throw tooLarge();
    return this.#push();
  }

  /** From a node to another without a byte. */
  #skip(from: number, to: number): void {
    const node = this.#nodes[from]!;
    node.empty = add(node.empty, to);
  }

  #push(): number {
    return this.#nodes.push({ edges: NONE, empty: NONE, calls: NONE, words: NONE }) - 1;
  }

  /** Where words go on behind a prefix. */
  #wordNode(tree: WordTree, prefix: WordPrefix, target: number): number {
    const key = `${tree.id} ${prefix.from} ${prefix.to} ${prefix.length} ${target}`;
    const known = this.#wordNodes.get(key);
    if (known !== undefined) return known;
    const node = this.#push();
    this.#wordNodes.set(key, node);
    this.#fill(node, tree, prefix, target);
    return node;
  }

  #fill(node: number, tree: WordTree, prefix: WordPrefix, target: number): void {
    if (tree.isWord(prefix)) this.#skip(node, target);
    const rest = tree.longer(prefix);
    const it = this.#nodes[node]!;
    if (rest) it.words = add(it.words, { tree, prefix: rest, target });
  }

  #build(expression: Expression, from: number, to: number, analysis: Analysis): void {
    const build = (part: Expression, start: number, end: number) => this.#build(part, start, end, analysis);
    switch (expression.type) {
      case 'characters':
        for (const bytes of utf8Ranges(expression.ranges)) {
          let at = from;
          bytes.forEach(([low, high], i) => {
            const target = i === bytes.length - 1 ? to : this.#node();
            const node = this.#nodes[at]!;
            node.edges = add(node.edges, { low, high, target });
            at = target;
          });
        }
        return;
      case 'words': {
        const tree = new WordTree(++this.#trees, expression.texts);
        this.#treeBytes += tree.bytes;
        this.#fill(from, tree, tree.all, to);
        return;
      }
      case 'sequence': {
        let at = from;
        expression.items.forEach((item, i) => {
          const target = i === expression.items.length - 1 ? to : this.#node();
          build(item, at, target);
          at = target;
        });
        if (expression.items.length === 0) this.#skip(from, to);
        return;
      }
      case 'choice':
        for (const option of expression.options) if (analysis.isProductive(option)) build(option, from, to);
        return;
      case 'repeat': {
        const { item, min, max } = expression;
        let at = from;
        const advance = () => {
          const target = this.#node();
          build(item, at, target);
          at = target;
        };
        if (analysis.isProductive(item)) {
          for (let i = 0; i < min; i++) advance();
          if (max === Infinity) {
            const loop = this.#node();
            this.#skip(at, loop);
            build(item, loop, loop);
            at = loop;
          }
          for (let i = min; i < max && max !== Infinity; i++) {
            this.#skip(at, to);
            advance();
          }
        }
        this.#skip(at, to);
        return;
      }
      case 'rule': {
        const node = this.#nodes[from]!;
        node.calls = add(node.calls, { rule: expression.name, target: to });
      }
    }
  }
}
