import { type Body, type Expression, node, type Signature, type Statement, type Target } from './ast.js';
import { JinjaError } from './errors.js';
import { ExpressionParser } from './expression-parser.js';
import { tokenize, type WhiteSpace } from './lexer.js';
import { LIMITS } from './run.js';
import { describe, type NameUse } from './token-reader.js';

/** Tags that need other templates, of which a chat template has none, and the like. */
const REFUSED_TAGS: Readonly<Record<string, string>> = {
  extends: 'a chat template has no other templates to extend',
  include: 'a chat template has no other templates to include',
  import: 'a chat template has no other templates to import',
  from: 'a chat template has no other templates to import',
  autoescape: 'texts are not escaped in prompts',
};
const UNASSIGNABLE = ['true', 'True', 'false', 'False', 'none', 'None'];

/** Parses a template. @throws JinjaError naming the line */
export const parseTemplate = (template: string, settings?: WhiteSpace): Body => new Parser(template, settings).parse();

class Parser extends ExpressionParser {
  /** The tags that would close what is open, innermost last. */
  readonly #ends: (readonly string[])[] = [];
  readonly #blocks = new Set<string>();
  /** What `break` and `continue` would act on: a loop, or nothing since a macro began. */
  readonly #loops: boolean[] = [];

  constructor(template: string, settings?: WhiteSpace) {
    super(tokenize(template, settings));
  }

  parse(): Body {
    return this.#parseBody([]);
  }

  /** Statements up to one of the tags `ends`, which is left to the caller behind its `{%`. */
  #parseBody(ends: readonly string[]): Body {
    const body: Statement[] = [];
    if (this.#ends.length >= LIMITS.statementNesting) {
      throw new JinjaError('limit', `tags are nested more than ${LIMITS.statementNesting} deep.`, this.current.line);
    }
    this.#ends.push(ends);
    while (true) {
      const { type, value, line } = this.current;
      if (type === 'end') {
        if (ends.length === 0) break;
        this.fail(`the template ends where {% ${ends.join(' %} or {% ')} %} was expected.`);
      }
      this.next();
      if (type === 'data') body.push({ kind: 'text', text: value, line });
      else if (type === 'variable_begin') {
        body.push({ kind: 'output', value: this.parseTuple(), line });
        this.#expectEnd('variable_end');
      } else {
        if (this.current.type === 'name' && ends.includes(this.current.value)) break;
        body.push(...this.#parseStatement());
        this.#expectEnd('block_end');
      }
    }
    this.#ends.pop();
    return body;
  }

  /** The body of a tag, from the end of the tag that begins it; returns the name of the tag that ended it. */
  #parseBlockBody(ends: readonly string[]): [body: Body, end: string] {
    this.skipOperator(':');
    this.#expectEnd('block_end');
    const body = this.#parseBody(ends);
    return [body, this.next().value];
  }

  #bodyUntil(end: string): Body {
    return this.#parseBlockBody([end])[0];
  }

  #expectEnd(type: 'variable_end' | 'block_end'): void {
    if (this.current.type !== type) {
      this.fail(`the end of the tag was expected, not ${describe(this.current)}.`);
    }
    this.next();
  }

  #parseStatement(): Statement[] {
    const { line, type, value: tag } = this.current;
    if (type !== 'name') this.fail('the name of a tag was expected.');
    this.next();
    switch (tag) {
      case 'if':
        return [this.#parseIf(line)];
      case 'for':
        return [this.#parseFor(line)];
      case 'set':
        return [this.#parseSet(line)];
      case 'with':
        return [this.#parseWith(line)];
      case 'macro': {
        const name = this.#parseName();
        return [{ kind: 'macro', name, ...this.#parseMacro('endmacro'), line }];
      }
      case 'call':
        return [this.#parseCallBlock(line)];
      case 'filter': {
        const filter = this.parseFilter(node({ kind: 'body', line }), true);
        return [{ kind: 'filter-block', filter, body: this.#bodyWithoutLoop('endfilter'), line }];
      }
      case 'generation':
        return [{ kind: 'generation', body: this.#bodyWithoutLoop('endgeneration'), line }];
      case 'block':
        return [this.#parseBlock(line)];
      case 'print':
        return this.#parsePrint(line);
      case 'break':
      case 'continue':
        if (this.#loops.at(-1) !== true) this.fail(`{% ${tag} %} is not directly in a loop.`, line);
        return [{ kind: tag, line }];
    }
    if (Object.hasOwn(REFUSED_TAGS, tag)) {
      throw new JinjaError('unsupported', `the tag {% ${tag} %} is not supported: ${REFUSED_TAGS[tag]}.`, line);
    }
    const expected = this.#ends.at(-1)!;
    const hint = expected.length > 0 ? `; {% ${expected.join(' %} or {% ')} %} was expected` : '';
    return this.fail(`there is no tag {% ${tag.slice(0, 60)} %} here${hint}.`, line);
  }

  #parseIf(line: number): Statement {
    const branches: [Expression, Body][] = [];
    while (true) {
      const test = this.parseTuple(false);
      const [body, end] = this.#parseBlockBody(['elif', 'else', 'endif']);
      branches.push([test, body]);
      if (end === 'elif') continue;
      return { kind: 'if', branches, otherwise: end === 'else' ? this.#bodyUntil('endif') : [], line };
    }
  }

  #parseFor(line: number): Statement {
    const target = this.#parseTarget(false, ['in']);
    if (!this.skipName('in')) this.fail(`"in" was expected, not ${describe(this.current)}.`);
    const iterable = this.parseTuple(false, ['recursive']);
    const test = this.skipName('if') ? this.parseExpression() : undefined;
    const recursive = this.skipName('recursive');
    if (targetNames(target).includes('loop')) this.#refuseLoop(line);
    this.#loops.push(true);
    const [body, end] = this.#parseBlockBody(['endfor', 'else']);
    this.#loops.pop();
    const otherwise = end === 'else' ? this.#bodyUntil('endfor') : [];
    return { kind: 'for', target, iterable, test, recursive, body, otherwise, line };
  }

  #refuseLoop(line: number): never {
    throw new JinjaError('unsupported', 'a loop assigns to "loop", its own special variable; name it otherwise.', line);
  }

  #parseSet(line: number): Statement {
    const target = this.#parseTarget(true);
    if (this.#loops.includes(true) && targetNames(target).includes('loop')) this.#refuseLoop(line);
    if (this.skipOperator('=')) return { kind: 'set', target, value: this.parseTuple(), line };
    const filter = this.isOperator('|') ? this.parseFilter(node({ kind: 'body', line })) : undefined;
    return { kind: 'set-block', target, filter, body: this.#bodyWithoutLoop('endset'), line };
  }

  #parseWith(line: number): Statement {
    const bindings: [Target, Expression][] = [];
    while (this.current.type !== 'block_end') {
      if (bindings.length > 0) this.expectOperator(',');
      const target = this.#parseTarget(false);
      this.expectOperator('=');
      bindings.push([target, this.parseExpression()]);
    }
    return { kind: 'with', bindings, body: this.#bodyUntil('endwith'), line };
  }

  #parsePrint(line: number): Statement[] {
    const outputs: Statement[] = [];
    while (this.current.type !== 'block_end') {
      if (outputs.length > 0) this.expectOperator(',');
      outputs.push({ kind: 'output', value: this.parseExpression(), line });
    }
    return outputs;
  }

  #parseBlock(line: number): Statement {
    const name = this.expectName();
    const scoped = this.skipName('scoped');
    if (this.isName('required')) {
      throw new JinjaError('unsupported', 'a required block: there is no template that could fill it.', line);
    }
    if (this.#blocks.has(name)) this.fail(`the block ${name} is defined twice.`, line);
    this.#blocks.add(name);
    const body = this.#bodyWithoutLoop('endblock');
    this.skipName(name);
    return { kind: 'block', scoped, body, line };
  }

  #parseCallBlock(line: number): Statement {
    const use = this.#beginMacro();
    const parameters = this.isOperator('(') ? this.#parseParameters() : [];
    const call = this.parseExpression();
    if (call.kind !== 'call') return this.fail('{% call %} needs a call of a macro.', line);
    const { signature, body } = this.#endMacro(use, parameters, 'endcall');
    return { kind: 'call-block', call, signature, body, line };
  }

  #parseMacro(end: string): { readonly signature: Signature; readonly body: Body } {
    const use = this.#beginMacro();
    return this.#endMacro(use, this.#parseParameters(), end);
  }

  #beginMacro(): NameUse {
    return { read: new Set(), set: new Set() };
  }

  #endMacro(use: NameUse, parameters: Signature['parameters'], end: string) {
    this.uses.push(use);
    const body = this.#bodyWithoutLoop(end);
    this.uses.pop();
    const reads = new Set(['caller', 'varargs', 'kwargs'].filter((name) => use.read.has(name)));
    const explicit = parameters.find(({ name }) => name === 'caller');
    if (reads.has('caller') && explicit && !explicit.missing) {
      this.fail('the parameter "caller" of a macro needs a default, or to be left out.');
    }
    return { signature: { parameters, reads }, body };
  }

  #parseParameters(): Signature['parameters'] {
    const parameters: { name: string; missing: Expression | undefined }[] = [];
    this.expectOperator('(');
    while (!this.isOperator(')')) {
      if (parameters.length > 0) this.expectOperator(',');
      const name = this.#parseName();
      const missing = this.skipOperator('=') ? this.parseExpression() : undefined;
      if (!missing && parameters.at(-1)?.missing)
        this.fail('a parameter without a default follows one with a default.');
      if (parameters.some((other) => other.name === name)) this.fail(`the parameter ${name} is named twice.`);
      parameters.push({ name, missing });
    }
    this.expectOperator(')');
    return parameters;
  }

  /** A body in which `break` and `continue` have no loop. */
  #bodyWithoutLoop(end: string): Body {
    this.#loops.push(false);
    const body = this.#bodyUntil(end);
    this.#loops.pop();
    return body;
  }

  #parseName(): string {
    const { line } = this.current;
    const name = this.expectName();
    if (UNASSIGNABLE.includes(name)) this.fail(`"${name}" cannot be assigned to.`, line);
    this.useName(name, 'set');
    return name;
  }

  /** What is assigned to: a name, a tuple of names, or (of `set`) an attribute of a namespace. */
  #parseTarget(attributes: boolean, ends: readonly string[] = []): Target {
    const items: Target[] = [];
    let isTuple = false;
    while (!this.#isTargetEnd(ends)) {
      items.push(this.#parseTargetItem(attributes));
      if (!this.skipOperator(',')) break;
      isTuple = true;
    }
    if (!isTuple && items.length === 0) this.fail(`a name was expected, not ${describe(this.current)}.`);
    return isTuple ? { kind: 'tuple', items } : items[0]!;
  }

  #isTargetEnd(ends: readonly string[]): boolean {
    const { type, value } = this.current;
    return type === 'block_end' || this.isOperator(')') || (type === 'name' && ends.includes(value));
  }

  #parseTargetItem(attributes: boolean): Target {
    if (this.skipOperator('(')) {
      const inner = this.#parseTarget(attributes);
      this.expectOperator(')');
      return inner;
    }
    const name = this.#parseName();
    if (!attributes || !this.skipOperator('.')) return { kind: 'name', name };
    return { kind: 'attribute', name, attribute: this.expectName() };
  }
}

/** The names that a target assigns to; setting an attribute assigns to none. */
export function targetNames(target: Target): string[] {
  if (target.kind === 'tuple') return target.items.flatMap(targetNames);
  return target.kind === 'name' ? [target.name] : [];
}
