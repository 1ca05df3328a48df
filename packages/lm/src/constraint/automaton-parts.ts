import { type Analysis, analyse, leastNodes } from './analysis.js';
import { type Expression, type Grammar, InvalidConstraintError } from './expression.js';
import { utf8Ranges } from './utf8.js';
import { type SortedWords, sortedWords } from './word-tree.js';

export const MOST_NODES = 100_000;

export const tooLarge = () =>
  new InvalidConstraintError(
    `it is too large, of more than ${MOST_NODES} nodes; lower its repetition counts and maximal lengths`,
  );

/** Lists by node in one array (CSR): those of node i are `values[starts[i]] … values[starts[i + 1] - 1]`. */
export interface NodeLists {
  readonly starts: Int32Array<ArrayBuffer>;
  readonly values: Int32Array<ArrayBuffer>;
}

/**
 * The nodes of an automaton as plain arrays, which pass from one thread to another without being copied. Edges are triples
 * (lowest byte, highest byte, target), calls pairs (start of the rule, where it returns to), words pairs (number of the
 * list, target).
 */
export interface AutomatonParts {
  readonly start: number;
  /** 1 for nodes that a rule ends at. */
  readonly isEnd: Uint8Array<ArrayBuffer>;
  readonly edges: NodeLists;
  readonly empty: NodeLists;
  readonly calls: NodeLists;
  readonly words: NodeLists;
  readonly wordLists: readonly SortedWords[];
}

/** Transferables: the buffers that are moved to another thread, not copied. */
export const automatonBuffers = ({ isEnd, edges, empty, calls, words, wordLists }: AutomatonParts): ArrayBuffer[] => [
  isEnd.buffer,
  ...[edges, empty, calls, words].flatMap(({ starts, values }) => [starts.buffer, values.buffer]),
  ...wordLists.flatMap(({ bytes, offsets }) => [bytes.buffer, offsets.buffer]),
];

/**
 * A grammar as the nodes of a nondeterministic automaton with a stack of rules. Parts that no text satisfies are left out.
 * @throws InvalidConstraintError for a grammar with left recursion, without a text, or too large
 */
export function automatonParts(grammar: Grammar): AutomatonParts {
  let nodes = 0;
  for (const expression of grammar.rules.values()) nodes += leastNodes(expression);
  if (nodes > MOST_NODES) throw tooLarge();
  return new Builder(grammar).parts();
}

class Builder {
  readonly #analysis: Analysis;
  readonly #starts = new Map<string, number>();
  readonly #root: string;
  readonly #ends: number[] = [];
  readonly #edges = new ListsByNode();
  readonly #empty = new ListsByNode();
  readonly #calls = new ListsByNode();
  readonly #words = new ListsByNode();
  readonly #wordLists: SortedWords[] = [];
  #nodes = 0;

  constructor(grammar: Grammar) {
    this.#analysis = analyse(grammar);
    this.#root = grammar.root;
    const rules = this.#analysis.productiveRules;
    for (const name of rules) this.#starts.set(name, this.#node());
    for (const name of rules) {
      const end = this.#node();
      this.#ends.push(end);
      this.#build(grammar.rules.get(name)!, this.#starts.get(name)!, end);
    }
  }

  parts(): AutomatonParts {
    const isEnd = new Uint8Array(this.#nodes);
    for (const end of this.#ends) isEnd[end] = 1;
    const [edges, empty, calls, words] = [this.#edges, this.#empty, this.#calls, this.#words].map((lists) =>
      lists.packed(this.#nodes),
    ) as [NodeLists, NodeLists, NodeLists, NodeLists];
    return { start: this.#starts.get(this.#root)!, isEnd, edges, empty, calls, words, wordLists: this.#wordLists };
  }

  #node(): number {
    if (this.#nodes >= MOST_NODES) throw tooLarge();
    return this.#nodes++;
  }

  /** From a node to another without a byte. */
  #skip(from: number, to: number): void {
    this.#empty.add(from, to);
  }

  #build(expression: Expression, from: number, to: number): void {
    switch (expression.type) {
      case 'characters':
        for (const bytes of utf8Ranges(expression.ranges)) {
          let at = from;
          bytes.forEach(([low, high], i) => {
            const target = i === bytes.length - 1 ? to : this.#node();
            this.#edges.add(at, low, high, target);
            at = target;
          });
        }
        return;
      case 'words':
        this.#words.add(from, this.#wordLists.push(sortedWords(expression.texts)) - 1, to);
        return;
      case 'sequence': {
        let at = from;
        expression.items.forEach((item, i) => {
          const target = i === expression.items.length - 1 ? to : this.#node();
          this.#build(item, at, target);
          at = target;
        });
        if (expression.items.length === 0) this.#skip(from, to);
        return;
      }
      case 'choice':
        for (const option of expression.options) {
          if (this.#analysis.isProductive(option)) this.#build(option, from, to);
        }
        return;
      case 'repeat': {
        const { item, min, max } = expression;
        let at = from;
        const advance = () => {
          const target = this.#node();
          this.#build(item, at, target);
          at = target;
        };
        if (this.#analysis.isProductive(item)) {
          for (let i = 0; i < min; i++) advance();
          if (max === Infinity) {
            const loop = this.#node();
            this.#skip(at, loop);
            this.#build(item, loop, loop);
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
      case 'rule':
        this.#calls.add(from, this.#starts.get(expression.name)!, to);
    }
  }
}

/** Lists that grow in any order. */
class ListsByNode {
  readonly #lists: number[][] = [];

  add(node: number, ...values: readonly number[]): void {
    const list = this.#lists[node];
    if (list) list.push(...values);
    else this.#lists[node] = [...values];
  }

  packed(nodes: number): NodeLists {
    const starts = new Int32Array(nodes + 1);
    for (let i = 0; i < nodes; i++) starts[i + 1] = starts[i]! + (this.#lists[i]?.length ?? 0);
    const values = new Int32Array(starts[nodes]!);
    for (let i = 0; i < nodes; i++) {
      const list = this.#lists[i];
      if (list) values.set(list, starts[i]!);
    }
    return { starts, values };
  }
}
