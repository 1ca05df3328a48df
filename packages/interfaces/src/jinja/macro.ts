import type { Signature } from './ast.js';
import { PyDict } from './dict.js';
import { fail } from './errors.js';
import { repr } from './print.js';
import type { Run } from './run.js';
import type { Scope } from './scope.js';
import { type Arguments, type NamedArguments, orElse, PyFunction, PyTuple, Undefined, type Value } from './values.js';

/** How a macro puts its parameters into the scope of its body. */
export interface MacroDefinition {
  readonly name: string | null;
  readonly signature: Signature;
  /** What a parameter that is not given becomes. */
  readonly missing: readonly (((run: Run, scope: Scope) => Value) | undefined)[];
  /** Renders the body in a scope of its own, which `fill` puts the parameters into. */
  readonly render: (run: Run, fill: (scope: Scope) => void) => string;
}

/** What `{% macro %}` and `{% call %}` define. */
export class Macro extends PyFunction {
  readonly #definition: MacroDefinition;

  constructor(definition: MacroDefinition) {
    super(definition.name ?? 'caller', (run, args, named) => this.#invoke(run, args, named), 'Macro');
    this.#definition = definition;
  }

  #invoke(run: Run, args: Arguments, given: NamedArguments): Value {
    const { signature, missing, render } = this.#definition;
    const named = new Map(given);
    const values = signature.parameters.map((parameter, i) => {
      if (i < args.length) return args[i];
      const value = named.get(parameter.name);
      named.delete(parameter.name);
      return value;
    });
    const special = this.#special(args, named);
    return render(run, (scope) => {
      for (const [i, parameter] of signature.parameters.entries()) {
        scope.set(
          parameter.name,
          orElse(values[i], () => notProvided(parameter.name)),
        );
      }
      for (const [key, value] of special(run)) scope.set(key, value);
      for (const [i, parameter] of signature.parameters.entries()) {
        const fallback = missing[i];
        if (values[i] === undefined && fallback) scope.set(parameter.name, fallback(run, scope));
      }
    });
  }

  /** The variables `caller`, `varargs` and `kwargs`, where the body reads them; what is left over is an error. */
  #special(args: Arguments, named: Map<string, Value>): (run: Run) => [string, Value][] {
    const { name, signature } = this.#definition;
    const { parameters, reads } = signature;
    const shown = name === null ? 'None' : `'${name}'`;
    const result: [string, Value][] = [];
    if (reads.has('caller') && !parameters.some((parameter) => parameter.name === 'caller')) {
      result.push(['caller', named.get('caller') ?? new Undefined('No caller defined')]);
      named.delete('caller');
    }
    const extra = args.slice(parameters.length);
    const takes = (variable: string) =>
      reads.has(variable) && !parameters.some((parameter) => parameter.name === variable);
    const [keyword] = named.keys();
    if (!takes('kwargs') && keyword !== undefined) fail(`macro ${shown} takes no keyword argument '${keyword}'`);
    if (takes('varargs')) result.push(['varargs', new PyTuple(extra)]);
    else if (extra.length > 0) fail(`macro ${shown} takes not more than ${parameters.length} argument(s)`);
    return (run) => (takes('kwargs') ? [...result, ['kwargs', PyDict.of(run, named)]] : result);
  }

  override attribute(run: Run, name: string): Value | undefined {
    const { signature } = this.#definition;
    switch (name) {
      case 'name':
        return this.#definition.name;
      case 'arguments':
        return new PyTuple(signature.parameters.map((parameter) => parameter.name));
      case 'catch_kwargs':
        return signature.reads.has('kwargs');
      case 'catch_varargs':
        return signature.reads.has('varargs');
      case 'caller':
        return signature.reads.has('caller');
    }
    return super.attribute(run, name);
  }

  override repr(run: Run): string {
    const { name } = this.#definition;
    return `<Macro ${name === null ? 'anonymous' : repr(run, name)}>`;
  }
}

const notProvided = (name: string) => new Undefined(`parameter '${name}' was not provided`);

/** Unpacks a value into as many targets. @throws JinjaError as Python's ValueError */
export function unpack(value: Iterable<Value>, count: number): Value[] {
  const items: Value[] = [];
  for (const item of value) {
    if (items.length === count) fail(`too many values to unpack (expected ${count})`);
    items.push(item);
  }
  if (items.length < count) fail(`not enough values to unpack (expected ${count}, got ${items.length})`);
  return items;
}
