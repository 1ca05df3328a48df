import type { CallArguments, Comparison, Expression } from './ast.js';
import { getAttribute, getItem } from './attributes.js';
import { contains, equals, ordered } from './compare.js';
import { PyDict } from './dict.js';
import { fail, JinjaError, unsupported } from './errors.js';
import { filterNamed, testNamed } from './filters.js';
import { GLOBALS, REFUSED_NAMES } from './globals.js';
import { binary, slice, unary } from './operators.js';
import { str } from './print.js';
import type { Run } from './run.js';
import type { Scope } from './scope.js';
import {
  type Arguments,
  elements,
  type NamedArguments,
  NO_NAMED,
  orElse,
  PyObject,
  PyTuple,
  truthy,
  typeName,
  Undefined,
  type Value,
} from './values.js';

/** An evaluation of the model as it is: metrics by name. */
export type Evaluate = (run: Run, scope: Scope) => Value;

/** The name under which the body of a filter or set block is found; no name of a template can be so. */
export const BODY = '{body}';

/**
 * Turns an expression into a function of the variables.
 *
 * @param conditional inside an `if`: filters and tests that do not exist fail when they are used, not before
 */
export function compileExpression(expression: Expression, conditional: boolean): Evaluate {
  const compile = (inner: Expression) => compileExpression(inner, conditional);
  switch (expression.kind) {
    case 'constant': {
      const { value } = expression;
      return () => value;
    }
    case 'name':
      return lookUp(expression.name);
    case 'body':
      return (_, scope) => scope.get(BODY)!;
    case 'list': {
      const items = expression.items.map(compile);
      return (run, scope) => {
        run.spend(items.length + 1);
        return items.map((item) => item(run, scope));
      };
    }
    case 'tuple': {
      const items = expression.items.map(compile);
      return (run, scope) => {
        run.spend(items.length + 1);
        return new PyTuple(items.map((item) => item(run, scope)));
      };
    }
    case 'concat': {
      const items = expression.items.map(compile);
      return (run, scope) => {
        run.spend(items.length);
        let text = '';
        for (const item of items) text += str(run, item(run, scope));
        return run.text(text);
      };
    }
    case 'dict': {
      const entries = expression.entries.map(([key, value]) => [compile(key), compile(value)] as const);
      return (run, scope) => {
        run.spend(entries.length + 1);
        const dict = new PyDict();
        for (const [key, value] of entries) dict.set(run, key(run, scope), value(run, scope));
        return dict;
      };
    }
    case 'unary': {
      const { operator } = expression;
      const operand = compile(expression.operand);
      return operator === 'not'
        ? (run, scope) => !truthy(operand(run, scope))
        : (run, scope) => unary(operator, operand(run, scope));
    }
    case 'binary': {
      const { operator } = expression;
      const [left, right] = [compile(expression.left), compile(expression.right)];
      return (run, scope) => {
        run.spend(1);
        return binary(run, operator, left(run, scope), right(run, scope));
      };
    }
    case 'and':
    case 'or': {
      const [left, right] = [compile(expression.left), compile(expression.right)];
      const stops = expression.kind === 'or';
      return (run, scope) => {
        run.spend(1);
        const value = left(run, scope);
        return truthy(value) === stops ? value : right(run, scope);
      };
    }
    case 'compare':
      return compileComparison(
        compile(expression.first),
        expression.rest.map(([operator, operand]) => [operator, compile(operand)]),
      );
    case 'condition': {
      const soft = (inner: Expression) => compileExpression(inner, true);
      const [test, then] = [soft(expression.test), soft(expression.then)];
      const { line } = expression;
      const otherwise: Evaluate = expression.otherwise
        ? soft(expression.otherwise)
        : () =>
            new Undefined(
              `the inline if-expression of line ${line} evaluated to false and no else section was defined`,
            );
      return (run, scope) => {
        run.spend(1);
        return truthy(test(run, scope)) ? then(run, scope) : otherwise(run, scope);
      };
    }
    case 'attribute': {
      const { name } = expression;
      const object = compile(expression.object);
      return (run, scope) => {
        run.spend(1);
        return getAttribute(run, object(run, scope), name);
      };
    }
    case 'item': {
      const [object, key] = [compile(expression.object), compile(expression.key)];
      return (run, scope) => {
        run.spend(1);
        return getItem(run, object(run, scope), key(run, scope));
      };
    }
    case 'slice': {
      const object = compile(expression.object);
      const [start, stop, step] = [0, 1, 2].map((i): Evaluate => {
        const bound = expression.bounds[i];
        return bound ? compile(bound) : () => null;
      });
      return (run, scope) => slice(run, object(run, scope), start!(run, scope), stop!(run, scope), step!(run, scope));
    }
    case 'call': {
      const callee = compile(expression.callee);
      const call = compileArguments(expression.call, compile);
      return (run, scope) => {
        run.spend(1);
        const called = callee(run, scope);
        return callValue(run, called, ...call(run, scope));
      };
    }
    case 'filter':
    case 'test':
      return compileFilterOrTest(expression, compile, conditional);
  }
}

function lookUp(name: string): Evaluate {
  const global = GLOBALS.get(name);
  const refused = REFUSED_NAMES.includes(name);
  return (run, scope) => {
    run.spend(1);
    const value = orElse(scope.get(name), () => global);
    if (value !== undefined) return value;
    if (refused) unsupported(`the variable "${name}": a chat template has no blocks of other templates.`);
    return new Undefined(`'${name}' is undefined`);
  };
}

function compileComparison(first: Evaluate, rest: readonly (readonly [Comparison, Evaluate])[]): Evaluate {
  return (run, scope) => {
    let left = first(run, scope);
    for (const [operator, operand] of rest) {
      const right = operand(run, scope);
      if (!compare(run, operator, left, right)) return false;
      left = right;
    }
    return true;
  };
}

function compare(run: Run, operator: Comparison, left: Value, right: Value): boolean {
  switch (operator) {
    case '==':
      return equals(run, left, right);
    case '!=':
      return !equals(run, left, right);
    case 'in':
      return contains(run, right, left);
    case 'not in':
      return !contains(run, right, left);
    default:
      return ordered(run, operator, left, right);
  }
}

/** Calls what can be called. @throws JinjaError as Python's TypeError */
export function callValue(run: Run, callee: Value, args: Arguments, named: NamedArguments): Value {
  if (callee instanceof PyObject) return callee.call(run, args, named);
  return fail(`'${typeName(callee)}' object is not callable`);
}

type EvaluateArguments = (run: Run, scope: Scope) => [args: Arguments, named: NamedArguments];

export function compileArguments(
  call: CallArguments,
  compile: (expression: Expression) => Evaluate,
): EvaluateArguments {
  const args = call.args.map(compile);
  const named = call.named.map(([name, value]) => [name, compile(value)] as const);
  const rest = call.rest && compile(call.rest);
  const namedRest = call.namedRest && compile(call.namedRest);
  if (named.length === 0 && !rest && !namedRest) {
    return (run, scope) => [args.map((arg) => arg(run, scope)), NO_NAMED];
  }
  return (run, scope) => {
    const positional = args.map((arg) => arg(run, scope));
    const byName = new Map<string, Value>();
    if (rest) for (const value of elements(run, rest(run, scope))) positional.push(value);
    for (const [name, value] of named) byName.set(name, value(run, scope));
    if (namedRest) addNamed(run, byName, namedRest(run, scope));
    return [positional, byName];
  };
}

function addNamed(run: Run, named: Map<string, Value>, rest: Value): void {
  if (!(rest instanceof PyDict)) fail(`argument after ** must be a mapping, not ${typeName(rest)}`);
  for (const [name, value] of rest.entries(run)) {
    if (typeof name !== 'string') fail('keywords must be strings');
    if (named.has(name)) fail(`got multiple values for keyword argument '${name}'`);
    named.set(name, value);
  }
}

function compileFilterOrTest(
  expression: Expression & { readonly kind: 'filter' | 'test' },
  compile: (expression: Expression) => Evaluate,
  conditional: boolean,
): Evaluate {
  const { kind, name, line } = expression;
  const operand = compile(expression.operand);
  const call = compileArguments(expression.call, compile);
  const apply = kind === 'filter' ? filterNamed(name) : testNamed(name);
  if (!apply) {
    const missing = new JinjaError('syntax', `there is no ${kind} named "${name}".`, line);
    if (!conditional) throw missing;
    return () => {
      throw missing;
    };
  }
  return (run, scope) => {
    run.spend(1);
    const value = operand(run, scope);
    return apply(run, value, ...call(run, scope));
  };
}
