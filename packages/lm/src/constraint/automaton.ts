import { type AutomatonParts, automatonParts } from './automaton-parts.js';
import type { Grammar } from './expression.js';
import { type WordPrefix, WordTree } from './word-tree.js';

/** Capacity of the cache of states. */
const MOST_STATES = 4096;
/** Capacity of the cache of token masks, in bytes; a mask over 150 000 tokens has 19 kB. */
const MOST_MASK_BYTES = 2 ** 25;
/** More nodes than there are: pairs of a stack and a node have numbers. */
const NODE_NUMBERS = 2 ** 26;
/** About what they take, in bytes. */
const NODE_BYTES = 40;
const WORD_NODE_BYTES = 200;
const STATE_BYTES = 3000;

/** A trie node of words behind a prefix, built lazily. */
interface WordNode {
  readonly tree: WordTree;
  /** The words that go on; undefined where the prefix is the last one. */
  readonly rest: WordPrefix | undefined;
  /** Whether the prefix is itself a word, behind which `target` comes. */
  readonly isWord: boolean;
  readonly target: number;
}

/** Return stack of rules, the innermost first; hash-consed: equal stacks are one object. */
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

/** A state of the determinised automaton (subset construction): texts with the same future share it while it is cached. */
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
 * deterministic as far as it is used. Every state can be completed.
 */
export class Automaton {
  readonly #parts: AutomatonParts;
  readonly #trees: readonly WordTree[];
  readonly #treeBytes: number;
  /** Nodes behind those of the parts. */
  readonly #wordNodes: WordNode[] = [];
  readonly #wordNodeNumbers = new Map<string, number>();
  readonly #states = new Map<string, AutomatonState>();
  readonly #bottom = new Stack(0, -1, undefined);
  #maskBytes = 0;
  #stacks = 0;
  readonly start: AutomatonState;

  /** @throws InvalidConstraintError, see `automatonParts` */
  constructor(source: Grammar | AutomatonParts) {
    this.#parts = 'rules' in source ? automatonParts(source) : source;
    this.#trees = this.#parts.wordLists.map((list, i) => new WordTree(i, list));
    this.#treeBytes = this.#trees.reduce((sum, { bytes }) => sum + bytes, 0);
    this.start = this.#close([{ node: this.#parts.start, stack: this.#bottom }])!;
  }

  /** About how much memory it takes, in bytes. */
  get bytes(): number {
    const nodes = this.#parts.isEnd.length * NODE_BYTES + this.#wordNodes.length * WORD_NODE_BYTES;
    return nodes + this.#treeBytes + this.#states.size * STATE_BYTES + this.#maskBytes;
  }

  /** Caches the mask of a state, up to the capacity. */
  keepMask(state: AutomatonState, mask: Uint32Array): void {
    if (this.#maskBytes + mask.byteLength > MOST_MASK_BYTES) this.#forget();
    this.#maskBytes += mask.byteLength;
    state.mask = mask;
  }

  /** Transition by one byte; null for a dead end. */
  step(state: AutomatonState, byte: number): AutomatonState | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const items: Item[] = [];
    const { isEnd, edges, words } = this.#parts;
    const own = isEnd.length;
    for (const { node, stack } of state.items) {
      if (node >= own) {
        const { tree, rest, target } = this.#wordNodes[node - own]!;
        this.#stepInto(items, tree, rest!, byte, target, stack);
        continue;
      }
      for (let i = edges.starts[node]!; i < edges.starts[node + 1]!; i += 3) {
        const isIn = edges.values[i]! <= byte && byte <= edges.values[i + 1]!;
        if (isIn) items.push({ node: edges.values[i + 2]!, stack });
      }
      for (let i = words.starts[node]!; i < words.starts[node + 1]!; i += 2) {
        const tree = this.#trees[words.values[i]!]!;
        const rest = tree.longer(tree.all);
        if (rest) this.#stepInto(items, tree, rest, byte, words.values[i + 1]!, stack);
      }
    }
    const next = items.length === 0 ? null : this.#close(items);
    state.next[byte] = next;
    return next;
  }

  #stepInto(items: Item[], tree: WordTree, rest: WordPrefix, byte: number, target: number, stack: Stack): void {
    const next = tree.behind(rest, byte);
    if (next) items.push({ node: this.#wordNode(tree, next, target), stack });
  }

  /** ε-closure: all that is reached without a byte, into rules and behind rules. */
  #close(pending: Item[]): AutomatonState | null {
    const visited = new Set<number>();
    const items: Item[] = [];
    let isAccepting = false;
    const nextId = () => ++this.#stacks;
    const { isEnd, edges, empty, calls, words } = this.#parts;
    for (let item = pending.pop(); item; item = pending.pop()) {
      const { node, stack } = item;
      const id = stack.id * NODE_NUMBERS + node;
      if (visited.has(id)) continue;
      visited.add(id);
      if (node >= isEnd.length) {
        const { rest, isWord, target } = this.#wordNodes[node - isEnd.length]!;
        if (rest) items.push(item);
        if (isWord) pending.push({ node: target, stack });
        continue;
      }
      let goesOn = edges.starts[node]! < edges.starts[node + 1]!;
      for (let i = words.starts[node]!; i < words.starts[node + 1]!; i += 2) {
        const tree = this.#trees[words.values[i]!]!;
        if (tree.longer(tree.all)) goesOn = true;
        if (tree.isWord(tree.all)) pending.push({ node: words.values[i + 1]!, stack });
      }
      if (goesOn) items.push(item);
      for (let i = empty.starts[node]!; i < empty.starts[node + 1]!; i++) {
        pending.push({ node: empty.values[i]!, stack });
      }
      for (let i = calls.starts[node]!; i < calls.starts[node + 1]!; i += 2) {
        const target = calls.values[i + 1]!;
        // Tail call: a rule that nothing follows needs no return address, so that right recursion has a constant stack.
        const above = isEnd[target] === 1 ? stack : stack.push(target, nextId);
        pending.push({ node: calls.values[i]!, stack: above });
      }
      if (isEnd[node] === 1) {
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

  /** Flushes the cache: drops all states but those that are referenced, whose transitions are rebuilt lazily. */
  #forget(): void {
    for (const state of this.#states.values()) {
      state.next.fill(undefined);
      state.mask = undefined;
    }
    this.#states.clear();
    this.#bottom.forget();
    this.#maskBytes = 0;
  }

  #wordNode(tree: WordTree, prefix: WordPrefix, target: number): number {
    const key = `${tree.id} ${prefix.from} ${prefix.to} ${prefix.length} ${target}`;
    const known = this.#wordNodeNumbers.get(key);
    if (known !== undefined) return known;
    const node = { tree, rest: tree.longer(prefix), isWord: tree.isWord(prefix), target };
    const number = this.#parts.isEnd.length + this.#wordNodes.push(node) - 1;
    this.#wordNodeNumbers.set(key, number);
    return number;
  }
}
