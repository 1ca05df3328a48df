import { type CallArguments, type Comparison, type Expression, node } from './ast.js';
import { integerRepr } from './numbers.js';
import type { BinaryOperator } from './operators.js';
import { LIMITS } from './run.js';
import { describe, TokenReader } from './token-reader.js';

const COMPARISONS: readonly string[] = ['==', '!=', '<', '<=', '>', '>='];
const CONSTANTS: Readonly<Record<string, boolean | null>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
};
/** The grammar of Jinja's expressions, with its precedences. */
export class ExpressionParser extends TokenReader {
  /** An expression whose nesting is within bounds. */
  #node(...[plain, ...children]: Parameters<typeof node>): Expression {
    const made = node(plain, ...children);
    if (made.depth > LIMITS.expressionNesting) this.tooDeep();
    return made;
  }

  /** Expressions parted by commas are a tuple. */
  protected parseTuple(conditions = true, ends: readonly string[] = [], parenthesised = false): Expression {
    const { line } = this.current;
    const items: Expression[] = [];
    let isTuple = false;
    while (true) {
      if (items.length > 0) this.expectOperator(',');
      if (this.#isTupleEnd(ends)) break;
      items.push(conditions ? this.parseExpression() : this.#parseOr());
      if (!this.isOperator(',')) break;
      isTuple = true;
    }
    if (!isTuple && items.length > 0) return items[0]!;
    if (items.length === 0 && !parenthesised) this.fail(`an expression was expected, not ${describe(this.current)}.`);
    return this.#node({ kind: 'tuple', items, line }, ...items);
  }

  #isTupleEnd(ends: readonly string[]): boolean {
    const { type, value } = this.current;
    if (type === 'variable_end' || type === 'block_end') return true;
    return this.isOperator(')') || (type === 'name' && ends.includes(value));
  }

  protected parseExpression(): Expression {
    return this.nested(() => {
      const { line } = this.current;
      let then = this.#parseOr();
      while (this.skipName('if')) {
        const test = this.#parseOr();
        const otherwise = this.skipName('else') ? this.parseExpression() : undefined;
        then = this.#node({ kind: 'condition', test, then, otherwise, line }, test, then, otherwise);
      }
      return then;
    });
  }

  #parseOr(): Expression {
    let left = this.#parseAnd();
    while (this.isName('or')) {
      const { line } = this.next();
      const right = this.#parseAnd();
      left = this.#node({ kind: 'or', left, right, line }, left, right);
    }
    return left;
  }

  #parseAnd(): Expression {
    let left = this.#parseNot();
    while (this.isName('and')) {
      const { line } = this.next();
      const right = this.#parseNot();
      left = this.#node({ kind: 'and', left, right, line }, left, right);
    }
    return left;
  }

  #parseNot(): Expression {
    if (!this.isName('not')) return this.#parseComparison();
    const { line } = this.next();
    const operand = this.nested(() => this.#parseNot());
    return this.#node({ kind: 'unary', operator: 'not', operand, line }, operand);
  }

  #parseComparison(): Expression {
    const { line } = this.current;
    const first = this.#parseSum();
    const rest: [Comparison, Expression][] = [];
    while (true) {
      const { type, value } = this.current;
      if (type === 'operator' && COMPARISONS.includes(value)) {
        this.next();
        rest.push([value as Comparison, this.#parseSum()]);
      } else if (this.skipName('in')) rest.push(['in', this.#parseSum()]);
      else if (this.isName('not') && this.following.type === 'name' && this.following.value === 'in') {
        this.next();
        this.next();
        rest.push(['not in', this.#parseSum()]);
      } else break;
    }
    if (rest.length === 0) return first;
    return this.#node({ kind: 'compare', first, rest, line }, first, ...rest.map(([, operand]) => operand));
  }

  #parseSum(): Expression {
    return this.#leftToRight(['+', '-'], () => this.#parseConcat());
  }

  #parseConcat(): Expression {
    const { line } = this.current;
    const items = [this.#parseProduct()];
    while (this.skipOperator('~')) items.push(this.#parseProduct());
    return items.length === 1 ? items[0]! : this.#node({ kind: 'concat', items, line }, ...items);
  }

  #parseProduct(): Expression {
    return this.#leftToRight(['*', '/', '//', '%'], () => this.#leftToRight(['**'], () => this.#parseUnary(true)));
  }

  #leftToRight(operators: readonly BinaryOperator[], parse: () => Expression): Expression {
    let left = parse();
    while (this.current.type === 'operator' && (operators as readonly string[]).includes(this.current.value)) {
      const { value, line } = this.next();
      const right = parse();
      left = this.#node({ kind: 'binary', operator: value as BinaryOperator, left, right, line }, left, right);
    }
    return left;
  }

  #parseUnary(filters: boolean): Expression {
    return this.nested(() => {
      const { line } = this.current;
      let result: Expression;
      if (this.isOperator('-') || this.isOperator('+')) {
        const operator = this.next().value as '-' | '+';
        const operand = this.#parseUnary(false);
        result = this.#node({ kind: 'unary', operator, operand, line }, operand);
      } else result = this.#parsePrimary();
      result = this.#parsePostfix(result);
      return filters ? this.#parseFiltersAndTests(result) : result;
    });
  }

  #parsePrimary(): Expression {
    const { type, value, line } = this.current;
    switch (type) {
      case 'name':
        this.next();
        if (Object.hasOwn(CONSTANTS, value)) return this.#node({ kind: 'constant', value: CONSTANTS[value]!, line });
        this.useName(value, 'read');
        return this.#node({ kind: 'name', name: value, line });
      case 'string': {
        let text = '';
        while (this.current.type === 'string') text += this.next().value;
        return this.#node({ kind: 'constant', value: text, line });
      }
      case 'integer':
        this.next();
        return this.#node({ kind: 'constant', value: this.#integer(value), line });
      case 'float':
        this.next();
        return this.#node({ kind: 'constant', value: Number(value), line });
    }
    if (this.skipOperator('(')) {
      const inner = this.parseTuple(true, [], true);
      this.expectOperator(')');
      return inner;
    }
    if (this.isOperator('[')) return this.#parseList();
    if (this.isOperator('{')) return this.#parseDict();
    return this.fail(`${describe(this.current)} is not expected here.`);
  }

  #integer(digits: string): bigint {
    if (digits.length > 4300) this.fail('a number has more than 4300 digits.');
    const value = BigInt(digits.toLowerCase());
    integerRepr(value);
    return value;
  }

  #parseList(): Expression {
    const { line } = this.expectOperator('[');
    const items = this.#items(']', () => this.parseExpression());
    return this.#node({ kind: 'list', items, line }, ...items);
  }

  #parseDict(): Expression {
    const { line } = this.expectOperator('{');
    const entries = this.#items('}', () => {
      const key = this.parseExpression();
      this.expectOperator(':');
      return [key, this.parseExpression()] as const;
    });
    return this.#node({ kind: 'dict', entries, line }, ...entries.flat());
  }

  /** What stands between commas up to a closing bracket; one comma may end it. */
  #items<T>(close: string, parse: () => T): T[] {
    const items: T[] = [];
    while (!this.isOperator(close)) {
      if (items.length > 0) this.expectOperator(',');
      if (this.isOperator(close)) break;
      items.push(parse());
    }
    this.expectOperator(close);
    return items;
  }

  #parsePostfix(start: Expression): Expression {
    let result = start;
    while (true) {
      if (this.isOperator('.')) result = this.#parseDot(result);
      else if (this.isOperator('[')) result = this.#parseSubscript(result);
      else if (this.isOperator('(')) result = this.#parseCall(result);
      else return result;
    }
  }

  #parseDot(object: Expression): Expression {
    const { line } = this.next();
    const { type, value } = this.next();
    if (type === 'name') return this.#node({ kind: 'attribute', object, name: value, line }, object);
    if (type !== 'integer') this.fail('a name or a number was expected after the dot.', line);
    const key = this.#node({ kind: 'constant', value: this.#integer(value), line });
    return this.#node({ kind: 'item', object, key, line }, object);
  }

  #parseSubscript(object: Expression): Expression {
    const { line } = this.expectOperator('[');
    const first = this.isOperator(':')
      ? undefined
      : this.isOperator(']')
        ? this.fail('a subscript is empty.')
        : this.parseExpression();
    if (this.isOperator(':')) {
      const bounds: (Expression | undefined)[] = [first];
      while (this.skipOperator(':') && bounds.length < 3) {
        bounds.push(this.isOperator(':') || this.isOperator(']') ? undefined : this.parseExpression());
      }
      this.expectOperator(']');
      return this.#node({ kind: 'slice', object, bounds, line }, object, ...bounds);
    }
    let key = first!;
    if (this.isOperator(',')) {
      const items = [key];
      // A slice among them is no expression, and refused.
      while (this.skipOperator(',')) items.push(this.parseExpression());
      key = this.#node({ kind: 'tuple', items, line }, ...items);
    }
    this.expectOperator(']');
    return this.#node({ kind: 'item', object, key, line }, object, key);
  }

  #parseCall(callee: Expression): Expression {
    const { line } = this.current;
    const call = this.parseCallArguments();
    return this.#node({ kind: 'call', callee, call, line }, callee, ...argumentExpressions(call));
  }

  protected parseCallArguments(): CallArguments {
    const { line } = this.expectOperator('(');
    const args: Expression[] = [];
    const named: [string, Expression][] = [];
    let rest: Expression | undefined;
    let namedRest: Expression | undefined;
    const ensure = (valid: boolean) => valid || this.fail('the arguments of a call are not in a valid order.', line);
    for (let first = true; !this.isOperator(')'); first = false) {
      if (!first) {
        this.expectOperator(',');
        if (this.isOperator(')')) break;
      }
      if (this.isOperator('*')) {
        ensure(!rest && !namedRest);
        this.next();
        rest = this.parseExpression();
      } else if (this.isOperator('**')) {
        ensure(!namedRest);
        this.next();
        namedRest = this.parseExpression();
      } else if (this.current.type === 'name' && this.following.type === 'operator' && this.following.value === '=') {
        ensure(!namedRest);
        const name = this.next().value;
        if (named.some(([other]) => other === name)) this.fail(`the argument ${name} is given twice.`);
        this.next();
        named.push([name, this.parseExpression()]);
      } else {
        ensure(!rest && !namedRest && named.length === 0);
        args.push(this.parseExpression());
      }
    }
    this.expectOperator(')');
    return { args, named, rest, namedRest };
  }

  #parseFiltersAndTests(start: Expression): Expression {
    let result = start;
    while (true) {
      if (this.isOperator('|')) result = this.parseFilter(result);
      else if (this.isName('is')) result = this.#parseTest(result);
      else if (this.isOperator('(')) result = this.#parseCall(result);
      else return result;
    }
  }

  /** One or more filters, `start` before the first `|` (or, in tags, without it). */
  protected parseFilter(start: Expression, inTag = false): Expression {
    let result = start;
    for (let first = inTag; first || this.isOperator('|'); first = false) {
      if (!first) this.next();
      const { line } = this.current;
      const name = this.#dottedName();
      const call = this.isOperator('(') ? this.parseCallArguments() : NO_ARGUMENTS;
      result = this.#node({ kind: 'filter', operand: result, name, call, line }, result, ...argumentExpressions(call));
    }
    return result;
  }

  #dottedName(): string {
    let name = this.expectName();
    while (this.skipOperator('.')) name += `.${this.expectName()}`;
    return name;
  }

  #parseTest(operand: Expression): Expression {
    const { line } = this.next();
    const negated = this.skipName('not');
    const name = this.#dottedName();
    const call = this.isOperator('(') ? this.parseCallArguments() : this.#testArgument();
    const test = this.#node({ kind: 'test', operand, name, call, line }, operand, ...argumentExpressions(call));
    return negated ? this.#node({ kind: 'unary', operator: 'not', operand: test, line }, test) : test;
  }

  /** A test may have one argument without parentheses. */
  #testArgument(): CallArguments {
    const { type, value } = this.current;
    const begins =
      ['name', 'string', 'integer', 'float'].includes(type) || this.isOperator('[') || this.isOperator('{');
    if (!begins || (type === 'name' && ['else', 'or', 'and'].includes(value))) return NO_ARGUMENTS;
    if (this.isName('is')) this.fail('tests cannot be chained with "is".');
    return { ...NO_ARGUMENTS, args: [this.#parsePostfix(this.#parsePrimary())] };
  }
}

const NO_ARGUMENTS: CallArguments = { args: [], named: [] };

function argumentExpressions({ args, named, rest, namedRest }: CallArguments): (Expression | undefined)[] {
  return [...args, ...named.map(([, value]) => value), rest, namedRest];
}
