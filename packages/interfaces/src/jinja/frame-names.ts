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
  readonly #beginnings = new Map<string, Beginning>();
  /** How many conditions the visit is inside of: what is assigned in some cases only is what it was in the others. */
  #branches = 0;
  #hidden: ReadonlySet<string> | undefined;

  constructor(around?: FrameNames) {
    this.#around = around;
  }

  /** The names that begin as undefined. Asked for once the frame is complete, and then at every turn of a loop. */
  get hidden(): ReadonlySet<string> {
    this.#hidden ??= new Set(
      [...this.#beginnings].flatMap(([name, beginning]) => (beginning === 'undefined' ? [name] : [])),
    );
    return this.#hidden;
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
    if (this.#beginnings.has(name)) return true;
    const around = this.#around;
    return around ? around.#knows(name) : false;
  }

  #parameter(name: string): void {
    this.#beginnings.set(name, 'outer');
  }

  #read(name: string): void {
    if (!this.#knows(name)) this.#beginnings.set(name, 'outer');
  }

  #assign(name: string): void {
    if (this.#beginnings.has(name)) return;
    const isShared = this.#branches > 0 || this.#knows(name);
    this.#beginnings.set(name, isShared ? 'outer' : 'undefined');
  }

  #target(target: Target): void {
    if (target.kind === 'name') this.#assign(target.name);
    else if (target.kind === 'attribute') this.#read(target.name);
    else for (const item of target.items) this.#target(item);
  }

  #visit(it: Statement | Expression): void {
    switch (it.kind) {
      case 'name':
        this.#read(it.name);
        return;
      case 'output':
        this.#visit(it.value);
        return;
      case 'set':
        this.#visit(it.value);
        this.#target(it.target);
        return;
      case 'set-block':
        this.#target(it.target);
        return;
      case 'if':
        this.#if(it.branches, it.otherwise);
        return;
      case 'for':
        this.#visit(it.iterable);
        return;
      case 'with':
        for (const [, value] of it.bindings) this.#visit(value);
        return;
      case 'macro':
        this.#assign(it.name);
        return;
      case 'call-block':
        this.#visit(it.call);
        return;
      case 'filter-block':
        this.#visit(it.filter);
        return;
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

  #if(branches: (Statement & { readonly kind: 'if' })['branches'], otherwise: Body): void {
    for (const [test] of branches) this.#visit(test);
    this.#branches++;
    for (const body of [...branches.map(([, it]) => it), otherwise]) for (const it of body) this.#visit(it);
    this.#branches--;
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
