import { type CodePoints, type Expression, type Grammar, InvalidConstraintError } from './expression.js';

/** Rules that satisfy a property, grown from none until nothing is added. */
function leastFixpoint(
  grammar: Grammar,
  holds: (expression: Expression, rules: ReadonlySet<string>) => boolean,
): ReadonlySet<string> {
  const found = new Set<string>();
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const [name, expression] of grammar.rules) if (holds(expression, found)) found.add(name);
  }
  return found;
}

/** Whether the empty text satisfies an expression, given the rules that it satisfies. */
const isNullable = (expression: Expression, rules: ReadonlySet<string>): boolean =>
  isMet(expression, rules, () => false);

/** Whether some text satisfies an expression, given the rules that some text satisfies. */
export const isProductive = (expression: Expression, rules: ReadonlySet<string>): boolean =>
  isMet(expression, rules, (ranges) => ranges.length > 0);

/** Whether an expression can be met by what `ofCharacters` and `rules` say of its smallest parts. */
function isMet(
  expression: Expression,
  rules: ReadonlySet<string>,
  ofCharacters: (ranges: CodePoints) => boolean,
): boolean {
  switch (expression.type) {
    case 'characters':
      return ofCharacters(expression.ranges);
    case 'sequence':
      return expression.items.every((item) => isMet(item, rules, ofCharacters));
    case 'choice':
      return expression.options.some((option) => isMet(option, rules, ofCharacters));
    case 'repeat':
      return expression.min === 0 || isMet(expression.item, rules, ofCharacters);
    case 'rule':
      return rules.has(expression.name);
  }
}

/** The rules that some text satisfies. @throws InvalidConstraintError when the root is none */
export function productiveRules(grammar: Grammar): ReadonlySet<string> {
  const rules = leastFixpoint(grammar, isProductive);
  if (!rules.has(grammar.root)) throw new InvalidConstraintError('no text satisfies it');
  return rules;
}

/** Rules that an expression may begin with. */
function leftRules(expression: Expression, nullable: ReadonlySet<string>): string[] {
  switch (expression.type) {
    case 'characters':
      return [];
    case 'sequence': {
      const first = expression.items.findIndex((item) => !isNullable(item, nullable));
      const items = first < 0 ? expression.items : expression.items.slice(0, first + 1);
      return items.flatMap((item) => leftRules(item, nullable));
    }
    case 'choice':
      return expression.options.flatMap((option) => leftRules(option, nullable));
    case 'repeat':
      return leftRules(expression.item, nullable);
    case 'rule':
      return [expression.name];
  }
}

/** Throws for a rule that may begin with itself, which would be called without end before the first character. */
export function checkLeftRecursion(grammar: Grammar): void {
  const nullable = leastFixpoint(grammar, isNullable);
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) {
      throw new InvalidConstraintError(
        `the rule ${name} begins with itself (${[...path.slice(path.indexOf(name)), name].join(' → ')}); write it with a repetition, or recurse at the end`,
      );
    }
    if (done.has(name)) return;
    for (const next of new Set(leftRules(grammar.rules.get(name)!, nullable))) visit(next, [...path, name]);
    done.add(name);
  };
  for (const name of grammar.rules.keys()) visit(name, []);
}
