import { type CodePoints, type Expression, type Grammar, InvalidConstraintError } from './expression.js';

/** What a grammar's expressions are made of, as far as it can be said without reading a text. */
export interface Analysis {
  /** Whether some text satisfies an expression of the grammar. */
  isProductive(expression: Expression): boolean;
  /** The rules that some text satisfies. */
  readonly productiveRules: ReadonlySet<string>;
}

/**
 * Throws for a grammar that cannot be read: a rule that may begin with itself, which would be called without end before the
 * first character, or a root that no text satisfies. Takes time in proportion to the grammar.
 *
 * @throws InvalidConstraintError
 */
export function analyse(grammar: Grammar): Analysis {
  const nullable = new Property(grammar, () => false, ['']);
  checkLeftRecursion(grammar, nullable);
  const productive = new Property(grammar, (ranges) => ranges.length > 0);
  if (!productive.rules.has(grammar.root)) throw new InvalidConstraintError('no text satisfies it');
  return { isProductive: (expression) => productive.holds(expression), productiveRules: productive.rules };
}

/** A property that an expression has when enough of its parts have it: the least one. */
class Property {
  readonly rules = new Set<string>();
  readonly #ofCharacters: (ranges: CodePoints) => boolean;
  readonly #texts: readonly string[] | undefined;
  /** What is known for good, once the rules are. */
  readonly #known = new WeakMap<Expression, boolean>();

  /** @param texts the words that have it. Default: all */
  constructor(grammar: Grammar, ofCharacters: (ranges: CodePoints) => boolean, texts?: readonly string[]) {
    this.#ofCharacters = ofCharacters;
    this.#texts = texts;
    // A rule that is found to have it may give it to those that it is part of, and to no others.
    const users = new Map<string, string[]>();
    for (const [name, expression] of grammar.rules) {
      for (const part of rulesIn(expression)) {
        const known = users.get(part);
        if (known) known.push(name);
        else users.set(part, [name]);
      }
    }
    // Parts are defined after what they are part of, as a rule.
    const pending = [...grammar.rules.keys()];
    const isPending = new Set(pending);
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      isPending.delete(name);
      if (this.rules.has(name) || !this.#isMet(grammar.rules.get(name)!)) continue;
      this.rules.add(name);
      for (const user of users.get(name) ?? []) {
        if (this.rules.has(user) || isPending.has(user)) continue;
        pending.push(user);
        isPending.add(user);
      }
    }
  }

  holds(expression: Expression): boolean {
    const known = this.#known.get(expression) ?? this.#isMet(expression, (part) => this.holds(part));
    this.#known.set(expression, known);
    return known;
  }

  #isMet(expression: Expression, ofPart = (part: Expression): boolean => this.#isMet(part)): boolean {
    switch (expression.type) {
      case 'characters':
        return this.#ofCharacters(expression.ranges);
      case 'words':
        return this.#texts ? expression.texts.some((text) => this.#texts!.includes(text)) : expression.texts.length > 0;
      case 'sequence':
        return expression.items.every(ofPart);
      case 'choice':
        return expression.options.some(ofPart);
      case 'repeat':
        return expression.min === 0 || ofPart(expression.item);
      case 'rule':
        return this.rules.has(expression.name);
    }
  }
}

/** The rules that are named in an expression. */
function rulesIn(expression: Expression): Set<string> {
  const found = new Set<string>();
  const pending = [expression];
  for (let part = pending.pop(); part; part = pending.pop()) {
    if (part.type === 'rule') found.add(part.name);
    else if (part.type === 'sequence') for (const item of part.items) pending.push(item);
    else if (part.type === 'choice') for (const option of part.options) pending.push(option);
    else if (part.type === 'repeat') pending.push(part.item);
  }
  return found;
}

/** Rules that an expression may begin with. */
function leftRules(expression: Expression, nullable: Property, found = new Set<string>()): Set<string> {
  switch (expression.type) {
    case 'characters':
    case 'words':
      return found;
    case 'sequence':
      for (const item of expression.items) {
        leftRules(item, nullable, found);
        if (!nullable.holds(item)) break;
      }
      return found;
    case 'choice':
      for (const option of expression.options) leftRules(option, nullable, found);
      return found;
    case 'repeat':
      return leftRules(expression.item, nullable, found);
    case 'rule':
      return found.add(expression.name);
  }
}

function checkLeftRecursion(grammar: Grammar, nullable: Property): void {
  const done = new Set<string>();
  const path = new Set<string>();
  const visit = (name: string): void => {
    if (path.has(name)) {
      const names = [...path];
      const circle = [...names.slice(names.indexOf(name)), name].join(' → ');
      throw new InvalidConstraintError(
        `the rule ${name} begins with itself (${circle}); write it with a repetition, or recurse at the end`,
      );
    }
    if (done.has(name)) return;
    path.add(name);
    for (const next of leftRules(grammar.rules.get(name)!, nullable)) visit(next);
    path.delete(name);
    done.add(name);
  };
  for (const name of grammar.rules.keys()) visit(name);
}

/** Nodes that an automaton of an expression has at least, its repetitions written out. */
export function leastNodes(expression: Expression): number {
  switch (expression.type) {
    case 'sequence':
      return expression.items.reduce((sum, item) => sum + 1 + leastNodes(item), -1);
    case 'choice':
      return expression.options.reduce((sum, option) => sum + leastNodes(option), 0);
    case 'repeat': {
      const { item, min, max } = expression;
      return (max === Infinity ? min + 1 : max) * (1 + leastNodes(item));
    }
    default:
      return 0;
  }
}
