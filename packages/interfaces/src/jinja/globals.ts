import { fromKeys } from './collection-methods.js';
import { Namespace, PyDict } from './dict.js';
import { fail, JinjaError, unsupported } from './errors.js';
import { toIndex } from './operators.js';
import { bind, parameters } from './parameters.js';
import { str } from './print.js';
import type { Run } from './run.js';
import { strftime } from './strftime.js';
import {
  type Arguments,
  defined,
  elements,
  listOf,
  type NamedArguments,
  PyFunction,
  PyObject,
  PyRange,
  textOf,
  typeName,
  type Value,
} from './values.js';

/** The longest range that the sandbox of Jinja2 allows. */
const LONGEST_RANGE = 100_000;

function range(args: Arguments, named: NamedArguments): PyRange {
  bind('range()', parameters('start, stop?, step? /'), args, named);
  for (const arg of args) toIndex(arg);
  const numbers = args.map((arg) => BigInt(arg as bigint | boolean));
  const [start, stop] = numbers.length === 1 ? [0n, numbers[0]!] : [numbers[0]!, numbers[1]!];
  const step = numbers[2] ?? 1n;
  if (step === 0n) fail('range() arg 3 must not be zero');
  const made = new PyRange(start, stop, step);
  if (made.count > LONGEST_RANGE) fail(`a range may not have more than ${LONGEST_RANGE} elements`);
  return made;
}

/** `dict(mapping or pairs, **named)`. */
function entriesOf(run: Run, args: Arguments, named: NamedArguments): [Value, Value][] {
  if (args.length > 1) fail(`dict expected at most 1 argument, got ${args.length}`);
  const [given] = args;
  if (given !== undefined) defined(given);
  const entries: [Value, Value][] = [];
  if (given instanceof PyDict) entries.push(...given.entries(run));
  else if (given !== undefined) {
    for (const element of elements(run, given)) {
      const pair = listOf(run, element);
      if (pair.length !== 2) fail(`dictionary update sequence element has length ${pair.length}; 2 is required`);
      entries.push([pair[0]!, pair[1]!]);
    }
  }
  return [...entries, ...named];
}

/** `dict`, which is no function here: it also has `fromkeys`. */
class DictMaker extends PyObject {
  override readonly typeName = 'TemplateDict';
  override get callable(): boolean {
    return true;
  }
  override call(run: Run, args: Arguments, named: NamedArguments): Value {
    return PyDict.of(run, entriesOf(run, args, named));
  }
  override attribute(_run: Run, name: string): Value | undefined {
    if (name !== 'fromkeys') return undefined;
    const wanted = parameters('iterable, value? /');
    return new PyFunction(name, (run, args, named) => {
      const [iterable, value = null] = bind('fromkeys()', wanted, args, named);
      return fromKeys(run, iterable!, value);
    });
  }
}

/** `cycler('a', 'b')`. */
class Cycler extends PyObject {
  override readonly typeName = 'Cycler';
  #at = 0;
  constructor(readonly items: Arguments) {
    super();
  }
  override attribute(_run: Run, name: string): Value | undefined {
    if (name === 'current') return this.items[this.#at];
    if (name === 'items') return unsupported('the attribute items of a cycler.');
    if (name === 'pos') return BigInt(this.#at);
    if (name !== 'next' && name !== 'reset') return undefined;
    return new PyFunction(name, (_, args, named) => {
      bind(`${name}()`, parameters(''), args, named);
      const current = name === 'next' ? this.items[this.#at]! : null;
      this.#at = name === 'next' ? (this.#at + 1) % this.items.length : 0;
      return current;
    });
  }
}

/** `joiner(', ')`: nothing the first time, then the separator. */
class Joiner extends PyObject {
  override readonly typeName = 'Joiner';
  #used = false;
  constructor(readonly separator: Value = ', ') {
    super();
  }
  override get callable(): boolean {
    return true;
  }
  override call(_run: Run, args: Arguments, named: NamedArguments): Value {
    bind('joiner()', parameters(''), args, named);
    const text = this.#used ? this.separator : '';
    this.#used = true;
    return text;
  }
  override attribute(_run: Run, name: string): Value | undefined {
    return name === 'sep' ? this.separator : name === 'used' ? this.#used : undefined;
  }
}

const one = (name: string, parameter: string, args: Arguments, named: NamedArguments): Value =>
  bind(`${name}()`, parameters(parameter), args, named)[0]!;

const FUNCTIONS: Readonly<Record<string, PyFunction['invoke']>> = {
  range: (_, args, named) => range(args, named),
  namespace: (run, args, named) => {
    const made = new Namespace();
    for (const [name, value] of entriesOf(run, args, named)) made.set(run, name, value);
    return made;
  },
  cycler: (_, args, named) => {
    if (args.length === 0 || named.size > 0) fail('cycler() takes one or more elements');
    return new Cycler(args);
  },
  joiner: (_, args, named) => new Joiner(bind('joiner()', parameters('sep?'), args, named)[0]),
  lipsum: () => unsupported('the function lipsum: a prompt must be the same each time.'),
  raise_exception: (run, args, named) => {
    throw new JinjaError('raised', str(run, one('raise_exception', 'message', args, named)));
  },
  strftime_now: (run, args, named) => {
    const format = one('strftime_now', 'format', args, named);
    return run.text(
      strftime(run.now, textOf(format) ?? fail(`strftime() argument 1 must be str, not ${typeName(format)}`)),
    );
  },
};

/** What every template has besides its variables. */
export const GLOBALS: ReadonlyMap<string, Value> = new Map<string, Value>([
  ...Object.entries(FUNCTIONS).map(([name, invoke]) => [name, new PyFunction(name, invoke, 'function')] as const),
  ['dict', new DictMaker()],
]);

/** Names that are special in Jinja2 and not carried over. */
export const REFUSED_NAMES: readonly string[] = ['self', 'super'];
