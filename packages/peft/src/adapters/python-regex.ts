import { AdapterConfigError } from './errors.js';
import { isWordCharacter, parsePythonRegex, type RegexNode, RegexProblem } from './python-regex-parser.js';

/** Most instructions of a compiled pattern: counts such as `{1000}` are written out. */
const MAX_INSTRUCTIONS = 5_000;
/** Most instructions that are looked at for all texts together; names of the modules of a large model need a thousandth. */
const MAX_STEPS = 200_000_000;

type Instruction =
  | { readonly do: 'take'; matches(code: number): boolean }
  | { readonly do: 'fork'; readonly to: number[] }
  | { readonly do: 'check'; holds(run: Run, at: number): boolean }
  | { readonly do: 'end' };

/** What one text has been found to match, while it is matched. */
interface Run {
  readonly text: readonly string[];
  /** By look-around and position. */
  readonly looks: Map<number, boolean>;
}

/**
 * A regular expression in Python's syntax that must match the whole of a text, as `re.fullmatch` does. It is followed in
 * all ways at once (Thompson's automaton), so that the work is at most the product of the sizes of pattern and text, for
 * each look-around once at every position: no pattern of a file can hang its reader.
 */
export class PythonRegex {
  readonly pattern: string;
  readonly #instructions: Instruction[] = [];
  #steps = 0;

  /** @throws AdapterConfigError naming `option` and the pattern */
  constructor(pattern: string, option: string) {
    this.pattern = pattern;
    try {
      this.#compile(parsePythonRegex(pattern));
      this.#emit({ do: 'end' });
    } catch (error) {
      if (error instanceof RegexProblem) throw refused(pattern, option, error.message);
      throw error;
    }
  }

  /** Instructions looked at so far. */
  get steps(): number {
    return this.#steps;
  }

  /** @throws AdapterConfigError when all texts together took more than `MAX_STEPS` */
  matches(text: string): boolean {
    const run: Run = { text: [...text], looks: new Map() };
    return this.#follow(run, 0, 0, (at) => at === run.text.length);
  }

  /** Whether some way from instruction `start` at position `from` comes to an end where `accepts` says so. */
  #follow(run: Run, start: number, from: number, accepts: (at: number) => boolean): boolean {
    let current = new Set<number>();
    let ended = this.#reach(run, start, from, current);
    for (let at = from; ; at++) {
      if (ended && accepts(at)) return true;
      if (current.size === 0 || at === run.text.length) return false;
      const code = run.text[at]!.codePointAt(0)!;
      const next = new Set<number>();
      ended = false;
      for (const index of current) {
        const instruction = this.#instructions[index]!;
        if (instruction.do === 'take' && instruction.matches(code)) {
          ended = this.#reach(run, index + 1, at + 1, next) || ended;
        }
      }
      current = next;
    }
  }

  /** Adds every instruction that is reached without taking a character; whether the end is among them. */
  #reach(run: Run, start: number, at: number, into: Set<number>): boolean {
    const pending = [start];
    let ended = false;
    for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
      if (into.has(index)) continue;
      into.add(index);
      if (++this.#steps > MAX_STEPS) throw refused(this.pattern, 'a pattern', 'it takes too long');
      const instruction = this.#instructions[index]!;
      if (instruction.do === 'end') ended = true;
      else if (instruction.do === 'fork') pending.push(...instruction.to);
      else if (instruction.do === 'check' && instruction.holds(run, at)) pending.push(index + 1);
    }
    return ended;
  }

  #emit(instruction: Instruction): number {
    if (this.#instructions.length >= MAX_INSTRUCTIONS) {
      throw new RegexProblem(`it is too large: more than ${MAX_INSTRUCTIONS} steps when its counts are written out`);
    }
    return this.#instructions.push(instruction) - 1;
  }

  /** A fork whose ways are filled in later. */
  #fork(): number[] {
    const to: number[] = [];
    this.#emit({ do: 'fork', to });
    return to;
  }

  #compile(node: RegexNode): void {
    const here = () => this.#instructions.length;
    switch (node.type) {
      case 'character':
        this.#emit({ do: 'take', matches: node.matches });
        return;
      case 'sequence':
        for (const item of node.items) this.#compile(item);
        return;
      case 'choice': {
        const ways = this.#fork();
        const ends = node.options.map((option) => {
          ways.push(here());
          this.#compile(option);
          return this.#fork();
        });
        for (const end of ends) end.push(here());
        return;
      }
      case 'repeat': {
        for (let i = 0; i < node.min; i++) this.#compile(node.item);
        if (node.max === Infinity) {
          const loop = here();
          const ways = this.#fork();
          ways.push(here());
          this.#compile(node.item);
          this.#fork().push(loop);
          ways.push(here());
          return;
        }
        const skips: number[][] = [];
        for (let i = node.min; i < node.max; i++) {
          const ways = this.#fork();
          ways.push(here());
          skips.push(ways);
          this.#compile(node.item);
        }
        for (const skip of skips) skip.push(here());
        return;
      }
      case 'edge':
        this.#emit({ do: 'check', holds: ({ text }, at) => isAtEdge(node.edge, text, at) });
        return;
      case 'look':
        this.#look(node);
    }
  }

  #look({ item, behind, negated }: Extract<RegexNode, { readonly type: 'look' }>): void {
    const width = behind ? widthOf(item) : 0;
    // The item stands beside the way, which goes around it.
    const around = this.#fork();
    const start = this.#instructions.length;
    this.#compile(item);
    this.#emit({ do: 'end' });
    around.push(this.#instructions.length);
    const found = (run: Run, at: number): boolean => {
      if (at < width) return false;
      const key = start * (run.text.length + 1) + at;
      const known = run.looks.get(key);
      if (known !== undefined) return known;
      const result = this.#follow(run, start, at - width, (end) => !behind || end === at);
      run.looks.set(key, result);
      return result;
    };
    this.#emit({ do: 'check', holds: (run, at) => found(run, at) !== negated });
  }
}

function isAtEdge(edge: Extract<RegexNode, { type: 'edge' }>['edge'], text: readonly string[], at: number): boolean {
  if (edge === 'start') return at === 0;
  if (edge === 'end') return at === text.length;
  const isBorder = isWordCharacter(text[at - 1]) !== isWordCharacter(text[at]);
  return isBorder === (edge === 'word');
}

/** How many characters all texts of a look-behind have. */
function widthOf(node: RegexNode): number {
  const same = (widths: readonly number[]): number => {
    if (new Set(widths).size > 1) throw new RegexProblem('look-behind requires fixed-width pattern');
    return widths[0] ?? 0;
  };
  switch (node.type) {
    case 'character':
      return 1;
    case 'sequence':
      return node.items.reduce((sum, item) => sum + widthOf(item), 0);
    case 'choice':
      return same(node.options.map(widthOf));
    case 'repeat':
      return same([node.min * widthOf(node.item), node.max * widthOf(node.item)]);
    default:
      return 0;
  }
}

const compiled = new Map<string, PythonRegex>();
const MAX_COMPILED = 200;

/**
 * Whether a text is matched as a whole by a regular expression in Python's syntax.
 *
 * @param option what the pattern was given as, for the message
 * @throws AdapterConfigError
 */
export function fullMatch(pattern: string, option: string): (text: string) => boolean {
  let regex = compiled.get(pattern);
  if (!regex) {
    regex = new PythonRegex(pattern, option);
    if (compiled.size >= MAX_COMPILED) compiled.clear();
    compiled.set(pattern, regex);
  }
  const found = regex;
  return (text) => found.matches(text);
}

const shown = (pattern: string): string => JSON.stringify(pattern.length > 120 ? `${pattern.slice(0, 120)}…` : pattern);

const refused = (pattern: string, option: string, problem: string) =>
  new AdapterConfigError(`${option}: the regular expression ${shown(pattern)} cannot be used here: ${problem}.`);
