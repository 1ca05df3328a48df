import type { Body, Expression, Signature, Statement, Target } from './ast.js';
import { getAttribute, getItem } from './attributes.js';
import { BODY, callValue, compileArguments, compileExpression, type Evaluate } from './compile-expression.js';
import { Namespace, PyDict } from './dict.js';
import { fail, JinjaError, overLimit } from './errors.js';
import { filterNamed, testNamed } from './filters.js';
import { FrameNames } from './frame-names.js';
import { fromJs } from './from-js.js';
import type { WhiteSpace } from './lexer.js';
import { LoopContext } from './loop.js';
import { Macro, unpack } from './macro.js';
import { parseTemplate, targetNames } from './parser.js';
import { str } from './print.js';
import { type GenerationMarks, type Lookups, Run } from './run.js';
import { Output, Scope } from './scope.js';
import { elements, iterate, PyIterator, PyTuple, textOf, truthy, typeName, Undefined, type Value } from './values.js';
import { weightOf } from './weight.js';

/** How a statement ended. */
type Signal = 'break' | 'continue' | undefined;
type Execute = (run: Run, scope: Scope, output: Output) => Signal;

export interface TemplateOptions extends WhiteSpace {
  /** Undefined values fail when they are printed or tested, as with Jinja2's `StrictUndefined`. Default false. */
  readonly strict?: boolean | undefined;
}

export interface RenderOptions {
  /** What `strftime_now` says it is. */
  readonly now: Date;
  /** Put around what each `{% generation %}` block renders. Default: nothing. */
  readonly marks?: GenerationMarks | undefined;
}

const LOOKUPS: Lookups = { filter: filterNamed, test: testNamed, attribute: getAttribute, item: getItem };

/**
 * A template, compiled once: renders what Jinja2 3.1.6 renders in the environment that `transformers` 5 sets up for chat
 * templates (an immutable sandbox with `trim_blocks`, `lstrip_blocks`, loop controls and `{% generation %}`), or fails. Options set
 * the environment otherwise.
 */
export class Template {
  readonly #execute: Execute;
  readonly #frame: FrameNames;
  readonly #strict: boolean;

  /** @throws JinjaError where the template is not Jinja, or uses what is not supported */
  constructor(source: string, options: TemplateOptions = {}) {
    this.#strict = options.strict ?? false;
    const body = guarded(() => parseTemplate(source, options));
    this.#frame = guarded(() => new FrameNames().inside([], body));
    this.#execute = guarded(() => compileBody(body, false, this.#frame));
  }

  /** @throws JinjaError naming the line */
  render(variables: Readonly<Record<string, unknown>>, { now, marks }: RenderOptions): string {
    const run = new Run(now, marks, LOOKUPS);
    const before = Undefined.strict;
    Undefined.strict = this.#strict;
    try {
      return guarded(() => {
        const outer = new Scope();
        for (const [name, value] of Object.entries(variables)) {
          if (value !== undefined) outer.set(name, fromJs(run, value, name));
        }
        const output = new Output();
        this.#execute(run, scopeOf(this.#frame, outer), output);
        return run.text(output.text());
      }, run);
    } finally {
      Undefined.strict = before;
    }
  }
}

/** Errors get the line that was executed; a JavaScript stack that is too short for a template is a limit as well. */
function guarded<T>(work: () => T, run?: Run): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof JinjaError) throw error.at(run?.line ?? 0);
    if (error instanceof RangeError && /call stack/i.test(error.message)) {
      overLimit('the template is nested too deeply for what is left of the stack.');
    }
    throw error;
  }
}

/** The scope of a frame, which hides from what is around it the names that the frame begins without. */
const scopeOf = ({ hidden }: FrameNames, around: Scope): Scope =>
  new Scope(around, hidden.size > 0 ? hidden : undefined);

/** @param frame the frame that the body is a part of */
function compileBody(body: Body, conditional: boolean, frame: FrameNames): Execute {
  const statements = body.map((statement) => compileStatement(statement, conditional, frame));
  return (run, scope, output) => {
    for (const statement of statements) {
      const signal = statement(run, scope, output);
      if (signal !== undefined) return signal;
    }
    return undefined;
  };
}

function compileStatement(statement: Statement, conditional: boolean, frame: FrameNames): Execute {
  const execute = compileKind(statement, conditional, frame);
  if (statement.kind === 'text') return execute;
  const { line } = statement;
  return (run, scope, output) => {
    run.line = line;
    run.spend(1);
    return execute(run, scope, output);
  };
}

function compileKind(statement: Statement, conditional: boolean, frame: FrameNames): Execute {
  const compile = (expression: Expression) => compileExpression(expression, conditional);
  switch (statement.kind) {
    case 'text': {
      const { text } = statement;
      return (_, __, output) => {
        output.push(text);
        return undefined;
      };
    }
    case 'output': {
      const value = compile(statement.value);
      return (run, scope, output) => {
        output.push(run.text(str(run, value(run, scope))));
        return undefined;
      };
    }
    case 'if':
      return compileIf(statement, frame);
    case 'for':
      return compileFor(statement, compile, frame);
    case 'break':
    case 'continue': {
      const { kind } = statement;
      return () => kind;
    }
    case 'set': {
      const value = compile(statement.value);
      const assign = compileTarget(statement.target);
      return (run, scope) => {
        assign(run, scope, value(run, scope));
        return undefined;
      };
    }
    case 'set-block': {
      const assign = compileTarget(statement.target);
      const inner = frame.inside([], statement.body);
      const render = compileCaptured(statement.body, inner);
      const filter = statement.filter && compile(statement.filter);
      return (run, scope) => {
        const text = render(run, scopeOf(inner, scope));
        assign(run, scope, filter ? filter(run, bodyScope(scope, text)) : text);
        return undefined;
      };
    }
    case 'filter-block': {
      const inner = frame.inside([], statement.body, [statement.filter]);
      const render = compileCaptured(statement.body, inner);
      const filter = compile(statement.filter);
      return (run, scope, output) => {
        const text = render(run, scopeOf(inner, scope));
        output.push(run.text(needText(filter(run, bodyScope(scope, text)))));
        return undefined;
      };
    }
    case 'with':
      return compileWith(statement, compile, frame);
    case 'macro': {
      const define = compileMacro(statement.name, statement.signature, statement.body, frame);
      return (_, scope) => {
        scope.set(statement.name, define(scope));
        return undefined;
      };
    }
    case 'call-block':
      return compileCallBlock(statement, compile, frame);
    case 'generation': {
      // A call in Jinja, whose body may read what calls bring along.
      const inner = frame.inside(['caller', 'varargs', 'kwargs'], statement.body);
      const render = compileCaptured(statement.body, inner);
      return (run, around, output) => {
        const scope = scopeOf(inner, around);
        scope.set('caller', new Undefined('No caller defined'));
        scope.set('varargs', new PyTuple([]));
        scope.set('kwargs', new PyDict());
        const text = render(run, scope);
        output.push(run.marks ? run.marks.open + text + run.marks.close : text);
        return undefined;
      };
    }
    case 'block': {
      // Blocks know nothing of what is around them but its values.
      const inner = new FrameNames().inside([], statement.body);
      const render = compileCaptured(statement.body, inner);
      return (run, scope, output) => {
        output.push(render(run, scopeOf(inner, scope.context(statement.scoped))));
        return undefined;
      };
    }
  }
}

const bodyScope = (around: Scope, text: string): Scope => {
  const scope = new Scope(around);
  scope.set(BODY, text);
  return scope;
};

const needText = (value: Value): string =>
  textOf(value) ?? fail(`sequence item 0: expected str instance, ${typeName(value)} found`);

/** A body rendered into a text of its own. */
function compileCaptured(body: Body, frame: FrameNames): (run: Run, scope: Scope) => string {
  const execute = compileBody(body, false, frame);
  return (run, scope) => {
    const output = new Output();
    execute(run, scope, output);
    return run.text(output.text());
  };
}

function compileIf({ branches, otherwise }: Statement & { readonly kind: 'if' }, frame: FrameNames): Execute {
  const compiled = branches.map(
    ([test, body]) => [compileExpression(test, true), compileBody(body, true, frame)] as const,
  );
  const rest = compileBody(otherwise, true, frame);
  return (run, scope, output) => {
    for (const [test, body] of compiled) {
      run.spend(1);
      if (truthy(test(run, scope))) return body(run, scope, output);
    }
    return rest(run, scope, output);
  };
}

function compileTarget(target: Target): (run: Run, scope: Scope, value: Value) => void {
  if (target.kind === 'name') return (_, scope, value) => scope.set(target.name, value);
  if (target.kind === 'attribute') {
    return (run, scope, value) => {
      const namespace = scope.get(target.name);
      if (namespace === undefined) fail(`'${target.name}' is undefined`);
      if (!(namespace instanceof Namespace)) fail('cannot assign attribute on non-namespace object');
      namespace.set(run, target.attribute, value);
    };
  }
  const items = target.items.map(compileTarget);
  return (run, scope, value) => {
    const values = unpack(elements(run, value), items.length);
    for (const [i, item] of items.entries()) item(run, scope, values[i]!);
  };
}

function compileFor(
  statement: Statement & { readonly kind: 'for' },
  compile: (expression: Expression) => Evaluate,
  frame: FrameNames,
): Execute {
  const { recursive, line } = statement;
  const inner = frame.inside([...targetNames(statement.target), 'loop'], statement.body);
  const innerElse = frame.inside([], statement.otherwise);
  const iterable = compile(statement.iterable);
  const test = statement.test && compile(statement.test);
  const assign = compileTarget(statement.target);
  const body = compileBody(statement.body, false, inner);
  const otherwise = compileBody(statement.otherwise, false, innerElse);

  function* passing(run: Run, around: Scope, value: Value): Generator<Value, void, undefined> {
    for (const element of elements(run, value)) {
      const scope = new Scope(around);
      assign(run, scope, element);
      if (truthy(test!(run, scope))) yield element;
    }
  }

  function loop(run: Run, around: Scope, output: Output, value: Value, depth: number): void {
    // Python asks for the iterator before the loop begins.
    if (!iterate(run, value)) fail(`'${typeName(value)}' object is not iterable`);
    const filtered = test && passing(run, around, value);
    const recurse = recursive
      ? (called: Run, nested: Value, level: number) =>
          called.nested(bodyWeight, () => {
            const captured = new Output();
            loop(called, around, captured, nested, level);
            return called.text(captured.text());
          })
      : undefined;
    const context = new LoopContext(
      filtered ? new PyIterator(filtered) : value,
      filtered ?? elements(run, value),
      recurse,
      depth,
    );
    // Jinja's `else` is for loops that did not come to the end of their body once, whether or not there were elements.
    let finished = false;
    for (let element = context.next(); element !== undefined; element = context.next()) {
      run.line = line;
      run.spend(1);
      const scope = scopeOf(inner, around);
      assign(run, scope, element);
      scope.set('loop', context);
      const signal = body(run, scope, output);
      if (signal === 'break') break;
      if (signal === undefined) finished = true;
    }
    if (!finished) otherwise(run, scopeOf(innerElse, around), output);
  }

  const bodyWeight = weightOf(statement.body) + 4;
  return (run, scope, output) => {
    loop(run, scope, output, iterable(run, scope), 0);
    return undefined;
  };
}

function compileWith(
  { bindings, body }: Statement & { readonly kind: 'with' },
  compile: (expression: Expression) => Evaluate,
  frame: FrameNames,
): Execute {
  const names = frame.inside(
    bindings.flatMap(([target]) => targetNames(target)),
    body,
  );
  const compiled = bindings.map(([target, value]) => [compileTarget(target), compile(value)] as const);
  const execute = compileBody(body, false, names);
  return (run, scope, output) => {
    const inner = scopeOf(names, scope);
    for (const [assign, value] of compiled) assign(run, inner, value(run, scope));
    return execute(run, inner, output);
  };
}

function compileMacro(
  name: string | null,
  signature: Signature,
  body: Body,
  frame: FrameNames,
): (around: Scope) => Macro {
  const inner = frame.ofMacro(signature, body);
  const render = compileCaptured(body, inner);
  const missing = signature.parameters.map(
    (parameter) => parameter.missing && compileExpression(parameter.missing, false),
  );
  const depths = signature.parameters.map((parameter) => parameter.missing?.depth ?? 0);
  const weight = Math.max(weightOf(body), ...depths) + 6;
  return (around) =>
    new Macro({
      name,
      signature,
      missing,
      render: (run, fill) => {
        const { line } = run;
        const text = run.nested(weight, () => {
          const scope = scopeOf(inner, around);
          fill(scope);
          return render(run, scope);
        });
        run.line = line;
        return text;
      },
    });
}

function compileCallBlock(
  statement: Statement & { readonly kind: 'call-block' },
  compile: (expression: Expression) => Evaluate,
  frame: FrameNames,
): Execute {
  const callee = compile(statement.call.callee);
  const call = compileArguments(statement.call.call, compile);
  const define = compileMacro(null, statement.signature, statement.body, frame);
  return (run, scope, output) => {
    const called = callee(run, scope);
    const [args, named] = call(run, scope);
    if (named.has('caller')) fail("got multiple values for keyword argument 'caller'");
    const value = callValue(run, called, args, new Map([...named, ['caller', define(scope)]]));
    output.push(run.text(needText(value)));
    return undefined;
  };
}
