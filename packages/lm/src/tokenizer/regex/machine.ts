import { onigurumaWordAlone } from '../unicode/unicode.js';
import { type Edge, lengths, type Node, PatternError } from './syntax.js';

type Instruction =
  | { readonly op: 'set'; readonly has: (point: number) => boolean }
  | { readonly op: 'split'; readonly number: number; readonly first: number; readonly second: number }
  | { readonly op: 'jump'; readonly to: number }
  | { readonly op: 'edge'; readonly edge: Edge }
  | {
      readonly op: 'look';
      readonly behind: boolean;
      readonly negative: boolean;
      readonly body: Machine;
      readonly lengths: readonly [number, number];
    }
  | { readonly op: 'atomic'; readonly body: Machine };

const MAX_INSTRUCTIONS = 20_000;
const STEPS_PER_CHARACTER = 300;
const MAX_STATES = 2 ** 31 - 1;

type Draft = { -readonly [K in keyof Extract<Instruction, { op: 'split' }>]: Extract<Instruction, { op: 'split' }>[K] };

/** Counts what a search costs, over all machines that take part in it. */
interface Budget {
  steps: number;
}

/**
 * A backtracking matcher that visits every pair of instruction and position once: a pattern takes time proportional to
 * the text where a plain engine may take exponential time. Positions are UTF-16 code units.
 */
export class Machine {
  readonly #program: Instruction[] = [];
  #splits = 0;

  constructor(
    node: Node,
    readonly pattern: string,
  ) {
    this.#compile(node);
  }

  /** Starts and ends of all matches, in turn. @throws PatternError when the text is too costly for the pattern */
  matches(text: string): number[] {
    const budget = { steps: 2_000_000 + text.length * STEPS_PER_CHARACTER };
    const visited = this.#states(text);
    const states = text.length + 1;
    const found: number[] = [];
    let lastEnd = -1;
    for (let start = 0; start <= text.length; ) {
      const end = this.run(text, start, visited, budget);
      if (end === undefined || (end === start && end === lastEnd)) {
        start = next(text, start);
        continue;
      }
      found.push(start, end);
      lastEnd = end;
      // What led to the match may do so again; what failed fails again.
      for (let split = 0; split < this.#splits; split++) visited.clear(split * states + end);
      start = end === start ? next(text, start) : end;
    }
    return found;
  }

  /** The end of the match that begins at `start`; with `target` only a match that ends there. */
  run(text: string, start: number, visited: States, budget: Budget, target?: number): number | undefined {
    const stack = [0, start];
    while (stack.length > 0) {
      let position = stack.pop()!;
      let pc = stack.pop()!;
      for (;;) {
        if (--budget.steps < 0)
          throw new PatternError(this.pattern, `takes too many steps in a text of ${text.length} characters.`);
        const instruction = this.#program[pc];
        if (!instruction) {
          if (target === undefined || position === target) return position;
          break;
        }
        if (instruction.op === 'set') {
          const point = text.codePointAt(position);
          if (point === undefined || !instruction.has(point)) break;
          position += point > 0xffff ? 2 : 1;
          pc++;
        } else if (instruction.op === 'split') {
          const state = instruction.number * (text.length + 1) + position;
          if (visited.has(state)) break;
          visited.add(state);
          stack.push(instruction.second, position);
          pc = instruction.first;
        } else if (instruction.op === 'jump') {
          pc = instruction.to;
        } else if (instruction.op === 'edge') {
          if (!isAtEdge(text, position, instruction.edge)) break;
          pc++;
        } else if (instruction.op === 'atomic') {
          const end = instruction.body.run(text, position, new FewStates(), budget);
          if (end === undefined) break;
          position = end;
          pc++;
        } else {
          if (this.#looks(text, position, instruction, budget) === instruction.negative) break;
          pc++;
        }
      }
    }
    return undefined;
  }

  #looks(text: string, position: number, look: Extract<Instruction, { op: 'look' }>, budget: Budget): boolean {
    const { body } = look;
    if (!look.behind) return body.run(text, position, new FewStates(), budget) !== undefined;
    let start = position;
    for (let length = 0; length <= look.lengths[1]; length++) {
      if (length >= look.lengths[0] && body.run(text, start, new FewStates(), budget, position) !== undefined)
        return true;
      if (start === 0) return false;
      start = previous(text, start);
    }
    return false;
  }

  #states(text: string): States {
    const states = this.#splits * (text.length + 1);
    if (states > MAX_STATES) {
      throw new PatternError(this.pattern, `needs too much memory for a text of ${text.length} characters.`);
    }
    return new ManyStates(states);
  }

  #add(instruction: Instruction): number {
    if (this.#program.length >= MAX_INSTRUCTIONS)
      throw new PatternError(this.pattern, 'is too large once its repetitions are written out.');
    return this.#program.push(instruction) - 1;
  }

  #split(): Draft {
    const split: Draft = { op: 'split', number: this.#splits++, first: 0, second: 0 };
    this.#add(split);
    return split;
  }

  #compile(node: Node): void {
    switch (node.kind) {
      case 'set':
        this.#add({ op: 'set', has: (point) => node.set.has(point) });
        return;
      case 'sequence':
        for (const item of node.items) this.#compile(item);
        return;
      case 'choice': {
        const jumps: { op: 'jump'; to: number }[] = [];
        node.options.forEach((option, i) => {
          const split = i + 1 < node.options.length ? this.#split() : undefined;
          if (split) split.first = this.#program.length;
          this.#compile(option);
          if (!split) return;
          const jump = { op: 'jump' as const, to: 0 };
          this.#add(jump);
          jumps.push(jump);
          split.second = this.#program.length;
        });
        for (const jump of jumps) jump.to = this.#program.length;
        return;
      }
      case 'repeat':
        if (node.mode === 'possessive')
          this.#add({ op: 'atomic', body: new Machine({ ...node, mode: 'greedy' }, this.pattern) });
        else this.#repeat(node, node.mode === 'lazy');
        return;
      case 'atomic':
        this.#add({ op: 'atomic', body: new Machine(node.item, this.pattern) });
        return;
      case 'look':
        this.#add({
          op: 'look',
          behind: node.behind,
          negative: node.negative,
          body: new Machine(node.item, this.pattern),
          lengths: lengths(node.item),
        });
        return;
      case 'edge':
        this.#add({ op: 'edge', edge: node.edge });
    }
  }

  #repeat({ item, min, max }: Extract<Node, { kind: 'repeat' }>, lazy: boolean): void {
    for (let i = 0; i < min; i++) this.#compile(item);
    const optional = (): ((exit: number) => void) => {
      const split = this.#split();
      const body = this.#program.length;
      return (exit) => {
        split.first = lazy ? exit : body;
        split.second = lazy ? body : exit;
      };
    };
    if (max === Infinity) {
      const start = this.#program.length;
      const finish = optional();
      this.#compile(item);
      this.#add({ op: 'jump', to: start });
      finish(this.#program.length);
      return;
    }
    const finishes: ((exit: number) => void)[] = [];
    for (let i = min; i < max; i++) {
      finishes.push(optional());
      this.#compile(item);
    }
    for (const finish of finishes) finish(this.#program.length);
  }
}

/** A set of pairs of split and position. */
interface States {
  has(state: number): boolean;
  add(state: number): void;
  clear(state: number): void;
}

class ManyStates implements States {
  readonly #bits: Uint8Array;

  constructor(states: number) {
    this.#bits = new Uint8Array((states >> 3) + 1);
  }

  has(state: number): boolean {
    return (this.#bits[state >> 3]! & (1 << (state & 7))) !== 0;
  }

  add(state: number): void {
    this.#bits[state >> 3]! |= 1 << (state & 7);
  }

  clear(state: number): void {
    this.#bits[state >> 3]! &= ~(1 << (state & 7));
  }
}

/** For what is looked at around a position: it starts anew at each. */
class FewStates implements States {
  readonly #set = new Set<number>();

  has(state: number): boolean {
    return this.#set.has(state);
  }

  add(state: number): void {
    this.#set.add(state);
  }

  clear(state: number): void {
    this.#set.delete(state);
  }
}

function next(text: string, position: number): number {
  return position + ((text.codePointAt(position) ?? 0) > 0xffff ? 2 : 1);
}

function previous(text: string, position: number): number {
  const pair = position > 1 && (text.codePointAt(position - 2) ?? 0) > 0xffff;
  return position - (pair ? 2 : 1);
}

function isAtEdge(text: string, position: number, edge: Edge): boolean {
  const atEnd = position === text.length;
  switch (edge) {
    case 'textStart':
      return position === 0;
    case 'textEnd':
      return atEnd;
    case 'lineStart':
      return position === 0 || (text[position - 1] === '\n' && !atEnd);
    case 'lineEnd':
      return atEnd || text[position] === '\n';
    case 'lastLineEnd':
      return atEnd || (position === text.length - 1 && text[position] === '\n');
    default: {
      const word = onigurumaWordAlone();
      const before = position > 0 && word.has(text.codePointAt(previous(text, position))!);
      const after = !atEnd && word.has(text.codePointAt(position)!);
      return (before !== after) === (edge === 'wordEdge');
    }
  }
}
