import { type CodePoints, type Expression, InvalidConstraintError, intersectionOf } from './expression.js';

/** Most states of an intersection; each becomes a rule. */
const MOST_STATES = 20_000;
const MOST_PAIRS = 1_000_000;

interface Edge {
  readonly characters: CodePoints;
  readonly target: number;
}

/** A state of the intersection: what may come there, and where it leads. */
export interface IntersectionState {
  readonly isAccepting: boolean;
  readonly edges: readonly Edge[];
}

/**
 * The texts that satisfy all of some regular expressions and have `min` to `max` characters, as a nondeterministic automaton
 * whose first state is the start: pairs of the expressions' own states and a count.
 *
 * @throws InvalidConstraintError where there would be too many
 */
export function intersection(expressions: readonly Expression[], min: number, max: number): IntersectionState[] {
  const parts = expressions.map((expression) => new Positions(expression));
  // Counts beyond the largest limit are all the same.
  const most = max === Infinity ? min : max;
  const states: IntersectionState[] = [];
  const numbers = new Map<string, number>();
  const pending: { readonly at: readonly number[]; readonly count: number }[] = [];
  const numberOf = (at: readonly number[], count: number): number => {
    const key = `${at.join()}#${count}`;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    if (numbers.size >= MOST_STATES) throw tooLarge();
    numbers.set(key, numbers.size);
    pending.push({ at, count });
    return numbers.size - 1;
  };
  numberOf(
    parts.map(({ start }) => start),
    0,
  );
  let pairs = 0;
  // States are numbered in the order in which they are looked at.
  for (const { at, count } of pending) {
    const edges: Edge[] = [];
    const next = Math.min(most, count + 1);
    const combine = (part: number, characters: CodePoints | undefined, targets: readonly number[]): void => {
      if (++pairs > MOST_PAIRS) throw tooLarge();
      if (part === parts.length) {
        if (characters && characters.length > 0) edges.push({ characters, target: numberOf(targets, next) });
        return;
      }
      for (const edge of parts[part]!.edgesFrom(at[part]!)) {
        const common = characters ? intersectionOf(characters, edge.characters) : edge.characters;
        if (common.length > 0) combine(part + 1, common, [...targets, edge.target]);
      }
    };
    if (count < max) combine(0, undefined, []);
    states.push({ isAccepting: count >= min && parts.every((part, i) => part.isAccepting(at[i]!)), edges });
  }
  return states;
}

const tooLarge = () =>
  new InvalidConstraintError(
    `patterns and lengths together make more than ${MOST_STATES} states; lower the lengths, or write one pattern`,
  );

/** A nondeterministic automaton over characters, without rules. */
class Positions {
  readonly start: number;
  readonly #end: number;
  readonly #empty: number[][] = [];
  readonly #edges: Edge[][] = [];
  readonly #closures = new Map<number, { readonly edges: readonly Edge[]; readonly isAccepting: boolean }>();

  constructor(expression: Expression) {
    [this.start, this.#end] = [this.#node(), this.#node()];
    this.#build(expression, this.start, this.#end);
  }

  edgesFrom(node: number): readonly Edge[] {
    return this.#closure(node).edges;
  }

  isAccepting(node: number): boolean {
    return this.#closure(node).isAccepting;
  }

  #closure(node: number) {
    const known = this.#closures.get(node);
    if (known) return known;
    const visited = new Set([node]);
    for (const reached of visited) for (const next of this.#empty[reached]!) visited.add(next);
    const closure = { edges: [...visited].flatMap((it) => this.#edges[it]!), isAccepting: visited.has(this.#end) };
    this.#closures.set(node, closure);
    return closure;
  }

  #node(): number {
    if (this.#empty.length >= MOST_STATES) throw tooLarge();
    this.#edges.push([]);
    return this.#empty.push([]) - 1;
  }

  #build(expression: Expression, from: number, to: number): void {
    switch (expression.type) {
      case 'characters':
        this.#edges[from]!.push({ characters: expression.ranges, target: to });
        return;
      case 'choice':
        for (const option of expression.options) this.#build(option, from, to);
        return;
      case 'sequence':
        this.#empty[this.#chain(expression.items, from)]!.push(to);
        return;
      case 'repeat': {
        const { item, min, max } = expression;
        let at = from;
        for (let i = 0; i < min; i++) at = this.#chain([item], at);
        if (max === Infinity) {
          const loop = this.#node();
          this.#empty[at]!.push(loop);
          this.#empty[this.#chain([item], loop)]!.push(loop);
          at = loop;
        }
        for (let i = min; i < max && max !== Infinity; i++) {
          this.#empty[at]!.push(to);
          at = this.#chain([item], at);
        }
        this.#empty[at]!.push(to);
        return;
      }
      default:
        throw new InvalidConstraintError(`an intersection with ${expression.type} is not supported`);
    }
  }

  /** One behind the other; gives where the last ends. */
  #chain(items: readonly Expression[], from: number): number {
    let at = from;
    for (const item of items) {
      const next = this.#node();
      this.#build(item, at, next);
      at = next;
    }
    return at;
  }
}
