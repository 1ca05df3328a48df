import type { Body, Expression, Signature, Statement, Target } from './ast.js';

/** What a name begins as in a frame: what it is outside, or undefined although it may be something outside. */
type Beginning = 'outer' | 'undefined';

/**
 * The names of one frame: what a template, the body of a loop, macro, block, `with` or `call` assigns.
 *
 * Jinja decides before rendering what a name begins as in a frame, by what the frame does with it first in the order of
 * the text, bodies of frames inside left out: read first, it is what it is outside; assigned first, it is undefined until
 * then, for frames inside as well. So `{% set s %}{{ s }}{% endset %}` does not see a variable `s` of the caller. A frame
 * that lies in one which uses the name shares it.
 */
export class FrameNames {
  readonly #around: FrameNames | undefined;
  #beginnings = new Map<string, Beginning>();
  #assigned = new Set<string>();

  constructor(around?: FrameNames) {
    this.#around = around;
  }

  /** The names that begin as undefined. */
  get hidden(): readonly string[] {
    return [...this.#beginnings].flatMap(([name, beginning]) => (beginning === 'undefined' ? [name] : []));
  }

  /** A frame inside this one, which must be complete. */
  inside(parameters: readonly string[], ...parts: readonly (Body | readonly Expression[])[]): FrameNames {
    const frame = new FrameNames(this);
    for (const name of parameters) frame.#parameter(name);
    for (const part of parts) for (const it of part) frame.#visit(it);
    return frame;
  }

  /** The frame of a macro or call: its parameters, their defaults, and its body. */
  ofMacro({ parameters, reads }: Signature, body: Body): FrameNames {
    const defaults = parameters.flatMap(({ missing }) => missing ?? []);
    return this.inside([...parameters.map(({ name }) => name), ...reads], defaults, body);
  }

  #knows(name: string): boolean {
    return this.#beginnings.has(name) || (this.#around?.#knows(name) ?? false);
  }

  #parameter(name: string): void {
    this.#assigned.add(name);
    this.#beginnings.set(name, 'outer');
  }

  #read(name: string): void {
    if (!this.#knows(name)) this.#beginnings.set(name, 'outer');
  }

  #assign(name: string): void {
    this.#assigned.add(name);
    if (!this.#beginnings.has(name)) this.#beginnings.set(name, this.#around?.#knows(name) ? 'outer' : 'undefined');
  }

  #target(target: Target): void {
    if (target.kind === 'name') this.#assign(target.name);
    else if (target.kind === 'attribute') this.#read(target.name);
    else for (const item of target.items) this.#target(item);
  }

  #visit(it: Statement | Expression): void {
    switch (it.kind) {
      case 'name':
        return this.#read(it.name);
      case 'output':
        return this.#visit(it.value);
      case 'set':
        this.#visit(it.value);
        return this.#target(it.target);
      case 'set-block':
        return this.#target(it.target);
      case 'if':
        return this.#if(it.branches, it.otherwise);
      case 'for':
        return this.#visit(it.iterable);
      case 'with':
        for (const [, value] of it.bindings) this.#visit(value);
        return;
      case 'macro':
        return this.#assign(it.name);
      case 'call-block':
        return this.#visit(it.call);
      case 'filter-block':
        return this.#visit(it.filter);
      case 'text':
      case 'break':
      case 'continue':
      case 'generation':
      case 'block':
        return;
      default:
        for (const part of partsOf(it)) this.#visit(part);
    }
  }

  /** Three branches as in Jinja: the first, all `elif`s together, and `else`; each begins with what is known before. */
  #if([first, ...more]: (Statement & { readonly kind: 'if' })['branches'], otherwise: Body): void {
    if (!first) {
      for (const statement of otherwise) this.#visit(statement);
      return;
    }
    this.#visit(first[0]);
    const branch = (visit: (frame: FrameNames) => void) => {
      const frame = new FrameNames(this.#around);
      frame.#beginnings = new Map(this.#beginnings);
      frame.#assigned = new Set(this.#assigned);
      visit(frame);
      return frame;
    };
    const all = (body: Body) => branch((frame) => body.forEach((statement) => void frame.#visit(statement)));
    const elifs = branch((frame) => more.forEach((one) => void frame.#if([one], [])));
    const branches = [all(first[1]), elifs, all(otherwise)];
    const counts = new Map<string, number>();
    for (const frame of branches) {
      for (const name of frame.#assigned) if (!this.#assigned.has(name)) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    for (const frame of branches) {
      for (const [name, beginning] of frame.#beginnings) this.#beginnings.set(name, beginning);
      for (const name of frame.#assigned) this.#assigned.add(name);
    }
    // Where it is assigned in some cases only, it is what it was in the others.
    for (const [name, count] of counts) if (count < branches.length) this.#beginnings.set(name, 'outer');
  }
}

/** The expressions that an expression is made of; the order does not matter, since all of them only read. */
function partsOf(it: Expression): readonly Expression[] {
  switch (it.kind) {
    case 'list':
    case 'tuple':
    case 'concat':
      return it.items;
    case 'dict':
      return it.entries.flat();
    case 'unary':
      return [it.operand];
    case 'binary':
    case 'and':
    case 'or':
      return [it.left, it.right];
    case 'compare':
      return [it.first, ...it.rest.map(([, operand]) => operand)];
    case 'condition':
      return [it.test, it.then, ...(it.otherwise ? [it.otherwise] : [])];
    case 'attribute':
      return [it.object];
    case 'item':
      return [it.object, it.key];
    case 'slice':
      return [it.object, ...it.bounds.flatMap((bound) => bound ?? [])];
    case 'call':
    case 'filter':
    case 'test': {
      const { args, named, rest, namedRest } = it.call;
      const first = it.kind === 'call' ? it.callee : it.operand;
      return [first, ...args, ...named.map(([, value]) => value), ...[rest, namedRest].flatMap((part) => part ?? [])];
    }
    default:
      return [];
  }
}
